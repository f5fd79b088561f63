"""Gemini's models that draw, asked for images alone.

An answer holds one image, so several are several requests, one after another; what was made is kept
when a later one fails, because it is paid for. Source:
ai.google.dev/gemini-api/docs/image-generation.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from gatewayz.core.events import BlockDelta, ChoiceEnded, Event, Failed, Stop, UsageReported
from gatewayz.core.faults import Fault, UpstreamError
from gatewayz.core.requests import ImageRequest, Surface
from gatewayz.core.usage import BUCKETS, Usage
from gatewayz.dialects.gemini.decoder import GeminiBodyDecoder
from gatewayz.dialects.gemini.errors import upstream_error_from_response
from gatewayz.dialects.gemini.models import family_of
from gatewayz.dialects.gemini.wire import fold_seed
from gatewayz.dialects.kit.base import HTTP_OK, DecodeOptions, Draft, EncodeTarget, Send, Steps
from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.kit.image_header import aspect_ratio, nearest_aspect_ratio
from gatewayz.dialects.kit.images import GeneratedImage, frame_from_images, usage_from_images
from gatewayz.dialects.kit.whole_answers import WholeAnswers

NAME = "gemini_images"
UNSUPPORTED_FIELDS = ("quality", "style", "user")
IMAGE_SIZES = ((1_600, "1K"), (3_200, "2K"), (10_000, "4K"))
"""Longest side of the size asked for, in pixels → `imageSize`, for models that have a choice."""
MAX_RATIO_ERROR = 0.1
"""A ratio that is off by more is not the size that was asked for."""


class GeminiImagesUpstream(WholeAnswers):
    """The side that talks to Google for images."""

    name = NAME
    serves: frozenset[Surface] = frozenset({"image"})

    def encode(self, request: ImageRequest, target: EncodeTarget) -> Draft:
        return request_to_wire(request, target, 0)

    def steps(self, request: ImageRequest, target: EncodeTarget) -> Steps:
        images: list[GeneratedImage] = []
        usage = Usage()
        for number in range(request.n):
            answer = yield Send(request_to_wire(request, target, number), read_whole=True)
            if answer is None or answer.status != HTTP_OK:
                break
            try:
                image, reported = _image_from_body(answer.body, target.provider)
            except Fault:
                if not images:
                    raise
                break
            images.append(image)
            usage = _add_usage(usage, reported)

        if images:
            count = usage_from_images(images, request.size)
            usage = replace(usage, images=count.images, pixels=count.pixels, requests=1)
            yield [frame_from_images(images, UsageReported(usage))]

    def error_from_response(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamError:
        return upstream_error_from_response(status, body)


def request_to_wire(request: ImageRequest, target: EncodeTarget, number: int) -> Draft:
    """The request for image `number`. Pixels are said as a ratio and a size.

    A seed is counted up, because equal seeds would draw the same image.
    """
    dropped = Dropped()
    dropped.add(*(field for field in UNSUPPORTED_FIELDS if getattr(request, field)))
    if request.negative:
        dropped.add("negative_prompt")

    config: dict[str, Any] = {"responseModalities": ["IMAGE"]}
    if request.size is not None:
        width, height = request.size
        ratio = nearest_aspect_ratio(width / height)
        config["imageConfig"] = {"aspectRatio": ratio}
        # Only the third generation has sizes to choose from, and signs what it draws.
        if family_of(target.upstream_id).demands_signatures:
            config["imageConfig"]["imageSize"] = _image_size(max(width, height))
        if abs(aspect_ratio(ratio) - width / height) > MAX_RATIO_ERROR:
            dropped.add("size")
    if request.seed is not None:
        config["seed"] = fold_seed(request.seed + number)
    # What the request says itself counts, because that is what is paid for.
    config = {**request.options_for(target.provider), **config}

    body = {
        "contents": [{"role": "user", "parts": [{"text": request.prompt}]}],
        "generationConfig": config,
    }
    dropped.add(*request.extra)
    return Draft(f"/models/{target.upstream_id}:generateContent", body, dropped=dropped.names())


def _image_size(longest_side: int) -> str:
    return next(word for side, word in IMAGE_SIZES if longest_side <= side)


def _image_from_body(body: bytes, provider: str) -> tuple[GeneratedImage, Usage]:
    """The image of an answer, and what it reports.

    Faults: `filtered` or `upstream_error` for an answer without an image, and those of a chat.
    """
    decoder = GeminiBodyDecoder(DecodeOptions(provider=provider, echo=False))
    frames = decoder.feed(body) + decoder.close()
    events = [event for frame in frames for event in frame.events]
    usage = Usage()
    for event in events:
        if isinstance(event, Failed):
            raise event.fault
        if isinstance(event, UsageReported):
            usage = event.usage

    url = next((url for event in events for url in _image_urls(event)), "")
    if not url:
        stops = [event.stop for event in events if isinstance(event, ChoiceEnded)]
        kind = "filtered" if Stop.FILTER in stops else "upstream_error"
        raise Fault(kind, "the provider's answer holds no image")
    return GeneratedImage(url), usage


def _image_urls(event: Event) -> list[str]:
    if not isinstance(event, BlockDelta) or not event.extra:
        return []
    return [item["image_url"]["url"] for item in event.extra.get("images", [])]


def _add_usage(left: Usage, right: Usage) -> Usage:
    counts = {bucket: getattr(left, bucket) + getattr(right, bucket) for bucket in BUCKETS}
    return Usage(**counts, repaired=left.repaired or right.repaired)
