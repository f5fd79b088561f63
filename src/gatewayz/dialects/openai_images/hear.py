"""Hearing images: a body, or a stream in which each image is announced by partial ones.

The body is also the source that clients of this dialect are sent, with every field that its provider added; only the
form of the images is made the one that the client asked for.
"""

from collections.abc import Callable, Generator
from typing import Any

import msgspec

from gatewayz.core.events import (
    FINISHED,
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Failed,
    Frame,
    Kind,
    Started,
    Stop,
    UsageReported,
)
from gatewayz.core.faults import Fault
from gatewayz.core.requests import ImageRequest
from gatewayz.core.usage import MAX_UNITS, Usage
from gatewayz.dialects.base import Answer, Reading, Step
from gatewayz.dialects.images import Made, base64_of, counted, data_url, in_form, whole_frame
from gatewayz.dialects.jsontext import decoded, encoded
from gatewayz.dialects.openai_images.request import NAME
from gatewayz.dialects.pictures import Size
from gatewayz.dialects.refusals import words_in_answer
from gatewayz.dialects.sse import Sse, SseParser

PARTIAL, COMPLETED = "image_generation.partial_image", "image_generation.completed"


def frames_from(
    body: bytes, request: ImageRequest, *, echo: bool
) -> Generator[Step, Answer | None, list[Frame]]:
    """A whole answer. Faults: `upstream_broken` for a body that holds no images."""
    document = _object(body)
    if document.get("error"):
        return [Frame((Failed(_fault(document["error"], body)),))]
    items = document.get("data")
    listed = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    # xAI marks what its moderation took away, and leaves the item in its place (docs.x.ai, image generation).
    shown = [item for item in listed if item.get("respect_moderation") is not False]
    if listed and not shown:
        raise Fault("filtered", "The provider filtered the content")
    made = [_made(item) for item in shown]
    if not made or any(not image.url for image in made):
        raise Fault("upstream_broken", "The provider's answer holds no images.")
    images = yield from in_form(made, request)
    usage = usage_from(document.get("usage"), images, request.size)
    source = _source(document, shown, images, request.form) if echo else None
    return [whole_frame(images, usage, source)]


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = decoded(body.strip())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Fault("upstream_broken", "The provider's answer is no JSON object.")
    return document


def _fault(error: Any, body: bytes) -> Fault:
    words = words_in_answer(NAME, error, body)
    return Fault(
        "upstream_error",
        words.message or "the provider reported an error in its answer",
        upstream=words,
    )


def _made(item: dict[str, Any]) -> Made:
    text, url = item.get("b64_json"), item.get("url")
    address = (
        (data_url(text) if not text.startswith("data:") else text)
        if isinstance(text, str) and text
        else url
    )
    revised = item.get("revised_prompt")
    return Made(
        address if isinstance(address, str) else "",
        revised=revised if isinstance(revised, str) else "",
    )


def _source(
    document: dict[str, Any], items: list[dict[str, Any]], images: list[Made], form: str
) -> bytes:
    data = [_item(item, image, form) for item, image in zip(items, images, strict=True)]
    return encoded({**document, "data": data})


def _item(item: dict[str, Any], image: Made, form: str) -> dict[str, Any]:
    """The provider's item with the image in the client's form; a data URL is an address too."""
    kept = {name: value for name, value in item.items() if name not in {"url", "b64_json"}}
    return {**image_to_wire(image.url, form), **kept}


def image_to_wire(url: str, form: str) -> dict[str, Any]:
    """An image under the name of the form in which the client gets it."""
    text = base64_of(url)
    return {"b64_json": text} if text and form != "url" else {"url": url}


def usage_from(report: Any, images: list[Made], asked: Size | None) -> UsageReported:
    """Images and pixels as they are, and tokens where the provider counts them (gpt-image)."""
    count = counted(images, asked)
    if not isinstance(report, dict) or report.get("input_tokens") is None:
        return UsageReported(count)
    inside = report.get("input_tokens_details")
    prompt, output = _count(report.get("input_tokens")), _count(report.get("output_tokens"))
    seen = min(_count(inside.get("image_tokens")), prompt) if isinstance(inside, dict) else 0
    tokens = Usage(input=prompt - seen, image_input=seen, image_output=output)
    return UsageReported(
        msgspec.structs.replace(tokens, images=count.images, pixels=count.pixels, requests=1)
    )


def _count(value: Any) -> int:
    return min(max(value, 0), MAX_UNITS) if isinstance(value, int) else 0


class StreamDecoder:
    """Server-sent images in, frames out. An answer is complete when as many images are as were asked for."""

    def __init__(self, reading: Reading) -> None:
        self._sse = SseParser()
        self._reading = reading
        self._images: list[Made] = []
        self._open = False
        self._begun = False
        self._over = False
        self._usage: Any = None

    def feed(self, chunk: bytes) -> list[Frame]:
        return self._read(lambda: self._sse.feed(chunk))

    def close(self) -> list[Frame]:
        kind = "upstream_cut" if self._begun else "upstream_broken"
        early = Fault(kind, "The provider's stream ended before every image was there.")
        # The last event of a connection that broke is half an event.
        frames = self._read(self._sse.close, early)
        return frames if self._over else [*frames, *self._fail(early)]

    def _read(self, read: Callable[[], list[Sse]], instead: Fault | None = None) -> list[Frame]:
        frames: list[Frame] = []
        try:
            for event in read() if not self._over else ():
                frames += self._heard(event)
                if self._over:
                    break
        except Fault as fault:
            frames += self._fail(instead or fault)
        return frames

    def _fail(self, fault: Fault) -> list[Frame]:
        self._over = True
        return [Frame((Failed(fault),))]

    def _heard(self, event: Sse) -> list[Frame]:
        document = _object(event.data)
        kind = document.get("type") or event.event
        if document.get("error") or kind == "error":
            return self._fail(_fault(document.get("error") or document, event.data))
        if kind not in {PARTIAL, COMPLETED} or not isinstance(document.get("b64_json"), str):
            return []
        events: list[Event] = [] if self._begun else [Started()]
        self._begun = True
        block = len(self._images)
        if not self._open:
            self._open = True
            events.append(BlockStarted(block, Kind.IMAGE))
        source = encoded(document) if event.joined else event.data
        if kind == COMPLETED:
            return self._completed(document, events, source)
        return [Frame(tuple(events), self._echoed(source))]

    def _completed(
        self, document: dict[str, Any], events: list[Event], source: bytes
    ) -> list[Frame]:
        image = Made(data_url(document["b64_json"]))
        block, self._open = len(self._images), False
        self._images.append(image)
        self._usage = document.get("usage") or self._usage
        # What a client that leaves has got by then is paid.
        events += [
            BlockDelta(block, image.url),
            BlockEnded(block),
            usage_from(self._usage, self._images, None),
        ]
        frames = [Frame(tuple(events), self._echoed(source))]
        if len(self._images) < self._reading.choices:
            return frames
        self._over = True
        return [*frames, Frame((ChoiceEnded(0, Stop.END),)), FINISHED]

    def _echoed(self, source: bytes) -> bytes | None:
        return source if self._reading.echo else None
