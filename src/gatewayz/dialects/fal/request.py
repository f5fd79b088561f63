"""An image request as the input of a model at fal.ai.

The model is the path, and has no place in the body.
"""

import re
from typing import Any

from gatewayz.core.faults import Fault
from gatewayz.core.requests import ImageRequest
from gatewayz.dialects.fal.dropped import DROPPED
from gatewayz.dialects.kit.base import Draft, EncodeTarget
from gatewayz.dialects.kit.dropped import names_to_drop

SIZE_PRESETS = {
    (512, 512): "square",
    (1024, 1024): "square_hd",
    (768, 1024): "portrait_4_3",
    (576, 1024): "portrait_16_9",
    (1024, 768): "landscape_4_3",
    (1024, 576): "landscape_16_9",
}
"""Sizes that have names; any other is sent as width and height."""
VIDEO_ENDPOINT = re.compile(
    r"-to-video\b|/video\b|\bvideo[-/]"
    r"|(^|/)(veo|sora|kling-video|hunyuan-video|wan|ltx|mochi|minimax/hailuo|luma-dream|pixverse"
    r"|vidu)[\w.-]*(/|$)",
    re.IGNORECASE,
)
"""Endpoint ids of models that make video (fal.ai/models, text-to-video and image-to-video)."""
IMAGE_ENDPOINT = re.compile(r"text-to-image|image-to-image", re.IGNORECASE)


def request_to_wire(request: ImageRequest, target: EncodeTarget) -> Draft:
    """The model's input. Faults: `unknown_model` for a model that makes video.

    Example: `Draft("/fal-ai/flux/dev", {"prompt": "a cat", "image_size": "square_hd"})`.
    """
    model = target.upstream_id
    if VIDEO_ENDPOINT.search(model) and not IMAGE_ENDPOINT.search(model):
        raise Fault(
            "unknown_model",
            f"'{model}' makes video, which is not served here; choose one that makes images",
            param="model",
        )

    plain = {
        "image_size": _image_size(request),
        "num_images": request.n if request.n > 1 else None,
        "seed": request.seed,
        "negative_prompt": request.negative or None,
    }
    # What the request says itself counts, because that is what is paid for.
    body: dict[str, Any] = {**request.options_for(target.provider), "prompt": request.prompt}
    body |= {name: value for name, value in plain.items() if value is not None}
    return Draft(f"/{model}", body, dropped=names_to_drop(request, DROPPED))


def _image_size(request: ImageRequest) -> str | dict[str, int] | None:
    if request.size is None:
        return None
    width, height = request.size
    return SIZE_PRESETS.get(request.size) or {"width": width, "height": height}
