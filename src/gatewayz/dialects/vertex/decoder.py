"""Predictions that are images.

The forms in use are all read: models behind endpoints are their owner's.
"""

from typing import Any

import msgspec

from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.images import GeneratedImage, data_url
from gatewayz.dialects.kit.jsontext import decode_json
from gatewayz.dialects.vertex.wire import IMAGE_FIELDS


def images_from_body(body: bytes) -> list[GeneratedImage]:
    """The images. Faults: `filtered` when there are none, `upstream_broken` for no predictions."""
    try:
        document = decode_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    predictions = document.get("predictions") if isinstance(document, dict) else None
    if not isinstance(predictions, list):
        raise Fault("upstream_broken", "the provider's answer holds no predictions")

    images = [
        image
        for prediction in predictions
        if (image := _image_from_prediction(prediction)) is not None
    ]
    if not images:
        # Vertex leaves filtered images out, or names why in `raiFilteredReason`.
        raise Fault("filtered", "the provider filtered every image of the answer")
    return images


def _image_from_prediction(prediction: Any) -> GeneratedImage | None:
    if isinstance(prediction, dict):
        texts = [prediction.get(field) for field in IMAGE_FIELDS]
        text = next((text for text in texts if isinstance(text, str)), "")
        prompt = prediction.get("prompt")
    else:
        text, prompt = prediction if isinstance(prediction, str) else "", None
    if not text:
        return None

    url = text if text.startswith(("data:", "https://", "http://")) else data_url(text)
    return GeneratedImage(url, revised_prompt=prompt if isinstance(prompt, str) else "")
