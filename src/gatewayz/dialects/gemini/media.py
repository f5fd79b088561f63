"""Images, sound and documents as parts: bytes as `inlineData`, addresses as `fileData`."""

import mimetypes
from typing import Any

from gatewayz.core.conversation import Audio, File, Image

Wire = dict[str, Any]
IMAGE, DOCUMENT = "image/jpeg", "application/pdf"
"""What an address that does not tell is taken for: Vertex wants a type beside each."""
SOUNDS = {"mp3": "audio/mpeg", "pcm16": "audio/pcm"}
"""Formats whose type is not `audio/` and their name."""
FILE_ADDRESSES = ("https://", "http://", "gs://")


def image_to_wire(image: Image) -> Wire:
    return _inline(image.url) or _address(image.url, IMAGE)


def audio_to_wire(audio: Audio) -> Wire:
    mime = SOUNDS.get(audio.format, f"audio/{audio.format}")
    return {"inlineData": {"mimeType": mime, "data": audio.content}}


def file_to_wire(file: File) -> Wire | None:
    """The part; nothing for an upload id of somebody else."""
    if file.content:
        named = mimetypes.guess_type(file.name)[0] or DOCUMENT
        return _inline(file.content) or {"inlineData": {"mimeType": named, "data": file.content}}
    return _address(file.id, DOCUMENT) if file.id.startswith(FILE_ADDRESSES) else None


def _inline(url: str) -> Wire | None:
    """A data URL (RFC 2397) with base64 in it as `inlineData`."""
    head, comma, content = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    mime = head.removeprefix("data:").removesuffix(";base64").partition(";")[0]
    return {"inlineData": {"mimeType": mime or DOCUMENT, "data": content}}


def _address(url: str, otherwise: str) -> Wire:
    mime = mimetypes.guess_type(url.partition("?")[0])[0] or otherwise
    return {"fileData": {"mimeType": mime, "fileUri": url}}


def data_url(mime: str, content: str) -> str:
    """Bytes of an answer as the address that the canon knows."""
    return f"data:{mime};base64,{content}"
