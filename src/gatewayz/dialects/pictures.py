"""Pictures: what the bytes of an image say of themselves, from the first of them.

PNG: W3C, 11.2.1; GIF: 89a, 18; WebP: RFC 9649, 2.5 to 2.7; JPEG: ITU T.81, B.2.2.
"""

import struct
from collections.abc import Callable

Size = tuple[int, int]
SOF_MARKERS = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Start of frame; the three left out are tables and reserved."""
RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
"""Proportions that models draw in which take no pixels (ai.google.dev/gemini-api/docs/image-generation, docs.x.ai)."""


def ratio_of(name: str) -> float:
    width, _, height = name.partition(":")
    return int(width) / int(height)


def nearest_ratio(wanted: float) -> str:
    """The proportion that comes nearest to width by height."""
    return min(RATIOS, key=lambda name: abs(ratio_of(name) - wanted))


def kind_of(content: bytes) -> str:
    """The media type by the first bytes; empty for what is no image that providers make."""
    return next((kind for magic, kind, _ in FORMATS if content.startswith(magic)), "")


def size_of(content: bytes) -> Size | None:
    """Width and height in pixels, where the beginning of the image tells."""
    read = next((read for magic, _, read in FORMATS if content.startswith(magic)), None)
    try:
        found = read(content) if read is not None else None
    except (struct.error, IndexError):
        return None
    return found if found is not None and min(found) > 0 else None


def _png(content: bytes) -> Size:
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _gif(content: bytes) -> Size:
    width, height = struct.unpack_from("<HH", content, 6)
    return width, height


def _webp(content: bytes) -> Size | None:
    match content[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(
                content[27:30], "little"
            )
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


FORMATS: tuple[tuple[bytes, str, Callable[[bytes], Size | None]], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png", _png),
    (b"\xff\xd8\xff", "image/jpeg", _jpeg),
    (b"RIFF", "image/webp", _webp),
    (b"GIF8", "image/gif", _gif),
)
