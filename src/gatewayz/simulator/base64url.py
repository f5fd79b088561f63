"""Base64 with the alphabet of URLs and without padding (RFC 4648, section 5)."""

import base64


def encode_base64url(content: bytes) -> str:
    """The text; `encode_base64url(b"a")` is `YQ`."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def decode_base64url(text: str) -> bytes:
    """The bytes. Raises `ValueError` for what is no base64."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
