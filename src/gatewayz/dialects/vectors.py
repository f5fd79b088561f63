"""Vectors: JSON floats, or base64 of little-endian float32, one made from the other; a whole answer of them.

The numbers of an answer are not parsed where the client wants them as they came: a batch has millions.
"""

import base64
import binascii
import struct
from collections.abc import Generator, Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from gatewayz.core.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Failed,
    Finished,
    Frame,
    Kind,
    Started,
    Stop,
    UsageReported,
)
from gatewayz.core.faults import Fault
from gatewayz.core.requests import EmbeddingRequest
from gatewayz.core.usage import Usage
from gatewayz.dialects.base import Answer, Step, Wait
from gatewayz.dialects.jsontext import encoded
from gatewayz.dialects.openai_usage import usage_from_wire
from gatewayz.dialects.refusals import words_in_answer

NAME = "openai_embeddings"
AT_ONCE = 64
"""Vectors that are made over without a pause: other calls are served in between."""
BYTES_PER_FLOAT = 4
Said = Generator[Step, Answer | None, list[Frame]]


class WireVector(Struct):
    """One item; `embedding` keeps its bytes. `embedding` is absent where a provider answers with something else."""

    embedding: Raw
    index: int | None = None


class WireVectors(Struct):
    """A whole answer."""

    data: list[WireVector] | None = None
    usage: Any = None
    error: Any = None


_read = msgspec.json.Decoder(WireVectors).decode
_floats = msgspec.json.Decoder(list[float]).decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode


def frames_from(body: bytes, request: EmbeddingRequest) -> Said:
    """A whole answer, in the form that the client asked for; in the echo the vectors stay in its source.

    Faults: `upstream_broken` for what is no answer, or has not a vector for each text.
    """
    try:
        answer, head = _read(body), _fields(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault("upstream_broken", "The provider's answer holds no embeddings.") from error
    if answer.error:
        words = words_in_answer(NAME, answer.error, body)
        fault = Fault(
            "upstream_error", words.message or "the provider reported an error", upstream=words
        )
        return [Frame((Failed(fault),))]
    vectors = answer.data or []
    if len(vectors) != len(request.texts):
        raise Fault(
            "upstream_broken",
            f"The provider made {len(vectors)} embeddings of {len(request.texts)} texts.",
        )
    data = []
    for start in range(0, len(vectors), AT_ONCE):
        if start:
            yield Wait(0)
        data += [
            _item(vector, start + number, request)
            for number, vector in enumerate(vectors[start : start + AT_ONCE])
        ]
    usage = _usage(answer.usage, request)
    echo = request.dialect == NAME
    events = (
        Started(),
        *_blocks(vectors, spelled=not echo),
        ChoiceEnded(0, Stop.END),
        usage,
        Finished(),
    )
    told = {"prompt_tokens": usage.usage.prompt, "total_tokens": usage.usage.prompt}
    source = encoded({"object": "list", "usage": told, **head, "data": data}) if echo else None
    return [Frame(events, source, whole=True)]


def _blocks(vectors: list[WireVector], *, spelled: bool) -> Iterator[Event]:
    for number, vector in enumerate(vectors):
        yield BlockStarted(number, Kind.VECTOR)
        if spelled:
            yield BlockDelta(
                number, msgspec.json.decode(encoded(in_form(vector.embedding, "base64")))
            )
        yield BlockEnded(number)


def _item(vector: WireVector, position: int, request: EmbeddingRequest) -> dict[str, Any]:
    index = position if vector.index is None else vector.index
    return {
        "object": "embedding",
        "index": index,
        "embedding": in_form(vector.embedding, request.form),
    }


def in_form(vector: Raw, form: str) -> Raw | str | list[float]:
    """The vector as `float` or `base64`. Faults: `upstream_broken` for what is no vector."""
    source = bytes(vector).strip()
    try:
        if form == "base64":
            return vector if source[:1] == b'"' else packed(_floats(source))
        return vector if source[:1] == b"[" else unpacked(msgspec.json.decode(source, type=str))
    except (msgspec.DecodeError, binascii.Error, struct.error, OverflowError) as error:
        raise Fault(
            "upstream_broken", "The provider sent an embedding that is no vector."
        ) from error


def packed(floats: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(floats)}f", *floats)).decode()


def unpacked(text: str) -> list[float]:
    content = base64.b64decode(text, validate=True)
    return list(struct.unpack(f"<{len(content) // BYTES_PER_FLOAT}f", content))


def _usage(report: Any, request: EmbeddingRequest) -> UsageReported:
    """What the provider counted: there is only a prompt. Without a count, an estimate."""
    told = usage_from_wire(report)
    if told is None:
        return UsageReported(request.estimate(0, 0))
    return replace(
        told, usage=Usage(input=told.usage.prompt, requests=1, repaired=told.usage.repaired)
    )
