"""The upstream role of fal.ai: through the queue, or directly for models that answer at once."""

from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec
from msgspec.structs import replace

from gatewayz.core.events import UsageReported
from gatewayz.core.faults import Fault, UpstreamWords
from gatewayz.core.requests import DEFAULT_SIZE, Capability, ImageRequest, Surface
from gatewayz.core.usage import Usage
from gatewayz.dialects.base import Asking, Decoder, Draft, Reading, Send, Steps
from gatewayz.dialects.fal_images.queue import queued
from gatewayz.dialects.fal_images.request import NAME, request_to_wire
from gatewayz.dialects.images import Made, in_form, whole_frame
from gatewayz.dialects.jsontext import decoded
from gatewayz.dialects.refusals import words_from

MEGAPIXEL = 1024 * 1024
"""fal counts 1024 x 1024 as one megapixel and rounds up to whole ones (fal.ai/models/fal-ai/flux/dev, pricing)."""


class FalImagesUpstream:
    """The side that talks to fal."""

    name = NAME
    serves: frozenset[Surface] = frozenset({"image"})
    lacks: frozenset[Capability] = frozenset()

    def encode(self, request: ImageRequest, asking: Asking) -> Draft:
        return request_to_wire(request, asking)

    def steps(self, request: ImageRequest, asking: Asking) -> Steps:
        draft = self.encode(request, asking)
        directly = Send(draft, whole=True)
        answer = (
            (yield from queued(draft, asking.queue_url)) if asking.queue_url else (yield directly)
        )
        if answer is None or answer.status != 200:
            return
        made = _made(answer.body)
        images = yield from in_form(made, request)
        yield [whole_frame(images, UsageReported(_billed(made, request)))]

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        raise Fault("internal", "Images from fal come whole.")

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        """`X-Fal-Error-Type` names what the body of a refused request does not (docs.fal.ai/errors)."""
        words = words_from(NAME, status, body, headers)
        named = headers.get("x-fal-error-type", "")
        return replace(words, code=named) if named and not words.code else words


def _made(body: bytes) -> list[Made]:
    """The images of a model's output. Faults: `filtered` when all are blackened, `upstream_broken` for none."""
    try:
        output = decoded(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        output = None
    if not isinstance(output, dict):
        raise Fault("upstream_broken", "The provider's answer is no JSON object.")
    items = (
        output.get("images") if isinstance(output.get("images"), list) else [output.get("image")]
    )
    images = [
        _image(item, output) for item in items or () if isinstance(item, dict) and item.get("url")
    ]
    if not images:
        _nothing(output)
    flagged = output.get("has_nsfw_concepts") or output.get("nsfw_content_detected")
    if isinstance(flagged, list) and flagged and all(flag is True for flag in flagged):
        raise Fault("filtered", "fal filtered the content")
    return images


def _image(item: dict[str, Any], output: dict[str, Any]) -> Made:
    width, height = item.get("width"), item.get("height")
    known = isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0
    revised = output.get("prompt")
    return Made(
        str(item["url"]),
        (int(width or 0), int(height or 0)) if known else None,
        revised if isinstance(revised, str) else "",
    )


def _nothing(output: dict[str, Any]) -> NoReturn:
    if output.get("video") or output.get("videos"):
        raise Fault(
            "unknown_model",
            "This model makes video, which is not served here; images are.",
            param="model",
        )
    raise Fault("upstream_broken", "The provider's answer holds no images.")


def _billed(images: list[Made], request: ImageRequest) -> Usage:
    sizes = [image.size or request.size or DEFAULT_SIZE for image in images]
    megapixels = sum(-(-width * height // MEGAPIXEL) for width, height in sizes)
    return Usage(images=len(images), pixels=megapixels * MEGAPIXEL, requests=1)
