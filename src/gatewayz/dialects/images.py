"""Images that a provider made, as every dialect hands them on: one block each, counted, with bytes where asked for."""

import base64
import binascii
from collections.abc import Generator, Sequence

from msgspec import Struct
from msgspec.structs import replace

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
from gatewayz.core.requests import DEFAULT_SIZE, ImageRequest
from gatewayz.core.usage import Usage
from gatewayz.dialects.base import Answer, Step
from gatewayz.dialects.files import fetched
from gatewayz.dialects.pictures import Size, kind_of, size_of

HEAD_CHARACTERS = 2**16
"""As much of an image's base64 as is read for its size; a multiple of four."""
UNNAMED = "image/png"


class Made(Struct, frozen=True):
    """One image: a web address, or a data URL. `size` in pixels where the provider tells; `revised` its prompt."""

    url: str
    size: Size | None = None
    revised: str = ""


def data_url(text: str) -> str:
    """A data URL for base64 text, its media type read from the first bytes."""
    return f"data:{kind_of(_head(text)) or UNNAMED};base64,{text}"


def base64_of(url: str) -> str:
    """The base64 text of a data URL; empty for any other address."""
    return url.partition(",")[2] if url.startswith("data:") else ""


def in_form(
    images: Sequence[Made], request: ImageRequest
) -> Generator[Step, Answer | None, list[Made]]:
    """The images as the client wants them: those that came as addresses are fetched where it wants bytes."""
    if request.form != "bytes":
        return list(images)
    found = []
    for image in images:
        if image.url.startswith("data:"):
            found.append(image)
            continue
        file = yield from fetched(image.url)
        kind = kind_of(file.content)
        if not kind:
            raise Fault(
                "upstream_broken",
                f"The provider named an image that is none ({file.kind or 'no type'}).",
            )
        text = base64.b64encode(file.content).decode()
        found.append(
            replace(
                image, url=f"data:{kind};base64,{text}", size=size_of(file.content) or image.size
            )
        )
    return found


def counted(images: Sequence[Made], asked: Size | None) -> Usage:
    """How many images these are, and how many pixels: by what they say, or by the size that was asked for."""
    pixels = 0
    for image in images:
        width, height = image.size or size_of(_head(base64_of(image.url))) or asked or DEFAULT_SIZE
        pixels += width * height
    return Usage(images=len(images), pixels=pixels, requests=1)


def blocks_of(image: Made, block: int) -> tuple[Event, ...]:
    """The events of one image."""
    extra = {"revised_prompt": image.revised} if image.revised else None
    return (BlockStarted(block, Kind.IMAGE), BlockDelta(block, image.url, extra), BlockEnded(block))


def whole_frame(images: Sequence[Made], usage: UsageReported, source: bytes | None = None) -> Frame:
    """A whole answer."""
    blocks = [event for number, image in enumerate(images) for event in blocks_of(image, number)]
    ends = (ChoiceEnded(0, Stop.END), usage, Finished())
    return Frame((Started(), *blocks, *ends), source, whole=True)


def _head(text: str) -> bytes:
    try:
        return base64.b64decode(text[:HEAD_CHARACTERS])
    except binascii.Error:
        return b""
