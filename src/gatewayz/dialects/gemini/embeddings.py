"""Embeddings of the Gemini API: `batchEmbedContents` (ai.google.dev/api/embeddings)."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from gatewayz.core.faults import Fault, UpstreamError
from gatewayz.core.requests import EmbeddingRequest
from gatewayz.dialects.gemini.dropped import EMBEDDINGS_DROPPED
from gatewayz.dialects.gemini.errors import upstream_error_from_response
from gatewayz.dialects.kit.base import Draft, EncodeTarget
from gatewayz.dialects.kit.dropped import names_to_drop
from gatewayz.dialects.kit.embedding_batches import BatchedEmbeddings, VectorBatch

MAX_BATCH = 100
"""Texts in one request."""


class WireEmbedding(Struct, frozen=True):
    values: Raw = Raw()


class WireEmbeddingUsage(Struct, frozen=True, rename="camel"):
    prompt_token_count: Any = None


class WireEmbeddings(Struct, frozen=True, rename="camel"):
    """`BatchEmbedContentsResponse`; the numbers of a vector are not parsed here."""

    embeddings: list[WireEmbedding] | None = None
    usage_metadata: WireEmbeddingUsage | None = None


_decode_answer = msgspec.json.Decoder(WireEmbeddings).decode


class GeminiEmbeddingsUpstream(BatchedEmbeddings):
    """The side that talks to Google AI Studio."""

    name = "gemini_embeddings"

    def encode_texts(
        self, request: EmbeddingRequest, target: EncodeTarget, texts: Sequence[str]
    ) -> Draft:
        model = f"models/{target.upstream_id}"
        size = (
            {"outputDimensionality": request.dimensions} if request.dimensions is not None else {}
        )
        requests = [
            {"model": model, "content": {"parts": [{"text": text}]}, **size} for text in texts
        ]
        return Draft(
            f"/{model}:batchEmbedContents",
            {"requests": requests},
            dropped=names_to_drop(request, EMBEDDINGS_DROPPED),
        )

    def max_texts(self, upstream_id: str) -> int:
        return MAX_BATCH

    def read_batch(self, body: bytes) -> VectorBatch:
        try:
            answer = _decode_answer(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Fault("upstream_broken", "the provider's answer holds no embeddings") from error
        vectors = [item.values for item in answer.embeddings or () if bytes(item.values)]
        tokens = answer.usage_metadata.prompt_token_count if answer.usage_metadata else None
        return VectorBatch(vectors, tokens if type(tokens) is int else None)

    def error_from_response(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamError:
        return upstream_error_from_response(status, body)
