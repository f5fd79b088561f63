"""Requests: what a client asks for, in no dialect's words: a closed union, `Request`.

`Routed` states once what the engine needs of every kind, so that nothing below it asks which kind it has.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, ClassVar, Literal

import msgspec
from msgspec import Struct

from gatewayz.core.conversation import (
    Audio,
    File,
    Image,
    Message,
    Opaque,
    OpaqueTool,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from gatewayz.core.usage import Usage

BYTES_PER_TOKEN = 4.3
"""Measured: English 4.7, code 4.5, Chinese 4.1 bytes of UTF-8 a token."""
TOKENS_PER_IMAGE = 1_100
"""A high-detail image of 1024 x 1024 costs about 765 to 1,105 tokens at the large providers."""
TOKENS_PER_SMALL_IMAGE = 85
"""With `detail: low` (platform.openai.com/docs/guides/images-vision, "Calculating costs")."""
DEFAULT_OUTPUT_TOKENS = 4_096
"""What an answer without a limit is expected to have at the most."""
BEGINNING = 1_024
"""Characters of a text by which a conversation is known again."""

BYTES_AROUND_A_TOOL = 75
"""What a wire says around the name, description and parameters of a tool."""

Surface = Literal["chat", "image", "embedding", "count"]
"""What is asked for; an upstream role says which of these it serves."""


class Capability(StrEnum):
    """What a request may need of an offer."""

    TOOLS = "tools"
    IMAGES = "images"
    AUDIO = "audio"
    FILES = "files"
    CHOICES = "choices"
    JSON_SCHEMA = "json_schema"


class Sampling(Struct, frozen=True, kw_only=True):
    """How to draw tokens; `None` leaves it to the provider."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1


class Format(Struct, frozen=True, kw_only=True):
    """The shape that the answer must have; `schema` is a JSON Schema."""

    kind: Literal["text", "json_object", "json_schema"]
    name: str = ""
    description: str = ""
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class Effort(Struct, frozen=True, kw_only=True):
    """How much to think: an effort word, a budget in tokens, or only on and off."""

    effort: str = ""
    budget: int | None = None
    enabled: bool | None = None
    hidden: bool = False


class Wishes(Struct, frozen=True, kw_only=True):
    """How the client wants the call routed: OpenRouter's `provider` object. Prices in USD per million, as text."""

    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    require_parameters: bool = False
    sort: str = ""
    max_price: dict[str, str] = {}
    data_collection: str = ""
    zdr: bool = False


class Routed(Struct, frozen=True, kw_only=True):
    """What every request has. `extra` belongs to `dialect` and goes nowhere else; `models` are tried after `model`.

    `form` is how the client wants what can be spelled in more than one way: images as `url` or `bytes`, vectors as
    `float` or `base64`; empty for either.
    """

    surface: ClassVar[Surface]
    stops: ClassVar[bool] = False
    """Whether an answer says why it stopped: then a filtered one is an answer too, and not an error."""
    dialect: str
    model: str
    models: tuple[str, ...] = ()
    user: str = ""
    session: str = ""
    tags: tuple[str, ...] = ()
    wishes: Wishes = Wishes()
    streamed: bool = False
    wants_usage: bool = False
    form: str = ""
    extra: dict[str, Any] = {}

    @property
    def choices(self) -> int:
        """How many alternative answers are asked for."""
        return 1

    @property
    def thinks(self) -> bool:
        """Whether the client wants the model to think first."""
        return False

    @property
    def open_ended(self) -> bool:
        """Whether the answer may go on beyond what `worst` expects, because the client gave no limit."""
        return False

    @property
    def searches(self) -> int:
        """Web searches that its tools are expected to make at the most."""
        return 0

    def needs(self) -> frozenset[Capability]:
        """What an offer must be able to do to serve this request."""
        return frozenset()

    def prompt_tokens(self) -> int:
        """An estimate of the prompt's tokens."""
        return 0

    def room(self) -> int:
        """Tokens that an offer's context must hold."""
        return self.prompt_tokens()

    def worst(self, prompt: int, max_output: int | None) -> Usage:
        """The most that is expected to be used, for `prompt` tokens and a model that can say `max_output`."""
        return Usage(input=prompt, requests=1)

    def estimate(self, said: int, thought: int) -> Usage:
        """What was used, as far as it can be told from the bytes of UTF-8 that were delivered, `said` and `thought`:
        for answers whose provider reports nothing.
        """
        return Usage(estimated=True)

    def beginning(self) -> str:
        """What the conversation began with, by which it is known again; empty where there is no conversation."""
        return ""


