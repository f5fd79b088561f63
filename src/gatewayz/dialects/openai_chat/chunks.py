"""The chunk and the body of a chat completion as typed values: generous, because providers are not."""

from typing import Any

import msgspec
from msgspec import Struct

from gatewayz.dialects.jsontext import read_or_salvaged


class WireFunction(Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class WireCustom(Struct, gc=False):
    name: str | None = None
    input: str | None = None


class WireCall(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: WireFunction | None = None
    custom: WireCustom | None = None
    extra_content: Any = None


class WireDelta(Struct, gc=False):
    """A `delta` of a chunk or the `message` of a body."""

    role: str | None = None
    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: str | None = None
    tool_calls: list[WireCall] | None = None
    audio: Any = None
    annotations: Any = None
    extra_content: Any = None


class WireChoice(Struct, gc=False):
    index: int | None = None
    delta: WireDelta | None = None
    message: WireDelta | None = None
    finish_reason: str | None = None
    logprobs: Any = None
    usage: Any = None


class WirePiece(Struct, gc=False):
    """What every chunk of a stream says anew. `x_groq` is where Groq puts usage and errors."""

    choices: list[WireChoice] | None = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None


class WireChunk(WirePiece, gc=False):
    """A first chunk, or a whole body: with what the others only repeat."""

    id: str | int | None = None
    model: str | None = None
    created: Any = None
    service_tier: Any = None
    system_fingerprint: Any = None


_whole = msgspec.json.Decoder(WireChunk).decode
_piece = msgspec.json.Decoder(WirePiece).decode


def chunk_from(source: bytes) -> tuple[WireChunk, bytes]:
    """The typed chunk, and the text that it was read from, which differs when broken UTF-8 had to be replaced.

    Raises `ValueError` for what is no chat completion (`msgspec`'s errors are `ValueError`s).
    """
    return read_or_salvaged(source, _whole)


def piece_from(source: bytes) -> tuple[WirePiece, bytes]:
    """The same for a chunk after the first."""
    return read_or_salvaged(source, _piece)
