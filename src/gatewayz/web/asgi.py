"""ASGI, typed: what a request is made of, and how its body and its end are received."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gatewayz.core.faults import Fault

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]

KEY_PARAMETERS = (b"key=", b"api_key=", b"apikey=", b"token=", b"access_token=")


class ClientDisconnectedError(Exception):
    """The client closed the connection before its request was whole."""


def headers_from_scope(scope: Scope) -> dict[str, str]:
    """Headers with lower-case names; the lines of one that is a list are joined.

    Of those that have one value the guard lets one line through.
    """
    lines = scope["headers"]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in lines}
    if len(headers) == len(lines):
        return headers
    joined: dict[str, list[str]] = {}
    for name, value in lines:
        joined.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return {name: ", ".join(values) for name, values in joined.items()}


def raw_headers(headers: tuple[tuple[str, str], ...]) -> RawHeaders:
    """Headers as ASGI sends them; line breaks cannot pass."""
    return [(name.lower().encode("latin-1"), _header_value(value)) for name, value in headers]


def _header_value(value: str) -> bytes:
    return "".join(character if character.isprintable() else " " for character in value).encode(
        "latin-1", "replace"
    )


async def read_body(receive: Receive, headers: dict[str, str], limit_bytes: int) -> bytes:
    """The whole body. Faults: `too_large`. Raises `ClientDisconnectedError`."""
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > limit_bytes:
        raise _too_large(limit_bytes)

    # Nearly every body is one message, which needs no joining.
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        return _check_size(message["body"], limit_bytes)

    pieces: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces)
        message = await receive()


async def wait_for_disconnect(receive: Receive) -> None:
    """Returns when the client has closed the connection; what it still sends is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _check_size(body: bytes, limit_bytes: int) -> bytes:
    if len(body) > limit_bytes:
        raise _too_large(limit_bytes)
    return body


def _too_large(limit_bytes: int) -> Fault:
    return Fault("too_large", f"The body is larger than {limit_bytes} bytes.")
