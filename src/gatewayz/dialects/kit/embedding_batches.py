"""Embeddings of providers that take few texts at once: several requests make one answer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from msgspec import Raw, Struct

from gatewayz.core.faults import Fault
from gatewayz.core.requests import EmbeddingRequest, Surface
from gatewayz.dialects.kit.base import HTTP_OK, Draft, EncodeTarget, Send, Steps
from gatewayz.dialects.kit.vectors import (
    convert_vectors,
    frame_from_vectors,
    usage_from_token_count,
)
from gatewayz.dialects.kit.whole_answers import WholeAnswers

MAX_REQUESTS = 64
"""Requests for one answer: they wait for each other, and the client for all of them."""


class VectorBatch(Struct, frozen=True):
    """The answer to one request: a vector (JSON) for each text, and the tokens counted."""

    vectors: list[Raw]
    tokens: int | None


class BatchedEmbeddings(WholeAnswers, ABC):
    """The steps of a role whose provider takes `max_texts` texts at once: subclass it."""

    serves: frozenset[Surface] = frozenset({"embedding"})

    def encode(self, request: EmbeddingRequest, target: EncodeTarget) -> Draft:
        return self.encode_texts(request, target, texts_from_request(request))

    @abstractmethod
    def encode_texts(
        self, request: EmbeddingRequest, target: EncodeTarget, texts: Sequence[str]
    ) -> Draft:
        """The request for some of the texts."""

    @abstractmethod
    def max_texts(self, upstream_id: str) -> int:
        """How many texts one request to this model may hold."""

    @abstractmethod
    def read_batch(self, body: bytes) -> VectorBatch:
        """The answer to one request. Faults: `upstream_broken` for what is none."""

    def steps(self, request: EmbeddingRequest, target: EncodeTarget) -> Steps:
        texts, most = texts_from_request(request), self.max_texts(target.upstream_id)
        if len(texts) > most * MAX_REQUESTS:
            raise Fault(
                "unsupported",
                f"The provider takes at most {most * MAX_REQUESTS} texts for one answer, "
                f"but this request has {len(texts)}; send them in several.",
                param="input",
            )

        batches: list[VectorBatch] = []
        for start in range(0, len(texts), most):
            draft = self.encode_texts(request, target, texts[start : start + most])
            answer = yield Send(draft, read_whole=True)
            if answer is None or answer.status != HTTP_OK:
                return
            batches.append(self.read_batch(answer.body))

        vectors = [vector for batch in batches for vector in batch.vectors]
        converted = yield from convert_vectors(vectors, request)
        yield [frame_from_vectors(converted, usage_from_token_count(_tokens(batches), request))]


def _tokens(batches: Sequence[VectorBatch]) -> int | None:
    """The tokens of all batches; without a count where one of them has none."""
    counts = [batch.tokens for batch in batches if batch.tokens is not None]
    return sum(counts) if len(counts) == len(batches) else None


def texts_from_request(request: EmbeddingRequest) -> list[str]:
    """The texts. Faults: `unsupported` for token ids, which are those of another tokenizer."""
    texts = [text for text in request.texts if isinstance(text, str)]
    if len(texts) < len(request.texts):
        raise Fault("unsupported", "The provider takes texts, not token ids.", param="input")
    return texts
