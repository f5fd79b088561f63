"""Requests: what a client asks for, in no dialect's words: a closed union, `Request`.

`BaseRequest` states once what the engine needs of every kind, so that nobody else asks which kind
it is.
"""

from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Literal

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.conversation import (
    Audio,
    File,
    Image,
    Message,
    OpaqueTool,
    Text,
    Tool,
    ToolChoice,
)
from gatewayz.core.estimates import (
    DEFAULT_OUTPUT_TOKENS,
    DEFAULT_SIZE,
    IMAGE_OUTPUT_TOKENS,
    conversation_tokens,
    least_conversation_tokens,
    least_tokens,
    text_tokens,
)
from gatewayz.core.usage import Usage

CONVERSATION_PREFIX_CHARS = 1_024
"""Characters of a text by which a conversation is known again."""

CACHING_WORDS = ("auto", "off")
"""What a request, a key and an account may say of `caching`."""

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


PART_NEEDS: dict[type, Capability] = {
    Image: Capability.IMAGES,
    Audio: Capability.AUDIO,
    File: Capability.FILES,
}
"""Part of a message → what its model must understand."""


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


class ResponseFormat(Struct, frozen=True, kw_only=True):
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


class RoutingPreferences(Struct, frozen=True, kw_only=True):
    """How the client wants the call routed: OpenRouter's `provider` object.

    Prices in USD per million, as text.

    Example: `RoutingPreferences(order=("groq", "cerebras"), allow_fallbacks=False,
    max_price={"prompt": "1"})`
    """

    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    require_parameters: bool = False
    sort: str = ""
    max_price: dict[str, str] = {}
    data_collection: str = ""
    zdr: bool = False


class BaseRequest(Struct, frozen=True, kw_only=True):
    """What every request has.

    `extra` belongs to `dialect` and goes nowhere else; `models` are tried after `model`.

    `output_encoding` is how the client wants what has more than one spelling: images as `url` or
    `bytes`, vectors as `float` or `base64`; empty for either.
    """

    surface: ClassVar[Surface]
    has_stop_reason: ClassVar[bool] = False
    """Whether an answer says why it stopped: then a filtered one is an answer too, and not an
    error.
    """
    dialect: str
    model: str
    models: tuple[str, ...] = ()
    user: str = ""
    session: str = ""
    tags: tuple[str, ...] = ()
    preferences: RoutingPreferences = RoutingPreferences()
    streamed: bool = False
    wants_usage: bool = False
    output_encoding: str = ""
    extra: dict[str, Any] = {}

    @property
    def choices(self) -> int:
        """How many alternative answers are asked for."""
        return 1

    @property
    def wants_reasoning(self) -> bool:
        """Whether the client wants the model to think first."""
        return False

    @property
    def open_ended(self) -> bool:
        """Whether the client gave no limit, so that the answer may exceed `worst_case_usage`."""
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

    def context_tokens(self) -> int:
        """Tokens that an offer's context must hold."""
        return self.prompt_tokens()

    def least_context_tokens(self) -> int:
        """Tokens of the prompt that an offer's context must hold in any case: a lower bound, by
        which a request may be refused unasked.
        """
        return 0

    def worst_case_usage(self, prompt: int, max_output: int | None) -> Usage:
        """The most that is expected for `prompt` tokens and a model that can say `max_output`."""
        return Usage(input=prompt, requests=1)

    def estimate_usage(self, output: float, reasoning: float, images: int = 0) -> Usage:
        """What was used, by the tokens that the text delivered is estimated to have and by the
        images that have begun to come, where a provider reports nothing.
        """
        return Usage(estimated=True)

    def conversation_prefix(self) -> str:
        """What the conversation began with, by which it is known again; empty for none."""
        return ""


