"""What the first bytes of an image tell: its media type, and its size.

PNG: W3C, 11.2.1; GIF: 89a, 18; WebP: RFC 9649, 2.5 to 2.7; JPEG: ITU T.81, B.2.2.
"""

import struct
from collections.abc import Callable

Size = tuple[int, int]
SOF_MARKERS = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Start of frame; the three left out are tables and reserved."""
ASPECT_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
"""Proportions of models that take no size in pixels
(ai.google.dev/gemini-api/docs/image-generation, docs.x.ai)."""


def aspect_ratio(name: str) -> float:
    """Width by height: `16:9` → 1.78."""
    width, _, height = name.partition(":")
    return int(width) / int(height)


def nearest_aspect_ratio(ratio: float) -> str:
    """The proportion that comes nearest to this width by height."""
    return min(ASPECT_RATIOS, key=lambda name: abs(aspect_ratio(name) - ratio))


def image_media_type(content: bytes) -> str:
    """The media type; empty for what is no image of a kind that providers make."""
    return next((kind for magic, kind, _ in IMAGE_FORMATS if content.startswith(magic)), "")


def image_size(content: bytes) -> Size | None:
    """Width and height in pixels, where the beginning of the image tells."""
    read = next((read for magic, _, read in IMAGE_FORMATS if content.startswith(magic)), None)
    try:
        size = read(content) if read is not None else None
    except (struct.error, IndexError):
        return None
    return size if size is not None and min(size) > 0 else None


def _png(content: bytes) -> Size:
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _gif(content: bytes) -> Size:
    width, height = struct.unpack_from("<HH", content, 6)
    return width, height


def _webp(content: bytes) -> Size | None:
    match content[12:16]:
        case b"VP8X":
            width = 1 + int.from_bytes(content[24:27], "little")
            height = 1 + int.from_bytes(content[27:30], "little")
            return width, height
        case b"VP8L":
            bits = int.from_bytes(content[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", content, 26)
            return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg(content: bytes) -> Size | None:
    at = 2
    while content[at] == 0xFF:
        marker = content[at + 1]
        if marker in SOF_MARKERS:
            height, width = struct.unpack_from(">HH", content, at + 5)
            return width, height
        at += 2 + struct.unpack_from(">H", content, at + 2)[0]
    return None


IMAGE_FORMATS: tuple[tuple[bytes, str, Callable[[bytes], Size | None]], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png", _png),
    (b"\xff\xd8\xff", "image/jpeg", _jpeg),
    (b"RIFF", "image/webp", _webp),
    (b"GIF8", "image/gif", _gif),
)
