"""ASGI, typed: the three things that a request is made of here."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gatewayz.core.faults import Fault

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]

KEY_PARAMETERS = (b"key=", b"api_key=", b"apikey=", b"token=", b"access_token=")


class ClientLeftError(Exception):
    """The client closed the connection before its request was whole."""


def headers_of(scope: Scope) -> dict[str, str]:
    """Headers with lower-case names."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def raw(headers: tuple[tuple[str, str], ...]) -> RawHeaders:
    """Headers as ASGI sends them; line breaks cannot pass."""
    return [(name.lower().encode("latin-1"), _one_line(value)) for name, value in headers]


def _one_line(value: str) -> bytes:
    return "".join(character if character.isprintable() else " " for character in value).encode(
        "latin-1", "replace"
    )


async def body_of(receive: Receive, headers: dict[str, str], limit_bytes: int) -> bytes:
    """The whole body. Faults: `too_large`. Raises `ClientLeftError`."""
    said = headers.get("content-length", "")
    if said.isdigit() and int(said) > limit_bytes:
        raise _too_large(limit_bytes)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return _bounded(message["body"], limit_bytes)
    pieces: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces)
        message = await receive()


def _bounded(body: bytes, limit_bytes: int) -> bytes:
    if len(body) > limit_bytes:
        raise _too_large(limit_bytes)
    return body


def _too_large(limit_bytes: int) -> Fault:
    return Fault("too_large", f"The body is larger than {limit_bytes} bytes.")