class ChatRequest(Routed, frozen=True, kw_only=True):
    """A chat completion, asked for in any dialect."""

    surface: ClassVar[Surface] = "chat"
    stops: ClassVar[bool] = True
    messages: tuple[Message, ...]
    tools: tuple[Tool | OpaqueTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    sampling: Sampling = Sampling()
    max_output: int | None = None
    format: Format | None = None
    reasoning: Effort | None = None

    @property
    def choices(self) -> int:
        return self.sampling.n

    @property
    def thinks(self) -> bool:
        return self.reasoning is not None

    @property
    def open_ended(self) -> bool:
        return self.max_output is None

    def needs(self) -> frozenset[Capability]:
        found: set[Capability] = set()
        if self.tools:
            found.add(Capability.TOOLS)
        if self.sampling.n > 1:
            found.add(Capability.CHOICES)
        if self.format is not None and self.format.kind == "json_schema":
            found.add(Capability.JSON_SCHEMA)
        kinds = {type(part) for message in self.messages for part in message.parts}
        found |= {capability for kind, capability in PART_NEEDS.items() if kind in kinds}
        return frozenset(found)

    def prompt_tokens(self) -> int:
        """Tools and images included (`design`: UTF-8 bytes / 4.3, images by rule)."""
        size, images = 0, 0
        for message in self.messages:
            for part in message.parts:
                for one in part.parts if type(part) is ToolResult else (part,):
                    size += _part_bytes(one)
                    images += _image_tokens(one)
        size += sum(_tool_bytes(tool) for tool in self.tools)
        return int(size / BYTES_PER_TOKEN) + images + 4 * len(self.messages)

    def room(self) -> int:
        return self.prompt_tokens() + (self.max_output or 0)

    @property
    def searches(self) -> int:
        return sum(tool.searches for tool in self.tools if isinstance(tool, OpaqueTool))

    def worst(self, prompt: int, max_output: int | None) -> Usage:
        # A budget for thinking is output, and goes before the answer.
        budget = (self.reasoning.budget if self.reasoning is not None else None) or 0
        unlimited = min(
            max_output or DEFAULT_OUTPUT_TOKENS + budget, DEFAULT_OUTPUT_TOKENS + budget
        )
        output = (self.max_output or unlimited) * self.sampling.n
        return Usage(input=prompt, output=output, requests=1, searches=self.searches)

    def estimate(self, said: int, thought: int) -> Usage:
        if not said and not thought:
            # An empty answer that nobody counted costs nothing.
            return Usage(estimated=True)
        return Usage(
            input=self.prompt_tokens(),
            output=round(said / BYTES_PER_TOKEN),
            reasoning=round(thought / BYTES_PER_TOKEN),
            estimated=True,
        )

    def beginning(self) -> str:
        return "|".join(
            part.text[:BEGINNING]
            for message in self.messages[:2]
            for part in message.parts[:2]
            if isinstance(part, Text)
        )


class CountRequest(Routed, frozen=True, kw_only=True):
    """How many tokens is this conversation? The answer is a block of the kind `count`; nothing is paid for it."""

    surface: ClassVar[Surface] = "count"
    chat: ChatRequest

    def needs(self) -> frozenset[Capability]:
        return self.chat.needs()

    def prompt_tokens(self) -> int:
        return self.chat.prompt_tokens()

    def room(self) -> int:
        """None: whoever counts may want to know by how much a prompt is too long."""
        return 0

    def worst(self, prompt: int, max_output: int | None) -> Usage:
        """Nothing: counting is free."""
        return Usage()

    def beginning(self) -> str:
        return self.chat.beginning()


class ImageRequest(Routed, frozen=True, kw_only=True):
    """Images from a text. `size` is width and height in pixels, `None` for the model's own.

    `options` are what only one provider understands (steps, guidance), by its id; nobody else gets to see them.
    """

    surface: ClassVar[Surface] = "image"
    prompt: str
    n: int = 1
    size: tuple[int, int] | None = None
    quality: str = ""
    style: str = ""
    seed: int | None = None
    negative: str = ""
    options: dict[str, dict[str, Any]] = {}

    @property
    def choices(self) -> int:
        return self.n

    def options_for(self, maker: str) -> dict[str, Any]:
        """What is meant for a provider, of which `maker` may name one API (`provider/dialect`)."""
        return self.options.get(maker.partition("/")[0], {})

    def prompt_tokens(self) -> int:
        return int(len(self.prompt.encode()) / BYTES_PER_TOKEN)

    def worst(self, prompt: int, max_output: int | None) -> Usage:
        width, height = self.size or DEFAULT_SIZE
        tokens = IMAGE_OUTPUT_TOKENS.get(self.quality, IMAGE_OUTPUT_TOKENS["high"])
        return Usage(
            input=prompt,
            image_output=self.n * tokens,
            images=self.n,
            pixels=self.n * width * height,
            requests=1,
        )


DEFAULT_SIZE = (1024, 1024)
IMAGE_OUTPUT_TOKENS = {"low": 408, "medium": 1_584, "high": 6_240}
"""Tokens of one image of 1024 x 1536 by quality, the most that gpt-image-1 makes
(platform.openai.com/docs/guides/image-generation, "Cost and latency")."""


class EmbeddingRequest(Routed, frozen=True, kw_only=True):
    """Vectors of texts, or of texts given as token ids."""

    surface: ClassVar[Surface] = "embedding"
    texts: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None

    def prompt_tokens(self) -> int:
        return int(sum(self._sizes()))

    def room(self) -> int:
        """Each text has the context for itself."""
        return int(max(self._sizes(), default=0))

    def _sizes(self) -> Iterator[float]:
        for text in self.texts:
            yield len(text.encode()) / BYTES_PER_TOKEN if isinstance(text, str) else len(text)

    def estimate(self, said: int, thought: int) -> Usage:
        return Usage(input=self.prompt_tokens(), estimated=True)


Request = ChatRequest | CountRequest | ImageRequest | EmbeddingRequest


PART_NEEDS: dict[type, Capability] = {
    Image: Capability.IMAGES,
    Audio: Capability.AUDIO,
    File: Capability.FILES,
}


def _image_tokens(part: object) -> int:
    if type(part) is not Image:
        return 0
    return TOKENS_PER_SMALL_IMAGE if part.detail == "low" else TOKENS_PER_IMAGE


def _part_bytes(part: object) -> int:
    match part:
        case Text(text=text) | Reasoning(text=text) | Refusal(text=text):
            return len(text.encode())
        case ToolCall(name=name, arguments=arguments):
            return len(name) + len(arguments.encode())
        case File(content=content) if content.startswith("data:text/"):
            return len(content) * 3 // 4
        case Audio(content=content) | File(content=content):
            return len(content) // 8
        case Opaque(value=value):
            return len(msgspec.json.encode(value))
    return 0


def _tool_bytes(tool: Tool | OpaqueTool) -> int:
    if isinstance(tool, OpaqueTool):
        return len(msgspec.json.encode(tool.value))
    said = (
        len(tool.name) + len(tool.description.encode()) + len(msgspec.json.encode(tool.parameters))
    )
    return BYTES_AROUND_A_TOOL + said
