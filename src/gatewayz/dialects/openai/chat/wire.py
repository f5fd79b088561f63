"""The chunk and the body of a chat completion as typed values: generous, because providers are not.

Also the words that both directions know: why a choice ends.
"""

from typing import Any

import msgspec
from msgspec import Struct

from gatewayz.core.events import Stop
from gatewayz.dialects.kit.jsontext import decode_or_salvage

NAME = "openai_chat"
PATH = "/chat/completions"
STOPS = {
    "stop": Stop.END,
    "length": Stop.LENGTH,
    "tool_calls": Stop.TOOL,
    "function_call": Stop.TOOL,
    "content_filter": Stop.FILTER,
}
"""`finish_reason` → why the model stopped."""
REASONS = {
    Stop.END: "stop",
    Stop.LENGTH: "length",
    Stop.TOOL: "tool_calls",
    Stop.FILTER: "content_filter",
    Stop.SEQUENCE: "stop",
}
"""Why the model stopped → `finish_reason`."""
FAILED_REASON = "error"
"""OpenRouter's and Mistral's word for an answer that failed."""


class ChatWireFunction(Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class ChatWireCustom(Struct, gc=False):
    name: str | None = None
    input: str | None = None


class ChatWireCall(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: ChatWireFunction | None = None
    custom: ChatWireCustom | None = None
    extra_content: Any = None


class ChatWireDelta(Struct, gc=False):
    """A `delta` of a chunk or the `message` of a body."""

    role: str | None = None
    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: str | None = None
    tool_calls: list[ChatWireCall] | None = None
    audio: Any = None
    images: Any = None
    annotations: Any = None
    extra_content: Any = None


class ChatWireChoice(Struct, gc=False):
    index: int | None = None
    delta: ChatWireDelta | None = None
    message: ChatWireDelta | None = None
    finish_reason: str | None = None
    logprobs: Any = None
    usage: Any = None


class ChatWirePiece(Struct, gc=False):
    """What differs from chunk to chunk. `x_groq` is where Groq puts usage and errors."""

    choices: list[ChatWireChoice] | None = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None


class ChatWireChunk(ChatWirePiece, gc=False):
    """A first chunk, or a whole body: with what later chunks only repeat."""

    id: str | int | None = None
    model: str | None = None
    created: Any = None
    service_tier: Any = None
    system_fingerprint: Any = None


_decode_chunk = msgspec.json.Decoder(ChatWireChunk).decode
_decode_piece = msgspec.json.Decoder(ChatWirePiece).decode


def chunk_from_bytes(source: bytes) -> tuple[ChatWireChunk, bytes]:
    """The typed chunk, and its text, which differs from `source` when broken UTF-8 was replaced.

    Raises `ValueError` for what is no chat completion (`msgspec`'s errors are `ValueError`s).
    """
    return decode_or_salvage(source, _decode_chunk)


def piece_from_bytes(source: bytes) -> tuple[ChatWirePiece, bytes]:
    """The same for a chunk after the first."""
    return decode_or_salvage(source, _decode_piece)
