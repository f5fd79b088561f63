"""Gemini's models that draw, asked for images alone (ai.google.dev/gemini-api/docs/image-generation).

An answer holds one image, so several are several requests, one after another; what was made is kept when a later one
fails, because it is paid for.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from gatewayz.core.events import BlockDelta, ChoiceEnded, Event, Failed, Stop, UsageReported
from gatewayz.core.faults import Fault, UpstreamWords
from gatewayz.core.requests import Capability, ImageRequest, Surface
from gatewayz.core.usage import BUCKETS, Usage
from gatewayz.dialects.base import Answer, Asking, Decoder, Draft, Reading, Send, Steps
from gatewayz.dialects.gemini.decoders import BodyDecoder
from gatewayz.dialects.gemini.errors import words_from
from gatewayz.dialects.gemini.models import family_of
from gatewayz.dialects.images import Made, counted, whole_frame
from gatewayz.dialects.pictures import nearest_ratio, ratio_of

NAME = "gemini_images"
SIDES = ((1_600, "1K"), (3_200, "2K"), (10_000, "4K"))
"""Longest side of the size asked for → `imageSize`, for models that have a choice."""
SEED_BITS = 31


class GeminiImagesUpstream:
    """The side that talks to Google for images."""

    name = NAME
    serves: frozenset[Surface] = frozenset({"image"})
    lacks: frozenset[Capability] = frozenset()

    def encode(self, request: ImageRequest, asking: Asking) -> Draft:
        return request_to_wire(request, asking, 0)

    def steps(self, request: ImageRequest, asking: Asking) -> Steps:
        made: list[Made] = []
        usage = Usage()
        for number in range(request.n):
            answer = yield Send(request_to_wire(request, asking, number), whole=True)
            if answer is None or answer.status != 200:
                break
            try:
                image, told = _heard(answer, asking)
            except Fault:
                if not made:
                    raise
                break
            made.append(image)
            usage = _sum(usage, told)
        if made:
            count = counted(made, request.size)
            yield [
                whole_frame(
                    made,
                    UsageReported(
                        replace(usage, images=count.images, pixels=count.pixels, requests=1)
                    ),
                )
            ]

    def decoder(self, content_type: str, reading: Reading) -> Decoder:
        raise Fault("internal", "Images from Gemini come whole.")

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamWords:
        return words_from(status, body)


def request_to_wire(request: ImageRequest, asking: Asking, number: int) -> Draft:
    """The request for one of the images. Pixels are said as a ratio and a size; equal seeds would draw the same."""
    config: dict[str, Any] = {"responseModalities": ["IMAGE"]}
    lost = {name: bool(getattr(request, name)) for name in ("quality", "style", "user")}
    lost["negative_prompt"] = bool(request.negative)
    if request.size is not None:
        width, height = request.size
        ratio = nearest_ratio(width / height)
        config["imageConfig"] = {"aspectRatio": ratio}
        # Only the third generation has sizes to choose from, and signs what it draws.
        if family_of(asking.upstream_id).demands_signatures:
            longest = max(width, height)
            config["imageConfig"]["imageSize"] = next(
                word for side, word in SIDES if longest <= side
            )
        lost["size"] = abs(ratio_of(ratio) - width / height) > 0.1
    if request.seed is not None:
        config["seed"] = (request.seed + number) & (1 << SEED_BITS) - 1
    config |= request.options_for(asking.provider)
    body = {
        "contents": [{"role": "user", "parts": [{"text": request.prompt}]}],
        "generationConfig": config,
    }
    dropped = (*(name for name, gone in lost.items() if gone), *request.extra)
    return Draft(f"/models/{asking.upstream_id}:generateContent", body, dropped=dropped)


def _heard(answer: Answer, asking: Asking) -> tuple[Made, Usage]:
    """The image of an answer. Faults: `filtered`, `upstream_error` for an answer without one."""
    decoder = BodyDecoder(Reading(provider=asking.provider, echo=False))
    frames = decoder.feed(answer.body) + decoder.close()
    events = [event for frame in frames for event in frame.events]
    for event in events:
        if isinstance(event, Failed):
            raise event.fault
    image = next((url for event in events for url in _drawn(event)), "")
    if not image:
        filtered = any(
            isinstance(event, ChoiceEnded) and event.stop is Stop.FILTER for event in events
        )
        raise Fault("filtered" if filtered else "upstream_error", "The provider made no image.")
    return Made(image), next(
        (event.usage for event in reversed(events) if isinstance(event, UsageReported)), Usage()
    )


def _drawn(event: Event) -> list[str]:
    found = event.extra.get("images", []) if isinstance(event, BlockDelta) and event.extra else []
    return [item["image_url"]["url"] for item in found]


def _sum(left: Usage, right: Usage) -> Usage:
    counts = {bucket: getattr(left, bucket) + getattr(right, bucket) for bucket in BUCKETS}
    return Usage(**counts, repaired=left.repaired or right.repaired)
