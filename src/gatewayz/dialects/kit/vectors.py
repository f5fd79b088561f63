"""Vectors: JSON arrays of floats, or base64 of little-endian float32, one made from the other.

The numbers are not parsed where the client wants them as they came: a batch has millions.
"""

import base64
import binascii
import struct
from collections.abc import Generator, Iterator, Sequence

import msgspec
from msgspec import Raw

from gatewayz.core.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
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
from gatewayz.dialects.kit.base import Step, UpstreamAnswer, Wait
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.dialects.kit.reported_counts import ReportedCounts

VECTORS_PER_PAUSE = 64
"""Vectors that are converted without a pause: other calls are served in between."""
BYTES_PER_FLOAT = 4
VectorSteps = Generator[Step, UpstreamAnswer | None, list[Raw]]

_decode_floats = msgspec.json.Decoder(list[float]).decode
_decode_text = msgspec.json.Decoder(str).decode


def convert_vectors(vectors: Sequence[Raw], request: EmbeddingRequest) -> VectorSteps:
    """The vectors as JSON in the form that the client asked for.

    Faults: `upstream_broken` when there is not one for each text, or one that is no vector.
    """
    if len(vectors) != len(request.texts):
        raise Fault(
            "upstream_broken",
            f"The provider made {len(vectors)} embeddings of {len(request.texts)} texts.",
        )

    converted: list[Raw] = []
    for start in range(0, len(vectors), VECTORS_PER_PAUSE):
        if start:
            yield Wait(0)
        batch = vectors[start : start + VECTORS_PER_PAUSE]
        converted += [convert_vector(vector, request.output_encoding) for vector in batch]
    return converted


def convert_vector(vector: Raw, encoding: str) -> Raw:
    """The vector as JSON: a text for `base64`, else an array.

    Example: `[0.5, -1.0]` for `base64` is `"AAAAPwAAgL8="`. Faults: `upstream_broken` for what is
    no vector.
    """
    source = bytes(vector).strip()
    is_text = source.startswith(b'"')
    try:
        if encoding == "base64":
            return vector if is_text else Raw(encode_json(pack_floats(_decode_floats(source))))
        if source.startswith(b"["):
            return vector
        return Raw(encode_json(unpack_floats(_decode_text(source))))
    except (msgspec.DecodeError, binascii.Error, struct.error, OverflowError) as error:
        raise Fault(
            "upstream_broken", "The provider sent an embedding that is not a vector."
        ) from error


def frame_from_vectors(
    vectors: Sequence[Raw], usage: UsageReported, source: bytes | None = None
) -> Frame:
    """A whole answer. With a `source` the vectors stand there alone, and their blocks are empty."""
    blocks = _block_events(vectors, with_text=source is None)
    return Frame(
        (Started(), *blocks, ChoiceEnded(0, Stop.END), usage, Finished()), source, whole=True
    )


def _block_events(vectors: Sequence[Raw], *, with_text: bool) -> Iterator[Event]:
    for number, vector in enumerate(vectors):
        yield BlockStarted(number, Kind.VECTOR)
        if with_text:
            yield BlockDelta(number, bytes(vector).decode(errors="replace"))
        yield BlockEnded(number)


def usage_from_token_count(tokens: object, request: EmbeddingRequest) -> UsageReported:
    """What the provider counted: there is only a prompt. Without a count, an estimate; texts are
    never empty, so nothing is no count.
    """
    counts = ReportedCounts()
    prompt = counts.read(tokens)
    if not prompt:
        return UsageReported(request.estimate_usage(0, 0))
    return UsageReported(Usage(input=prompt, requests=1, repaired=counts.repaired))


def pack_floats(floats: list[float]) -> str:
    """The base64 text of a vector. Raises `OverflowError` for a number that no float32 holds."""
    return base64.b64encode(struct.pack(f"<{len(floats)}f", *floats)).decode()


def unpack_floats(text: str) -> list[float]:
    """The vector of a base64 text. Raises `binascii.Error` or `struct.error` for what is none."""
    content = base64.b64decode(text, validate=True)
    return list(struct.unpack(f"<{len(content) // BYTES_PER_FLOAT}f", content))
