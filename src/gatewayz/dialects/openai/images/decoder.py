"""Images of a provider: a body, or a stream in which each image is announced by partial ones.

The body is also the source that clients of this dialect are sent, with every field that its
provider added; only the form of the images is made the one that the client asked for.
"""

from collections.abc import Generator
from typing import Any

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
)
from gatewayz.core.faults import Fault
from gatewayz.core.requests import ImageRequest
from gatewayz.dialects.kit.base import DecodeOptions, Step, UpstreamAnswer
from gatewayz.dialects.kit.decoder import BaseStreamDecoder
from gatewayz.dialects.kit.images import (
    GeneratedImage,
    data_url,
    frame_from_images,
    inline_images,
)
from gatewayz.dialects.kit.jsontext import encode_json, parse_provider_object
from gatewayz.dialects.kit.refusals import fault_from_error
from gatewayz.dialects.kit.sse import SseEvent
from gatewayz.dialects.openai.images.usage import usage_from_wire
from gatewayz.dialects.openai.images.wire import COMPLETED, NAME, PARTIAL, image_to_wire


def frames_from_body(
    body: bytes, request: ImageRequest, *, echo: bool
) -> Generator[Step, UpstreamAnswer | None, list[Frame]]:
    """The frames of a whole answer.

    Faults: `upstream_broken` for a body that holds no images, `filtered` where all were taken away.
    """
    document = parse_provider_object(body)
    if document.get("error"):
        return [Frame((Failed(fault_from_error(NAME, document["error"], body)),))]

    data = document.get("data")
    items = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    # xAI marks what its moderation took away, and leaves the item in its place
    # (docs.x.ai, image generation).
    visible = [item for item in items if item.get("respect_moderation") is not False]
    if items and not visible:
        raise Fault("filtered", "The provider filtered the content")
    generated = [_image_from_item(item) for item in visible]
    if not generated or any(not image.url for image in generated):
        raise Fault("upstream_broken", "The provider's answer holds no images.")

    images = yield from inline_images(generated, request)
    usage = usage_from_wire(document.get("usage"), images, request.size)
    source = _client_source(document, visible, images, request.output_encoding) if echo else None
    return [frame_from_images(images, usage, source)]


def _image_from_item(item: dict[str, Any]) -> GeneratedImage:
    text, url = item.get("b64_json"), item.get("url")
    if isinstance(text, str) and text:
        url = text if text.startswith("data:") else data_url(text)
    revised = item.get("revised_prompt")
    return GeneratedImage(
        url if isinstance(url, str) else "",
        revised_prompt=revised if isinstance(revised, str) else "",
    )


def _client_source(
    document: dict[str, Any],
    items: list[dict[str, Any]],
    images: list[GeneratedImage],
    encoding: str,
) -> bytes:
    data = [_item_to_wire(item, image, encoding) for item, image in zip(items, images, strict=True)]
    return encode_json({**document, "data": data})


def _item_to_wire(item: dict[str, Any], image: GeneratedImage, encoding: str) -> dict[str, Any]:
    """The provider's item with the image in the client's form."""
    others = {name: value for name, value in item.items() if name not in {"url", "b64_json"}}
    return {**image_to_wire(image.url, encoding), **others}


class ImagesStreamDecoder(BaseStreamDecoder):
    """Server-sent images in, frames out, up to as many images as were asked for."""

    def __init__(self, options: DecodeOptions) -> None:
        super().__init__()
        self._options = options
        self._images: list[GeneratedImage] = []
        self._open = False
        self._started = False
        self._usage: Any = None

    def _frames(self, events: list[SseEvent], *, last: bool = False) -> list[Frame]:
        frames: list[Frame] = []
        for event in events:
            if self._finished:
                break
            try:
                frames += self._frames_from_event(event)
            except Fault as fault:
                # The last event of a connection that broke is half an event.
                frames += self._end_of_input() if last else self._fail(fault)
        return frames

    def _end_of_input(self) -> list[Frame]:
        kind = "upstream_cut" if self._started else "upstream_broken"
        return self._fail(Fault(kind, "The provider's stream ended before every image was there."))

    def _frames_from_event(self, event: SseEvent) -> list[Frame]:
        document = parse_provider_object(event.data)
        kind = document.get("type") or event.event
        if document.get("error") or kind == "error":
            return self._fail(fault_from_error(NAME, document.get("error") or document, event.data))
        if kind not in {PARTIAL, COMPLETED} or not isinstance(document.get("b64_json"), str):
            return []

        events: list[Event] = [] if self._started else [Started()]
        self._started = True
        if not self._open:
            self._open = True
            events.append(BlockStarted(len(self._images), Kind.IMAGE))
        source = encode_json(document) if event.multiline else event.data
        if kind == COMPLETED:
            return self._complete_image(document, events, source)
        return [Frame(tuple(events), self._echo_source(source))]

    def _complete_image(
        self, document: dict[str, Any], events: list[Event], source: bytes
    ) -> list[Frame]:
        image = GeneratedImage(data_url(document["b64_json"]))
        block, self._open = len(self._images), False
        self._images.append(image)
        self._usage = document.get("usage") or self._usage
        # A client that leaves now pays for what it has got.
        usage = usage_from_wire(self._usage, self._images, None)
        events += [BlockDelta(block, image.url), BlockEnded(block), usage]
        frames = [Frame(tuple(events), self._echo_source(source))]
        if len(self._images) < self._options.choices:
            return frames
        self._finished = True
        return [*frames, Frame((ChoiceEnded(0, Stop.END),)), FINISHED]

    def _echo_source(self, source: bytes) -> bytes | None:
        return source if self._options.echo else None
