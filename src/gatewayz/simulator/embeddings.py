"""Embeddings, as OpenAI's API makes them: a vector that the text determines, of length one."""

import base64
import copy
import hashlib
import json
import math
import struct
from typing import Any

from gatewayz.simulator.behaviours import play
from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, http_response
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.recorder import Invoice, RecordedRequest, count_tokens
from gatewayz.simulator.wire_format import WireFormat

FOLDER = "openai_embeddings"
VECTORS_PREFIX = "vectors"
EMBEDDING_MODELS = frozenset(
    {
        "text-embedding-3-small",
        "text-embedding-3-large",
        "gemini-embedding-001",
        "text-embedding-005",
    }
)
DIMENSIONS = 8


def play_embeddings(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """A vector for each text; `vectors-floats` makes no base64."""
    if not scene.startswith(VECTORS_PREFIX) and scene not in EMBEDDING_MODELS:
        return play(EMBEDDINGS, request, scene)
    invoice = Invoice(request.number, request.model, _prompt(request).tokens, 0)
    body = json.dumps(_body(request, scene)).encode()
    return invoice, iter([http_response(200, body, x_request_id=f"req_sim{request.number}")])


def vector_from_text(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """The vector of a text, of length one, with the precision of a float32."""
    hashes = [
        hashlib.sha256(f"{text}|{number}".encode()).digest()
        for number in range(-(-dimensions // 32))
    ]
    raw = [byte - 127.5 for byte in b"".join(hashes)[:dimensions]]
    length = math.sqrt(sum(value * value for value in raw))
    packed = struct.pack(f"<{dimensions}f", *(value / length for value in raw))
    return list(struct.unpack(f"<{dimensions}f", packed))


def _texts(request: RecordedRequest) -> list[str]:
    value = request.content.get("input")
    # A list of numbers is one text, as token ids.
    if not isinstance(value, list) or not value or isinstance(value[0], int):
        value = [value]
    return [text if isinstance(text, str) else json.dumps(text) for text in value]


def _body(request: RecordedRequest, scene: str) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_body", FOLDER).body)
    [item] = document["data"]
    as_text = request.content.get("encoding_format") == "base64" and scene != "vectors-floats"
    dimensions = int(request.content.get("dimensions") or DIMENSIONS)
    vectors: list[Any] = [vector_from_text(text, dimensions) for text in _texts(request)]
    if as_text:
        packed = [struct.pack(f"<{dimensions}f", *vector) for vector in vectors]
        vectors = [base64.b64encode(content).decode() for content in packed]
    document["data"] = [
        item | {"index": index, "embedding": vector} for index, vector in enumerate(vectors)
    ]

    tokens = _prompt(request).tokens
    document |= {"model": request.model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    if scene == "vectors-no-usage":
        del document["usage"]
    return document


def _prompt(request: RecordedRequest) -> Prompt:
    texts = _texts(request)
    return Prompt(number=request.number, text=texts[0], tokens=sum(map(count_tokens, texts)))


EMBEDDINGS = WireFormat(
    folder=FOLDER,
    errors="openai_chat",
    prompt=_prompt,
    fault_bodies={
        "no-data": '{"object": "list", "data": [], "model": "m"}',
        "error-200": '{"error": {"message": "The server had an error", "code": 500}}',
        "half-json": '{"object": "list", "data": [{"embedding": [0.1',
    },
)
