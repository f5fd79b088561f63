"""The answer of `POST /embeddings` as typed values; vectors keep their bytes."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

NAME = "openai_embeddings"
PATH = "/embeddings"


class WireVector(Struct):
    """One item.

    A provider that answers with something else has no `embedding`, and the body no meaning.
    """

    embedding: Raw
    index: int | None = None


class WireVectors(Struct):
    """A whole answer."""

    data: list[WireVector] | None = None
    usage: Any = None
    error: Any = None


decode_vectors = msgspec.json.Decoder(WireVectors).decode
