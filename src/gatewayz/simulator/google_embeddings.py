"""Google's embeddings, as the Gemini API and Vertex AI make them.

The vectors are those of `embeddings`.
"""

import copy
import json
from functools import partial
from typing import Any

from gatewayz.simulator.behaviours import play
from gatewayz.simulator.embeddings import (
    DIMENSIONS,
    EMBEDDING_MODELS,
    VECTORS_PREFIX,
    vector_from_text,
)
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, http_response
from gatewayz.simulator.gemini import FOLDER, reject
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.recorder import Invoice, RecordedRequest, count_tokens
from gatewayz.simulator.wire_format import WireFormat

GOOGLE_EMBEDDINGS = WireFormat(folder=FOLDER, prompt=lambda request: Prompt(number=request.number))
MAX_BATCH = {"batchEmbedContents": 100, "predict": 250}
"""Method → texts in one request."""


def _texts(request: RecordedRequest, method: str) -> list[tuple[str, int]]:
    """Each text with the length that its vector is to have."""
    if method == "predict":
        size = (request.content.get("parameters") or {}).get("outputDimensionality") or DIMENSIONS
        return [(instance["content"], size) for instance in request.content["instances"]]
    return [
        (item["content"]["parts"][0]["text"], item.get("outputDimensionality") or DIMENSIONS)
        for item in request.content["requests"]
    ]


def _play_embeddings(method: str, request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    if not scene.startswith(VECTORS_PREFIX) and scene not in EMBEDDING_MODELS:
        return play(GOOGLE_EMBEDDINGS, request, scene)

    texts = _texts(request, method)
    takes_one = method == "predict" and request.model.startswith("gemini-embedding")
    limit = 1 if takes_one else MAX_BATCH[method]
    if len(texts) > limit:
        return reject(request, f"at most {limit} requests can be in one batch")

    body = _vertex_body(texts) if method == "predict" else _studio_body(texts)
    invoice = Invoice(
        request.number, request.model, sum(count_tokens(text) for text, _ in texts), 0
    )
    return invoice, iter([http_response(200, json.dumps(body).encode())])


def _studio_body(texts: list[tuple[str, int]]) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_embeddings", FOLDER).body)
    return document | {
        "embeddings": [{"values": vector_from_text(text, size)} for text, size in texts]
    }


def _vertex_body(texts: list[tuple[str, int]]) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_predictions", FOLDER).body)
    return document | {"predictions": [_prediction(text, size) for text, size in texts]}


def _prediction(text: str, size: int) -> dict[str, Any]:
    statistics = {"truncated": False, "token_count": count_tokens(text)}
    return {"embeddings": {"statistics": statistics, "values": vector_from_text(text, size)}}


play_studio_embeddings = partial(_play_embeddings, "batchEmbedContents")
play_vertex_embeddings = partial(_play_embeddings, "predict")
