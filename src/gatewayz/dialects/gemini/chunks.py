"""`GenerateContentResponse` as typed values: a whole answer, or one of a stream."""

from typing import Any

import msgspec
from msgspec import Struct

from gatewayz.dialects.gemini.usage import WireUsage
from gatewayz.dialects.jsontext import salvaged


class WireCall(Struct, gc=False):
    name: str | None = None
    args: dict[str, Any] | None = None
    id: str | None = None


class WireBlob(Struct, rename="camel", gc=False):
    mime_type: str = ""
    data: str = ""


class WirePart(Struct, rename="camel", gc=False):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: WireCall | None = None
    inline_data: WireBlob | None = None


class WireContent(Struct, gc=False):
    parts: list[WirePart] | None = None


class WireCandidate(Struct, rename="camel", gc=False):
    index: int | None = None
    content: WireContent | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    logprobs_result: Any = None


class WireFeedback(Struct, rename="camel", gc=False):
    block_reason: str | None = None


class WireChunk(Struct, rename="camel", gc=False):
    candidates: list[WireCandidate] | None = None
    prompt_feedback: WireFeedback | None = None
    usage_metadata: WireUsage | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


_one = msgspec.json.Decoder(WireChunk).decode
_many = msgspec.json.Decoder(list[WireChunk]).decode


def chunks_from(source: bytes) -> list[WireChunk]:
    """The chunk in `source`, or the list of them that a stream without `alt=sse` is. Raises `ValueError`."""
    try:
        return _read(source)
    except (msgspec.ValidationError, RecursionError) as wrong:
        raise ValueError(str(wrong)) from wrong
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _read(salvaged(source))


def _read(source: bytes) -> list[WireChunk]:
    return _many(source) if source.startswith(b"[") else [_one(source)]
