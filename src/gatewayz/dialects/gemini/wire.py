"""`GenerateContentResponse` as typed values: a whole answer, or one of a stream."""

from typing import Any

import msgspec
from msgspec import Struct

from gatewayz.dialects.gemini.usage import WireUsage
from gatewayz.dialects.kit.jsontext import decode_json, encode_json, salvage_json

NAME = "gemini"
USAGE_FIELD = "usageMetadata"
SEED_BITS = 31
"""GenerationConfig.seed is an int32, here without its sign."""


def fold_seed(seed: int) -> int:
    """A seed that Google takes; a longer one is folded, which keeps equal seeds equal."""
    return seed & (1 << SEED_BITS) - 1


class GeminiWireCall(Struct, gc=False):
    """`FunctionCall`; models before Gemini 3 give no id."""

    name: str | None = None
    args: dict[str, Any] | None = None
    id: str | None = None


class WireBlob(Struct, rename="camel", gc=False):
    mime_type: str = ""
    data: str = ""


class WirePart(Struct, rename="camel", gc=False):
    """`Part`: text, a thought, a call or bytes, and the signature that may stand on any of them."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: GeminiWireCall | None = None
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


class GeminiWireChunk(Struct, rename="camel", gc=False):
    """A whole response, or one of a stream: every one of them has the same shape."""

    candidates: list[WireCandidate] | None = None
    prompt_feedback: WireFeedback | None = None
    usage_metadata: WireUsage | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(GeminiWireChunk).decode
_decode_chunks = msgspec.json.Decoder(list[GeminiWireChunk]).decode


def chunks_from_bytes(source: bytes) -> list[GeminiWireChunk]:
    """The chunk in `source`, or the list of them that a stream without `alt=sse` is.

    Raises `ValueError` for what is neither.
    """
    try:
        return _decode(source)
    except RecursionError as wrong:
        raise ValueError(str(wrong)) from wrong
    except msgspec.ValidationError as wrong:
        if USAGE_FIELD not in str(wrong):
            raise ValueError(str(wrong)) from wrong
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    return _decode(_without_broken_usage(salvage_json(source)))


def _without_broken_usage(source: bytes) -> bytes:
    """The same, without a usage that is no object: it ends no answer."""
    value = decode_json(source)
    for chunk in value if isinstance(value, list) else [value]:
        if isinstance(chunk, dict) and not isinstance(chunk.get(USAGE_FIELD), dict):
            chunk.pop(USAGE_FIELD, None)
    return encode_json(value)


def _decode(source: bytes) -> list[GeminiWireChunk]:
    return _decode_chunks(source) if source.startswith(b"[") else [_decode_chunk(source)]
