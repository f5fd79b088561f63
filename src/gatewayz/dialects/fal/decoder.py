"""The output of an image model at fal.ai: its images, and how many megapixels are billed."""

from typing import Any

from gatewayz.core.estimates import DEFAULT_SIZE
from gatewayz.core.faults import Fault
from gatewayz.core.requests import ImageRequest
from gatewayz.core.usage import Usage
from gatewayz.dialects.kit.images import GeneratedImage
from gatewayz.dialects.kit.jsontext import parse_provider_object

MEGAPIXEL = 1024 * 1024
"""fal counts 1024 x 1024 as one megapixel and rounds up to whole ones.

Source: fal.ai/models/fal-ai/flux/dev, pricing.
"""
BILLED_PIXELS = 10**6
"""What a megapixel counts for here: prices of pixels are for a million of them."""


def images_from_body(body: bytes) -> list[GeneratedImage]:
    """The images of a model's output.

    Faults: `filtered` when all are blackened, `unknown_model` for a video, `upstream_broken` for
    an output that holds neither.
    """
    output = parse_provider_object(body)
    listed = output.get("images")
    items = listed if isinstance(listed, list) else [output.get("image")]
    images = [
        _image_from_item(item, output)
        for item in items
        if isinstance(item, dict) and item.get("url")
    ]
    if not images:
        raise _no_images_fault(output)

    flags = output.get("has_nsfw_concepts") or output.get("nsfw_content_detected")
    if isinstance(flags, list) and flags and all(flag is True for flag in flags):
        raise Fault("filtered", "fal filtered every image of the answer")
    return images


def _image_from_item(item: dict[str, Any], output: dict[str, Any]) -> GeneratedImage:
    width, height = item.get("width"), item.get("height")
    is_known = isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0
    prompt = output.get("prompt")
    return GeneratedImage(
        str(item["url"]),
        size=(int(width or 0), int(height or 0)) if is_known else None,
        revised_prompt=prompt if isinstance(prompt, str) else "",
    )


def _no_images_fault(output: dict[str, Any]) -> Fault:
    if output.get("video") or output.get("videos"):
        return Fault(
            "unknown_model",
            "this model makes video, which is not served here; choose one that makes images",
            param="model",
        )
    return Fault("upstream_broken", "the provider's answer holds no images")


def usage_from_images(images: list[GeneratedImage], request: ImageRequest) -> Usage:
    """What fal bills: each image by its own size, or by the size asked for, in whole megapixels.

    Example: one image of 1024 x 1025 pixels is `Usage(images=1, pixels=2_000_000, requests=1)`.
    """
    sizes = [image.size or request.size or DEFAULT_SIZE for image in images]
    megapixels = sum(-(-width * height // MEGAPIXEL) for width, height in sizes)
    return Usage(images=len(images), pixels=megapixels * BILLED_PIXELS, requests=1)
