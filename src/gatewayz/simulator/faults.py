"""Faults, scripted: each name is a way in which providers fail, as actions on the raw connection.

A name is `fault-NAME` or `fault-NAME-ARGUMENT`; status faults answer with the error body of an exchange file.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from msgspec import Struct

from gatewayz.simulator.exchanges import load_exchange

HANG_S = 3_600.0
SSE = "text/event-stream; charset=utf-8"
STATUSES = (400, 401, 402, 403, 404, 408, 413, 422, 500, 502, 503, 504, 529)
BIG_LINE = 10 * 2**20
BOMB_BYTES = 256 * 2**20


class Send(Struct, frozen=True):
    """Bytes for the connection; `tokens` of the answer are in them."""

    data: bytes
    tokens: int = 0


class Wait(Struct, frozen=True):
    seconds: float


class Reset(Struct, frozen=True):
    """The connection is reset (RST)."""


class Close(Struct, frozen=True):
    """The connection is closed (FIN) in the middle."""


Action = Send | Wait | Reset | Close
Actions = Iterator[Action]


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Simulated", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> Send:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Send(head(status, {"content-type": content_type, "content-length": str(len(body)), **named}) + body)


def stream_head(content_type: str = SSE) -> Send:
    return Send(head(200, {"content-type": content_type, "transfer-encoding": "chunked", "x-request-id": "req_sim"}))


def piece(data: bytes, tokens: int = 0) -> Send:
    """One chunk of the chunked encoding."""
    return Send(b"%x\r\n%b\r\n" % (len(data), data), tokens)


LAST = Send(b"0\r\n\r\n")


def _error(name: str, **headers: str) -> Actions:
    exchange = load_exchange(name)
    yield whole(exchange.status, exchange.content(), **{**exchange.headers, **headers})


def _status(status: int, argument: str) -> Actions:
    yield from _error(f"error_{status}")


def _limited(argument: str) -> Actions:
    # fault-429, fault-429-retry-2, fault-429-retry-absurd
    kind, _, value = argument.partition("-")
    if kind == "retry":
        yield from _error("error_429", retry_after=value)
    else:
        yield from _error("error_429")


def _unsupported(argument: str) -> Actions:
    body: dict[str, Any] = json.loads(load_exchange("error_400_unsupported").content())
    body["error"] |= {
        "message": f"Unsupported parameter: '{argument}' is not supported with this model.",
        "param": argument,
    }
    yield whole(400, json.dumps(body).encode())


def _text(content_type: str, text: str) -> Callable[[str], Actions]:
    def play(argument: str) -> Actions:
        yield whole(200, text.encode(), content_type)

    return play


def _hang_before(argument: str) -> Actions:
    yield Wait(HANG_S)


def _hang_headers(argument: str) -> Actions:
    yield stream_head()
    yield Wait(HANG_S)


def _keep_alives(argument: str) -> Actions:
    yield stream_head()
    for _ in range(int(HANG_S * 20)):
        yield piece(b": keep-alive\n\n")
        yield Wait(0.05)


def _reset_before(argument: str) -> Actions:
    yield Reset()


def _close_before(argument: str) -> Actions:
    yield Close()


def _sse(text: bytes) -> Callable[[str], Actions]:
    def play(argument: str) -> Actions:
        yield stream_head()
        if text:
            yield piece(text)
        yield LAST

    return play


def _redirect(argument: str) -> Actions:
    yield whole(302, b"", location="http://169.254.169.254/latest/meta-data/")


def _gzip_truncated(argument: str) -> Actions:
    packed = gzip.compress(b'{"choices": [' + b" " * 4096)[:-20]
    yield whole(200, packed, content_encoding="gzip")


def _gzip_bomb(argument: str) -> Actions:
    machine = zlib.compressobj(wbits=31)
    packed = b"".join(machine.compress(b" " * 2**20) for _ in range(BOMB_BYTES // 2**20)) + machine.flush()
    yield whole(200, packed, content_encoding="gzip")


def _wrong_length(argument: str) -> Actions:
    body = load_exchange("template_body").content()
    yield Send(head(200, {"content-type": "application/json", "content-length": str(len(body))}) + body[:-5])
    yield Close()


def _chunk_overflow(argument: str) -> Actions:
    yield stream_head()
    yield Send(b"ffffffffffffffff0\r\ndata: {}\r\n")
    yield Close()


def _no_http(argument: str) -> Actions:
    yield Send(b"SSH-2.0-OpenSSH_9.2\r\n")
    yield Close()


def _big_line(argument: str) -> Actions:
    yield stream_head()
    for _ in range(BIG_LINE // 2**16):
        yield piece(b"data: " if _ == 0 else b"a" * 2**16)
    yield piece(b"\n\n")
    yield LAST


FAULTS: dict[str, Callable[[str], Actions]] = {
    **{str(status): partial(_status, status) for status in STATUSES},
    "context": lambda _: _error("error_400_context"),
    "filter": lambda _: _error("error_400_filter"),
    "quota": lambda _: _error("error_429_quota"),
    "429": _limited,
    "unsupported": _unsupported,
    "html-200": _text("text/html", "<html><body>Welcome to the captive portal</body></html>"),
    "null-200": _text("application/json", "null"),
    "list-200": _text("application/json", "[]"),
    "text-200": _text("text/plain", "upstream connect error"),
    "empty-200": _text("application/json", ""),
    "object-200": _text("application/json", "{}"),
    "no-choices": _text("application/json", '{"id": "x", "object": "chat.completion", "choices": []}'),
    "error-200": _text("application/json", '{"error": {"message": "The server had an error", "code": 500}}'),
    "usage-8": _text("application/json", '{"error": {"message": "failed late"}, "usage": {"prompt_tokens": 5}}'),
    "half-json": _text("application/json", '{"id": "x", "choices": [{"index": 0, "mess'),
    "hang-before": _hang_before,
    "hang-headers": _hang_headers,
    "keepalive-only": _keep_alives,
    "rst-before": _reset_before,
    "close-before": _close_before,
    "sse-error-first": _sse(b'data: {"error": {"message": "Overloaded", "type": "overloaded_error", "code": 529}}\n\n'),
    "empty-stream": _sse(b""),
    "done-only": _sse(b"data: [DONE]\n\n"),
    "garbage-sse": _sse(b"data: this is not json\n\ndata: [DONE]\n\n"),
    "redirect": _redirect,
    "gzip-truncated": _gzip_truncated,
    "gzip-bomb": _gzip_bomb,
    "wrong-length": _wrong_length,
    "chunk-overflow": _chunk_overflow,
    "no-http": _no_http,
    "line-10mb": _big_line,
}
"""Faults that need nothing of the answer."""


def fault_actions(name: str) -> Actions | None:
    """The actions of a fault by its name without `fault-`; the longest name that fits counts."""
    for known in sorted(FAULTS, key=len, reverse=True):
        if name == known or name.startswith(f"{known}-"):
            return FAULTS[known](name[len(known) + 1 :])
    return None
