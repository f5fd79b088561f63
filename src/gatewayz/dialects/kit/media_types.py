"""Media types: read from the first bytes, because labels are wrong; and which of them a dialect
takes.

Sources: platform.claude.com/docs/en/build-with-claude/vision and …/pdf-support;
ai.google.dev/gemini-api/docs/image-understanding.
"""

import base64
import binascii
import re

HEAD_CHARACTERS = 32
"""Base64 characters that tell what a file is: 24 bytes."""
DATA_URL = re.compile(r"data:([^;,]*)((?:;[\w=.+-]+)*);base64,", re.ASCII | re.IGNORECASE)
SYNONYMS = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/jfif": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "application/x-pdf": "application/pdf",
}
UNKNOWN_TYPES = frozenset({"", "application/octet-stream", "binary/octet-stream", "image/*"})
"""Labels that say nothing: only the bytes do."""
MAGIC: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"....ftyp(heic|heix|hevc|hevx)", re.DOTALL), "image/heic"),
    (re.compile(rb"....ftyp(mif1|msf1)", re.DOTALL), "image/heif"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb"II\*\x00|MM\x00\*"), "image/tiff"),
    (re.compile(rb"BM....\x00\x00\x00\x00", re.DOTALL), "image/bmp"),
    (re.compile(rb"%PDF-"), "application/pdf"),
)
"""How files begin → what they are."""

IMAGE_TYPES: dict[str, frozenset[str]] = {
    "anthropic_messages": frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"}),
    "gemini": frozenset({"image/jpeg", "image/png", "image/webp", "image/heic", "image/heif"}),
}
"""Dialect → the images that it takes by bytes; of the others it depends on the model."""
TEXT_TYPE = re.compile(r"text/|application/(json|xml|x-yaml|yaml|javascript|x-sh|sql)$")
"""What is text, by whatever name."""
FILE_TYPES: dict[str, re.Pattern[str]] = {
    "anthropic_messages": re.compile(rf"application/pdf$|{TEXT_TYPE.pattern}"),
}
"""Dialect → the files that it takes; text of any kind goes as text."""
FILE_URL_SCHEMES: dict[str, tuple[str, ...]] = {"gemini": ("https://", "http://", "gs://")}
"""Dialect → how ids of files begin that are addresses, and can be read by whoever has them."""


def media_type_from_bytes(data: str) -> str:
    """What the beginning of base64 text is; empty for what is not known here."""
    head = data[:HEAD_CHARACTERS]
    try:
        content = base64.b64decode(head[: len(head) // 4 * 4])
    except (binascii.Error, ValueError):
        return ""
    return next((kind for magic, kind in MAGIC if magic.match(content)), "")


def split_data_url(url: str) -> tuple[str, str] | None:
    """The media type of a data URL, by its bytes where they tell, and its base64 text.

    Example: `data:image/jpg;base64,/9j/4AAQ` → `("image/jpeg", "/9j/4AAQ")`.
    """
    head = DATA_URL.match(url)
    if head is None:
        return None
    label, data = head[1].strip().lower(), url[head.end() :]
    label = SYNONYMS.get(label, label)
    kind = media_type_from_bytes(data)
    if kind and (label in UNKNOWN_TYPES or label.partition("/")[0] == kind.partition("/")[0]):
        return kind, data
    return ("" if label in UNKNOWN_TYPES else label), data


def image_media_type_of(url: str) -> str:
    """The media type of an image that comes as bytes; empty for an address."""
    parts = split_data_url(url)
    return parts[0] if parts is not None else ""


def file_media_type(content: str, name: str) -> str:
    """The media type of a file that comes as bytes; empty for an address, and where nothing tells."""
    parts = split_data_url(content)
    if parts is not None and parts[0]:
        return parts[0]
    kind = "" if content.startswith(("http://", "https://")) else media_type_from_bytes(content)
    return kind or ("application/pdf" if name.lower().endswith(".pdf") else "")
