"""The chunk and the body of a chat completion as typed values: generous, because providers are not."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from gatewayz.dialects.jsontext import salvaged

ABSENT = Raw()


class WireFunction(Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class WireCustom(Struct):
    name: str | None = None
    input: str | None = None


class WireCall(Struct):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: WireFunction | None = None
    custom: WireCustom | None = None
    extra_content: Any = None


class WireDelta(Struct):
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


class WireChoice(Struct):
    index: int | None = None
    delta: WireDelta | None = None
    message: WireDelta | None = None
    finish_reason: str | None = None
    logprobs: Any = None
    usage: Any = None


class WireChunk(Struct):
    """One chunk, or a whole body. `x_groq` is where Groq puts usage and errors."""

    id: str | int | None = None
    model: str | None = None
    created: Any = None
    choices: list[WireChoice] | None = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None
    service_tier: Any = None
    system_fingerprint: Any = None


_decode = msgspec.json.Decoder(WireChunk).decode


def chunk_from(source: bytes) -> tuple[WireChunk, bytes]:
    """The typed chunk, and the text that it was read from, which differs when broken UTF-8 had to be replaced.

    Raises `ValueError` for what is no chat completion (`msgspec`'s errors are `ValueError`s).
    """
    try:
        if source.isascii() or source.decode():
            return _decode(source), source
    except (msgspec.ValidationError, RecursionError) as wrong:
        raise ValueError(str(wrong)) from wrong
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    text = salvaged(source)
    return _decode(text), text
