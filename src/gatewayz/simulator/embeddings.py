"""Embeddings, as OpenAI's API makes them: a vector that the text determines, of length one."""

import base64
import copy
import hashlib
import json
import math
import struct
from typing import Any

from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, whole
from gatewayz.simulator.oracle import Asked, Invoice, tokens_of
from gatewayz.simulator.plays import played
from gatewayz.simulator.prompts import Prompt
from gatewayz.simulator.tongues import Tongue

FOLDER = "openai_embeddings"
VECTORS = "vectors"
KNOWN = frozenset(
    {
        "text-embedding-3-small",
        "text-embedding-3-large",
        "gemini-embedding-001",
        "text-embedding-005",
    }
)
DIMENSIONS = 8


def embeddings_played(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """The invoice of a request for embeddings, and its answer; `vectors-floats` makes no base64."""
    if not scene.startswith(VECTORS) and scene not in KNOWN:
        return played(EMBEDDINGS, asked, scene)
    invoice = Invoice(asked.number, asked.model, _prompt(asked).tokens, 0)
    return invoice, iter(
        [
            whole(
                200, json.dumps(_body(asked, scene)).encode(), x_request_id=f"req_sim{asked.number}"
            )
        ]
    )


def vector_of(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """The vector of a text, as float32 keeps it."""
    seed = b"".join(
        hashlib.sha256(f"{text}|{number}".encode()).digest()
        for number in range(-(-dimensions // 32))
    )
    raw = [byte - 127.5 for byte in seed[:dimensions]]
    length = math.sqrt(sum(each * each for each in raw))
    return list(
        struct.unpack(
            f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(each / length for each in raw))
        )
    )


def _texts(asked: Asked) -> list[str]:
    given = asked.content.get("input")
    listed = (
        given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    )
    return [text if isinstance(text, str) else json.dumps(text) for text in listed]


def _body(asked: Asked, scene: str) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(load_exchange("template_body", FOLDER).body)
    [item] = document["data"]
    as_text = asked.content.get("encoding_format") == "base64" and scene != "vectors-floats"
    dimensions = int(asked.content.get("dimensions") or DIMENSIONS)
    vectors = [vector_of(text, dimensions) for text in _texts(asked)]
    spelled = [
        base64.b64encode(struct.pack(f"<{dimensions}f", *each)).decode() if as_text else each
        for each in vectors
    ]
    document["data"] = [
        item | {"index": index, "embedding": vector} for index, vector in enumerate(spelled)
    ]
    tokens = _prompt(asked).tokens
    document |= {"model": asked.model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    if scene == "vectors-no-usage":
        del document["usage"]
    return document


def _prompt(asked: Asked) -> Prompt:
    texts = _texts(asked)
    return Prompt(number=asked.number, text=texts[0], tokens=sum(map(tokens_of, texts)))


EMBEDDINGS = Tongue(
    folder=FOLDER,
    errors="openai_chat",
    prompt=_prompt,
    bodies={
        "no-data": '{"object": "list", "data": [], "model": "m"}',
        "error-200": '{"error": {"message": "The server had an error", "code": 500}}',
        "half-json": '{"object": "list", "data": [{"embedding": [0.1',
    },
)