class ChatRequest(BaseRequest, frozen=True, kw_only=True, dict=True):
    """A chat completion, asked for in any dialect.

    Example: `ChatRequest(dialect="openai_chat", model="openai/gpt-4o", messages=(Message("user",
    (Text("Hi"),)),))`
    """

    surface: ClassVar[Surface] = "chat"
    has_stop_reason: ClassVar[bool] = True
    messages: tuple[Message, ...]
    tools: tuple[Tool | OpaqueTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    sampling: Sampling = Sampling()
    max_output: int | None = None
    format: ResponseFormat | None = None
    reasoning: Effort | None = None
    caching: str = ""
    """`auto`: what can be cached of the prompt is marked by the gateway; `off`, or empty."""

    @property
    def choices(self) -> int:
        return self.sampling.n

    @property
    def wants_reasoning(self) -> bool:
        return self.reasoning is not None

    @property
    def open_ended(self) -> bool:
        return self.max_output is None

    def needs(self) -> frozenset[Capability]:
        needs: set[Capability] = set()
        if self.tools:
            needs.add(Capability.TOOLS)
        if self.sampling.n > 1:
            needs.add(Capability.CHOICES)
        if self.format is not None and self.format.kind == "json_schema":
            needs.add(Capability.JSON_SCHEMA)

        kinds = {type(part) for message in self.messages for part in message.parts}
        needs |= {capability for kind, capability in PART_NEEDS.items() if kind in kinds}
        return frozenset(needs)

    def prompt_tokens(self) -> int:
        """An estimate, tools and images included (`estimates.py`), made once."""
        return self._prompt_tokens

    @cached_property
    def _prompt_tokens(self) -> int:
        return conversation_tokens(self.messages, self.tools)

    def context_tokens(self) -> int:
        return self.prompt_tokens() + (self.max_output or 0)

    def least_context_tokens(self) -> int:
        return least_conversation_tokens(self.messages)

    @property
    def searches(self) -> int:
        return sum(tool.searches for tool in self.tools if isinstance(tool, OpaqueTool))

    def worst_case_usage(self, prompt: int, max_output: int | None) -> Usage:
        # A budget for thinking is output, and goes before the answer.
        budget = (self.reasoning.budget if self.reasoning is not None else None) or 0
        expected = DEFAULT_OUTPUT_TOKENS + budget
        unlimited = min(max_output or expected, expected)
        output = (self.max_output or unlimited) * self.sampling.n
        return Usage(input=prompt, output=output, requests=1, searches=self.searches)

    def estimate_usage(self, output: float, reasoning: float, images: int = 0) -> Usage:
        if not output and not reasoning:
            # An empty answer that nobody counted costs nothing.
            return Usage(estimated=True)
        return Usage(
            input=self.prompt_tokens(),
            output=round(output),
            reasoning=round(reasoning),
            estimated=True,
        )

    def conversation_prefix(self) -> str:
        return "|".join(
            part.text[:CONVERSATION_PREFIX_CHARS]
            for message in self.messages[:2]
            for part in message.parts[:2]
            if isinstance(part, Text)
        )


class CountRequest(BaseRequest, frozen=True, kw_only=True):
    """How many tokens is this conversation?

    The answer is a block of the kind `count`; nothing is paid for it.
    """

    surface: ClassVar[Surface] = "count"
    chat: ChatRequest

    def needs(self) -> frozenset[Capability]:
        return self.chat.needs()

    def prompt_tokens(self) -> int:
        return self.chat.prompt_tokens()

    def context_tokens(self) -> int:
        """None: whoever counts may want to know by how much a prompt is too long."""
        return 0

    def worst_case_usage(self, prompt: int, max_output: int | None) -> Usage:
        """Nothing: counting is free."""
        return Usage()

    def conversation_prefix(self) -> str:
        return self.chat.conversation_prefix()


class ImageRequest(BaseRequest, frozen=True, kw_only=True):
    """Images from a text. `size` is width and height in pixels, `None` for the model's own.

    `options` are what only one provider understands (steps, guidance), by its id; nobody else gets
    to see them.

    Example: `ImageRequest(dialect="openai_images", model="black-forest/flux", prompt="A cat",
    size=(1024, 1024))`
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

    def options_for(self, provider: str) -> dict[str, Any]:
        """What is meant for a provider, also when one of its APIs is named (`provider/dialect`)."""
        return self.options.get(provider.partition("/")[0], {})

    def prompt_tokens(self) -> int:
        return int(text_tokens(self.prompt))

    def worst_case_usage(self, prompt: int, max_output: int | None) -> Usage:
        width, height = self.size or DEFAULT_SIZE
        tokens = IMAGE_OUTPUT_TOKENS.get(self.quality, IMAGE_OUTPUT_TOKENS["high"])
        return Usage(
            input=prompt,
            image_output=self.n * tokens,
            images=self.n,
            pixels=self.n * width * height,
            requests=1,
        )

    def estimate_usage(self, output: float, reasoning: float, images: int = 0) -> Usage:
        if not images:
            return Usage(estimated=True)
        begun = replace(self, n=images)
        return replace(begun.worst_case_usage(self.prompt_tokens(), None), estimated=True)


class EmbeddingRequest(BaseRequest, frozen=True, kw_only=True):
    """Vectors of texts, or of texts given as token ids.

    Example: `EmbeddingRequest(dialect="openai_embeddings", model="openai/text-embedding-3-small",
    texts=("Hi",))`
    """

    surface: ClassVar[Surface] = "embedding"
    texts: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None

    def prompt_tokens(self) -> int:
        return int(sum(self._token_counts()))

    def context_tokens(self) -> int:
        """Each text has the context for itself."""
        return int(max(self._token_counts(), default=0))

    def least_context_tokens(self) -> int:
        least = (least_tokens(text) if isinstance(text, str) else len(text) for text in self.texts)
        return max(least, default=0)

    def _token_counts(self) -> Iterator[float]:
        for text in self.texts:
            yield text_tokens(text) if isinstance(text, str) else len(text)

    def estimate_usage(self, output: float, reasoning: float, images: int = 0) -> Usage:
        return Usage(input=self.prompt_tokens(), estimated=True)


Request = ChatRequest | CountRequest | ImageRequest | EmbeddingRequest
"""What `ClientRole.decode` makes of a body."""
