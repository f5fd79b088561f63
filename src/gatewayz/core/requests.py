"""Requests: what a client asks for, in no dialect's words."""

from enum import StrEnum
from typing import Any, Literal

from msgspec import Struct

from gatewayz.core.conversation import (
    Audio,
    File,
    Image,
    Message,
    OpaqueTool,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

BYTES_PER_TOKEN = 4.3
"""Measured: English 4.7, code 4.5, Chinese 4.1 bytes of UTF-8 a token."""
TOKENS_PER_IMAGE = 1_100
"""A high-detail image of 1024 x 1024 costs about 765 to 1,105 tokens at the large providers."""


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


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A chat completion, asked for in any dialect. `extra` belongs to `dialect` and goes nowhere else."""

    dialect: str
    model: str
    messages: tuple[Message, ...]
    models: tuple[str, ...] = ()
    tools: tuple[Tool | OpaqueTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    sampling: Sampling = Sampling()
    max_output: int | None = None
    format: Format | None = None
    reasoning: Effort | None = None
    user: str = ""
    session: str = ""
    wishes: Wishes = Wishes()
    streamed: bool = False
    wants_usage: bool = False
    extra: dict[str, Any] = {}


def needs(request: ChatRequest) -> frozenset[Capability]:
    """What an offer must be able to do to serve this request."""
    found: set[Capability] = set()
    if request.tools:
        found.add(Capability.TOOLS)
    if request.sampling.n > 1:
        found.add(Capability.CHOICES)
    if request.format is not None and request.format.kind == "json_schema":
        found.add(Capability.JSON_SCHEMA)
    kinds = {type(part) for message in request.messages for part in message.parts}
    found |= {capability for kind, capability in PART_NEEDS.items() if kind in kinds}
    return frozenset(found)


PART_NEEDS: dict[type, Capability] = {
    Image: Capability.IMAGES,
    Audio: Capability.AUDIO,
    File: Capability.FILES,
}


def prompt_tokens(request: ChatRequest) -> int:
    """An estimate of the prompt's tokens, tools included (`design`: UTF-8 bytes / 4.3, images by rule)."""
    size, images = 0, 0
    for message in request.messages:
        for part in message.parts:
            size += _part_bytes(part)
            images += type(part) is Image
    for tool in request.tools:
        size += len(str(tool))
    return int(size / BYTES_PER_TOKEN) + images * TOKENS_PER_IMAGE + 4 * len(request.messages)


def _part_bytes(part: object) -> int:
    match part:
        case Text(text=text) | Reasoning(text=text) | Refusal(text=text):
            return len(text.encode())
        case ToolCall(name=name, arguments=arguments):
            return len(name) + len(arguments.encode())
        case ToolResult(parts=parts):
            return sum(_part_bytes(inner) for inner in parts)
        case Audio(content=content) | File(content=content):
            return len(content) // 8
    return 0
