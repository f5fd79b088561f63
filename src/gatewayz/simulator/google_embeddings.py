"""Google's embeddings, as the Gemini API and Vertex AI make them: the vectors of `embeddings`, in their words."""

import copy
import json
from functools import partial
from typing import Any

from gatewayz.simulator.embeddings import DIMENSIONS, KNOWN, VECTORS, vector_of
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, whole
from gatewayz.simulator.gemini import FOLDER
from gatewayz.simulator.oracle import Asked, Invoice, tokens_of
from gatewayz.simulator.plays import played
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.tongues import Tongue

WORDLESS = Tongue(folder=FOLDER, prompt=lambda asked: Prompt(number=asked.number))
MOST = {"batchEmbedContents": 100, "predict": 250}
"""Texts in one request."""


def _texts(asked: Asked, method: str) -> list[tuple[str, int]]:
    """Each text with the length that its vector is to have."""
    if method == "predict":
        size = (asked.content.get("parameters") or {}).get("outputDimensionality") or DIMENSIONS
        return [(one["content"], size) for one in asked.content["instances"]]
    requests = asked.content["requests"]
    return [
        (one["content"]["parts"][0]["text"], one.get("outputDimensionality") or DIMENSIONS)
        for one in requests
    ]


def _embedded(method: str, asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    if not scene.startswith(VECTORS) and scene not in KNOWN:
        return played(WORDLESS, asked, scene)
    texts = _texts(asked, method)
    most = 1 if method == "predict" and asked.model.startswith("gemini-embedding") else MOST[method]
    if len(texts) > most:
        no = load_exchange("error_400_refused", FOLDER).filled(
            message=f"at most {most} requests can be in one batch"
        )
        return Invoice(asked.number, asked.model, 0, 0, fault="refused"), iter([whole(400, no)])
    body = _vertex(texts) if method == "predict" else _studio(texts)
    invoice = Invoice(asked.number, asked.model, sum(tokens_of(text) for text, _ in texts), 0)
    return invoice, iter([whole(200, json.dumps(body).encode())])


def _studio(texts: list[tuple[str, int]]) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_embeddings", FOLDER).body)
    return document | {"embeddings": [{"values": vector_of(text, size)} for text, size in texts]}


def _vertex(texts: list[tuple[str, int]]) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_predictions", FOLDER).body)
    return document | {"predictions": [_prediction(text, size) for text, size in texts]}


def _prediction(text: str, size: int) -> dict[str, Any]:
    counted = {"truncated": False, "token_count": tokens_of(text)}
    return {"embeddings": {"statistics": counted, "values": vector_of(text, size)}}


studio_embedded = partial(_embedded, "batchEmbedContents")
vertex_embedded = partial(_embedded, "predict")
