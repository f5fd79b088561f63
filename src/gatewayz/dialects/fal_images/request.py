"""An image request as the input of a model at fal.ai. The model is the path, and has no place in the body."""

import re
from typing import Any

from gatewayz.core.faults import Fault
from gatewayz.core.requests import ImageRequest
from gatewayz.dialects.base import Asking, Draft

NAME = "fal_images"
PRESETS = {
    (512, 512): "square",
    (1024, 1024): "square_hd",
    (768, 1024): "portrait_4_3",
    (576, 1024): "portrait_16_9",
    (1024, 768): "landscape_4_3",
    (1024, 576): "landscape_16_9",
}
"""Sizes that have names; any other is sent as width and height."""
VIDEO = re.compile(
    r"-to-video\b|/video\b|\bvideo[-/]|(^|/)(veo|sora|kling-video|hunyuan-video|wan|ltx|mochi|minimax/hailuo|luma-dream"
    r"|pixverse|vidu)[\w.-]*(/|$)",
    re.IGNORECASE,
)
"""Endpoint ids of models that make video (fal.ai/models, category text-to-video and image-to-video)."""
IMAGE = re.compile(r"text-to-image|image-to-image", re.IGNORECASE)


def request_to_wire(request: ImageRequest, asking: Asking) -> Draft:
    """The model's input. Faults: `unknown_model` for a model that makes video."""
    model = asking.upstream_id
    if VIDEO.search(model) and not IMAGE.search(model):
        raise Fault(
            "unknown_model",
            f"'{model}' makes video, which is not served here; images are.",
            param="model",
        )
    plain = {
        "image_size": _size(request),
        "num_images": request.n if request.n > 1 else None,
        "seed": request.seed,
        "negative_prompt": request.negative or None,
    }
    body: dict[str, Any] = {"prompt": request.prompt}
    body |= {name: value for name, value in plain.items() if value is not None}
    body |= request.options_for(asking.provider)
    unsaid = {"quality": request.quality, "style": request.style, "user": request.user}
    dropped = (*(name for name, value in unsaid.items() if value), *request.extra)
    return Draft(f"/{model}", body, dropped=dropped)


def _size(request: ImageRequest) -> str | dict[str, int] | None:
    if request.size is None:
        return None
    width, height = request.size
    return PRESETS.get(request.size) or {"width": width, "height": height}
