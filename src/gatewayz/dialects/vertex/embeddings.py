"""Embeddings of Vertex AI: `:predict` of a text embedding model (text embeddings API)."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from gatewayz.core.faults import Fault, UpstreamError
from gatewayz.core.requests import EmbeddingRequest
from gatewayz.dialects.kit.base import Draft, EncodeTarget
from gatewayz.dialects.kit.dropped import names_to_drop
from gatewayz.dialects.kit.embedding_batches import BatchedEmbeddings, VectorBatch
from gatewayz.dialects.kit.google_status import upstream_error_from_status
from gatewayz.dialects.vertex.dropped import EMBEDDINGS_DROPPED

NAME = "vertex_embeddings"
MAX_INSTANCES = 250
"""Texts in one request; `gemini-embedding` models take one."""
ONE_TEXT_PREFIX = "gemini-embedding"


class WireStatistics(Struct, frozen=True):
    token_count: Any = None


class WireTextEmbedding(Struct, frozen=True):
    values: Raw = Raw()
    statistics: WireStatistics | None = None


class WireTextPrediction(Struct, frozen=True):
    embeddings: WireTextEmbedding = WireTextEmbedding()


class WireTextPredictions(Struct, frozen=True):
    """`PredictResponse` of such a model; the numbers of a vector are not parsed here."""

    predictions: list[WireTextPrediction] | None = None


_decode_answer = msgspec.json.Decoder(WireTextPredictions).decode


class VertexEmbeddingsUpstream(BatchedEmbeddings):
    """The side that talks to Vertex AI."""

    name = NAME

    def encode_texts(
        self, request: EmbeddingRequest, target: EncodeTarget, texts: Sequence[str]
    ) -> Draft:
        body: dict[str, Any] = {"instances": [{"content": text} for text in texts]}
        if request.dimensions is not None:
            body["parameters"] = {"outputDimensionality": request.dimensions}
        return Draft(
            f"/models/{target.upstream_id}:predict",
            body,
            dropped=names_to_drop(request, EMBEDDINGS_DROPPED),
        )

    def max_texts(self, upstream_id: str) -> int:
        return 1 if upstream_id.startswith(ONE_TEXT_PREFIX) else MAX_INSTANCES

    def read_batch(self, body: bytes) -> VectorBatch:
        try:
            answer = _decode_answer(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Fault("upstream_broken", "the provider's answer holds no embeddings") from error
        items = [prediction.embeddings for prediction in answer.predictions or ()]
        vectors = [item.values for item in items if bytes(item.values)]
        counts = [item.statistics.token_count for item in items if item.statistics is not None]
        is_whole = len(counts) == len(items) and all(type(count) is int for count in counts)
        return VectorBatch(vectors, sum(counts) if is_whole else None)

    def error_from_response(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamError:
        return upstream_error_from_status(NAME, status, body)
