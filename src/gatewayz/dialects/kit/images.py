"""Images that a provider made: a block each, counted, as bytes or by URL as the client wants."""

import base64
import binascii
from collections.abc import Generator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.estimates import DEFAULT_SIZE
from gatewayz.core.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Finished,
    Frame,
    Kind,
    Started,
    Stop,
    UsageReported,
)
from gatewayz.core.faults import Fault
from gatewayz.core.requests import ImageRequest
from gatewayz.core.usage import Usage
from gatewayz.dialects.kit.base import Step, UpstreamAnswer
from gatewayz.dialects.kit.files import fetch_file
from gatewayz.dialects.kit.image_header import Size, image_media_type, image_size

HEAD_CHARACTERS = 2**16
"""As much of an image's base64 as is decoded for its size; a multiple of four."""
DEFAULT_MEDIA_TYPE = "image/png"


class GeneratedImage(Struct, frozen=True):
    """One image: a URL of the web, or a data URL. `size` in pixels, where the provider tells.

    `revised_prompt` is what the provider made of the client's. Example:
    `GeneratedImage("data:image/png;base64,iVBOR…", (1024, 1024))`.
    """

    url: str
    size: Size | None = None
    revised_prompt: str = ""


def data_url(text: str, media_type: str | None = None) -> str:
    """A data URL for base64 text; without a media type it is read from the first bytes.

    Example: `data_url("iVBORw0KGgo")` is `data:image/png;base64,iVBORw0KGgo`.
    """
    if media_type is None:
        media_type = image_media_type(_decode_head(text)) or DEFAULT_MEDIA_TYPE
    return f"data:{media_type};base64,{text}"


def base64_of(url: str) -> str:
    """The base64 text of a data URL; empty for any other URL."""
    return url.partition(",")[2] if url.startswith("data:") else ""


def inline_images(
    images: Sequence[GeneratedImage], request: ImageRequest
) -> Generator[Step, UpstreamAnswer | None, list[GeneratedImage]]:
    """The images as the client wants them: where it wants bytes, those named by URL are fetched.

    Faults: `upstream_broken` for a URL that cannot be fetched, or holds no image.
    """
    if request.output_encoding != "bytes":
        return list(images)
    inlined: list[GeneratedImage] = []
    for image in images:
        has_bytes = image.url.startswith("data:")
        with_bytes = image if has_bytes else (yield from _fetch_image(image))
        inlined.append(with_bytes)
    return inlined


def _fetch_image(
    image: GeneratedImage,
) -> Generator[Step, UpstreamAnswer | None, GeneratedImage]:
    file = yield from fetch_file(image.url)
    kind = image_media_type(file.content)
    if not kind:
        described = file.media_type or "no content type"
        raise Fault(
            "upstream_broken", f"The provider named a file that is not an image ({described})."
        )
    text = base64.b64encode(file.content).decode()
    return replace(image, url=data_url(text, kind), size=image_size(file.content) or image.size)


def usage_from_images(images: Sequence[GeneratedImage], requested_size: Size | None) -> Usage:
    """How many images these are, and of how many pixels: as they tell, else as requested."""
    pixels = 0
    for image in images:
        size = image.size or image_size(_decode_head(base64_of(image.url)))
        width, height = size or requested_size or DEFAULT_SIZE
        pixels += width * height
    return Usage(images=len(images), pixels=pixels, requests=1)


def events_from_image(image: GeneratedImage, block: int) -> tuple[Event, ...]:
    """The events of one image."""
    extra = {"revised_prompt": image.revised_prompt} if image.revised_prompt else None
    return (BlockStarted(block, Kind.IMAGE), BlockDelta(block, image.url, extra), BlockEnded(block))


def frame_from_images(
    images: Sequence[GeneratedImage], usage: UsageReported, source: bytes | None = None
) -> Frame:
    """A whole answer."""
    blocks = [
        event for number, image in enumerate(images) for event in events_from_image(image, number)
    ]
    ends = (ChoiceEnded(0, Stop.END), usage, Finished())
    return Frame((Started(), *blocks, *ends), source, whole=True)


def _decode_head(text: str) -> bytes:
    try:
        return base64.b64decode(text[:HEAD_CHARACTERS])
    except binascii.Error:
        return b""
