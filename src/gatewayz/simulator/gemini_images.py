"""Gemini's models that draw: one image an answer, in the size of its ratio, 1,290 tokens each.

The sizes and the count are those of ai.google.dev/gemini-api/docs/image-generation.
"""

import base64
import copy
import json
from typing import Any

from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.faults import Actions, http_response
from gatewayz.simulator.gemini import FOLDER, play_gemini, reject
from gatewayz.simulator.gemini_validation import rejection_message
from gatewayz.simulator.images import PICTURE_PREFIX, png
from gatewayz.simulator.recorder import Invoice, RecordedRequest, count_tokens

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
IMAGE_TOKENS = 1_290


def play_gemini_images(request: RecordedRequest, scene: str) -> tuple[Invoice, Actions]:
    """An image where one is asked for, and otherwise what the scene says."""
    config = request.content.get("generationConfig") or {}
    if not scene.startswith(PICTURE_PREFIX) or "IMAGE" not in config.get("responseModalities", ()):
        return play_gemini(request, scene)
    message = rejection_message(request.model, request.content)
    if message:
        return reject(request, message)

    size = SIZES[(config.get("imageConfig") or {}).get("aspectRatio", "1:1")]
    invoice = Invoice(request.number, request.model, count_tokens(_prompt(request)), IMAGE_TOKENS)
    invoice.images, invoice.pixels = 1, size[0] * size[1]
    return invoice, iter([http_response(200, json.dumps(_body(request, size, invoice)).encode())])


def _prompt(request: RecordedRequest) -> str:
    return str(request.content["contents"][0]["parts"][0]["text"])


def _body(request: RecordedRequest, size: tuple[int, int], invoice: Invoice) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(load_exchange("image_out", FOLDER).body)
    blob = {"mimeType": "image/png", "data": base64.b64encode(png(*size)).decode()}
    content = {"parts": [{"inlineData": blob}], "role": "model"}
    document["candidates"] = [{"content": content, "finishReason": "STOP", "index": 0}]
    document["usageMetadata"] = {
        "promptTokenCount": invoice.prompt_tokens,
        "candidatesTokenCount": IMAGE_TOKENS,
        "totalTokenCount": invoice.prompt_tokens + IMAGE_TOKENS,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": IMAGE_TOKENS}],
    }
    return document | {"modelVersion": request.model, "responseId": f"sim{request.number:012d}"}
