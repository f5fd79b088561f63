"""Google's embeddings: `batchEmbedContents` of the Gemini API, and `:predict` of Vertex AI.

What comes back is told in OpenAI's words, from which every form of a vector is made. A request of more texts than one
of Google's may hold is several, one after another (ai.google.dev/api/embeddings; Vertex AI, text embeddings API).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from gatewayz.core.faults import Fault, UpstreamWords
from gatewayz.core.requests import Capability, EmbeddingRequest, Surface
from gatewayz.dialects.base import Answer, Asking, Decoder, Draft, Reading, Send, Steps
from gatewayz.dialects.gemini.errors import words_from
from gatewayz.dialects.jsontext import encoded
from gatewayz.dialects.vectors import frames_from

MAX_BATCH, MAX_INSTANCES = 100, 250
"""Texts in one request; `gemini-embedding` models of Vertex take one."""
ONE_AT_A_TIME = "gemini-embedding"
MAX_REQUESTS = 64


class WireValues(Struct, frozen=True):
    values: Raw = Raw()
    statistics: dict[str, Any] | None = None


class WirePrediction(Struct, frozen=True):
    embeddings: WireValues = WireValues()


class WireAnswer(Struct, frozen=True, rename="camel"):
    """An answer of either."""

    embeddings: list[WireValues] | None = None
    predictions: list[WirePrediction] | None = None
    usage_metadata: dict[str, Any] | None = None


_read = msgspec.json.Decoder(WireAnswer).decode


class GeminiEmbeddingsUpstream:
    """The side that talks to Google AI Studio."""

    name = "gemini_embeddings"
    serves: frozenset[Surface] = frozenset({"embedding"})
    lacks: frozenset[Capability] = frozenset()

    def encode(self, request: EmbeddingRequest, asking: Asking) -> Draft:
        return self.spelled(request, asking, said_in(request))

    def spelled(self, request: EmbeddingRequest, asking: Asking, texts: Sequence[str]) -> Draft:
        """The request for some of the texts."""
        size = (
            {"outputDimensionality": request.dimensions} if request.dimensions is not None else {}
        )
        model = f"models/{asking.upstream_id}"
        asked = [{"model": model, "content": {"parts": [{"text": text}]}, **size} for text in texts]
        return Draft(f"/{model}:batchEmbedContents", {"requests": asked}, dropped=left_out(request))

    def at_once(self, upstream_id: str) -> int:
        """How many texts one request may hold."""
        return MAX_BATCH

    def steps(self, request: EmbeddingRequest, asking: Asking) -> Steps:
        texts, most = said_in(request), self.at_once(asking.upstream_id)
        if len(texts) > most * MAX_REQUESTS:
            raise Fault(
                "unsupported",
                f"It takes at most {most * MAX_REQUESTS} texts at once.",
                param="input",
            )
        found: list[WireValues] = []
        counted: list[int | None] = []
        for start in range(0, len(texts), most):
            answer = yield Send(
                self.spelled(request, asking, texts[start : start + most]), whole=True
            )
            if answer is None or answer.status != 200:
                return
            values, tokens = _heard(answer)
            found += values
            counted.append(tokens)
        yield (yield from frames_from(_told(found, counted), request))

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        raise Fault("internal", "Embeddings come whole.")

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        return words_from(status, body)


class VertexEmbeddingsUpstream(GeminiEmbeddingsUpstream):
    """The side that talks to Vertex AI."""

    name = "vertex_embeddings"

    def spelled(self, request: EmbeddingRequest, asking: Asking, texts: Sequence[str]) -> Draft:
        body: dict[str, Any] = {"instances": [{"content": text} for text in texts]}
        if request.dimensions is not None:
            body["parameters"] = {"outputDimensionality": request.dimensions}
        return Draft(f"/models/{asking.upstream_id}:predict", body, dropped=left_out(request))

    def at_once(self, upstream_id: str) -> int:
        return 1 if upstream_id.startswith(ONE_AT_A_TIME) else MAX_INSTANCES


def said_in(request: EmbeddingRequest) -> list[str]:
    """The texts. Faults: `unsupported` for token ids, which are those of another tokenizer."""
    texts = [text for text in request.texts if isinstance(text, str)]
    if len(texts) < len(request.texts):
        raise Fault(
            "unsupported", "Google's embeddings take texts, and no token ids.", param="input"
        )
    return texts


def left_out(request: EmbeddingRequest) -> tuple[str, ...]:
    return (*(["user"] if request.user else []), *request.extra)


def _heard(answer: Answer) -> tuple[list[WireValues], int | None]:
    """The vectors of an answer, and the tokens that were counted. Faults: `upstream_broken` for no answer."""
    try:
        wire = _read(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault("upstream_broken", "The provider's answer holds no embeddings.") from error
    vectors = (
        wire.embeddings
        if wire.embeddings is not None
        else [one.embeddings for one in wire.predictions or ()]
    )
    told = [(one.statistics or {}).get("token_count") for one in vectors]
    whole = (wire.usage_metadata or {}).get("promptTokenCount")
    counts = [whole] if wire.embeddings is not None else told
    counted = [count for count in counts if type(count) is int]
    return vectors, sum(counted) if len(counted) == len(counts) else None


def _told(vectors: list[WireValues], counted: list[int | None]) -> bytes:
    """The vectors as OpenAI tells them; without a count where one of the answers had none."""
    data = [
        {"object": "embedding", "index": index, "embedding": one.values}
        for index, one in enumerate(vectors)
        if bytes(one.values)
    ]
    tokens = [count for count in counted if count is not None]
    usage = {"usage": {"prompt_tokens": sum(tokens), "total_tokens": sum(tokens)}}
    return encoded(
        {"object": "list", "data": data, **(usage if len(tokens) == len(counted) else {})}
    )
