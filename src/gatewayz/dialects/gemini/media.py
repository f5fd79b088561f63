"""Images, sound and documents as parts: bytes as `inlineData`, addresses as `fileData`."""

import mimetypes
from typing import Any

from gatewayz.core.conversation import Audio, File, Image
from gatewayz.dialects.kit.media_types import FILE_URL_SCHEMES, split_data_url

Wire = dict[str, Any]
DEFAULT_IMAGE_TYPE, DEFAULT_DOCUMENT_TYPE = "image/jpeg", "application/pdf"
"""The media types of addresses that do not tell: Vertex wants a type beside each."""
AUDIO_TYPES = {"mp3": "audio/mpeg", "pcm16": "audio/pcm"}
"""Formats whose media type is not `audio/` and their name."""


def image_to_wire(image: Image) -> Wire:
    return _inline_data(image.url) or _file_data(image.url, DEFAULT_IMAGE_TYPE)


def audio_to_wire(audio: Audio) -> Wire:
    media_type = AUDIO_TYPES.get(audio.format, f"audio/{audio.format}")
    return {"inlineData": {"mimeType": media_type, "data": audio.content}}


def file_to_wire(file: File) -> Wire | None:
    """The part; nothing for the id of an upload to another provider."""
    if file.content:
        media_type = mimetypes.guess_type(file.name)[0] or DEFAULT_DOCUMENT_TYPE
        plain = {"inlineData": {"mimeType": media_type, "data": file.content}}
        return _inline_data(file.content) or plain
    if file.id.startswith(FILE_URL_SCHEMES["gemini"]):
        return _file_data(file.id, DEFAULT_DOCUMENT_TYPE)
    return None


def _inline_data(url: str) -> Wire | None:
    """A data URL (RFC 2397) with base64 in it as `inlineData`, under the type that it is of."""
    parts = split_data_url(url)
    if parts is None:
        return None
    media_type, content = parts
    return {"inlineData": {"mimeType": media_type or DEFAULT_DOCUMENT_TYPE, "data": content}}


def _file_data(url: str, default_type: str) -> Wire:
    media_type = mimetypes.guess_type(url.partition("?")[0])[0] or default_type
    return {"fileData": {"mimeType": media_type, "fileUri": url}}
