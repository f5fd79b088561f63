"""Gemini's models that draw: one image an answer, in the size of its ratio, 1,290 tokens each.

The sizes and the count are those of ai.google.dev/gemini-api/docs/image-generation.
"""

import base64
import copy
import json
from typing import Any

from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, whole
from gatewayz.simulator.gemini import FOLDER, served
from gatewayz.simulator.gemini_rules import why_not
from gatewayz.simulator.images import PICTURE, png
from gatewayz.simulator.oracle import Asked, Invoice, tokens_of

SIZES = {
    "1:1": (1024, 1024),
    "2:3": (832, 1248),
    "3:2": (1248, 832),
    "3:4": (864, 1184),
    "4:3": (1184, 864),
    "4:5": (896, 1152),
    "5:4": (1152, 896),
    "9:16": (768, 1344),
    "16:9": (1344, 768),
    "21:9": (1536, 672),
}
TOKENS = 1_290


def drawn(asked: Asked, scene: str) -> tuple[Invoice, Actions]:
    """An image where one is asked for, and whatever the scene says otherwise."""
    config = asked.content.get("generationConfig") or {}
    if not scene.startswith(PICTURE) or "IMAGE" not in config.get("responseModalities", ()):
        return served(asked, scene)
    wrong = why_not(asked.model, asked.content)
    if wrong:
        body = load_exchange("error_400_refused", FOLDER).filled(message=wrong)
        return Invoice(asked.number, asked.model, 0, 0, fault="refused"), iter([whole(400, body)])
    size = SIZES[(config.get("imageConfig") or {}).get("aspectRatio", "1:1")]
    invoice = Invoice(asked.number, asked.model, tokens_of(_prompt(asked)), TOKENS)
    invoice.images, invoice.pixels = 1, size[0] * size[1]
    return invoice, iter([whole(200, json.dumps(_body(asked, size, invoice)).encode())])


def _prompt(asked: Asked) -> str:
    return str(asked.content["contents"][0]["parts"][0]["text"])


def _body(asked: Asked, size: tuple[int, int], invoice: Invoice) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(load_exchange("image_out", FOLDER).body)
    blob = {"mimeType": "image/png", "data": base64.b64encode(png(*size)).decode()}
    document["candidates"] = [
        {
            "content": {"parts": [{"inlineData": blob}], "role": "model"},
            "finishReason": "STOP",
            "index": 0,
        }
    ]
    document["usageMetadata"] = {
        "promptTokenCount": invoice.prompt_tokens,
        "candidatesTokenCount": TOKENS,
        "totalTokenCount": invoice.prompt_tokens + TOKENS,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": TOKENS}],
    }
    return document | {"modelVersion": asked.model, "responseId": f"sim{asked.number:012d}"}
