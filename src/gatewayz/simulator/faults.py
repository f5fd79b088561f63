"""Faults, scripted: each name is a way in which providers fail, as actions on the raw connection.

A name is `fault-NAME` or `fault-NAME-ARGUMENT`; status faults answer with the error body of an exchange file of the
dialect that is spoken.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from msgspec import Struct

from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.tongues import Tongue

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
Fault = Callable[[Tongue, str], Actions]


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} Simulated",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> Send:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Send(
        head(status, {"content-type": content_type, "content-length": str(len(body)), **named})
        + body
    )


def stream_head(content_type: str = SSE) -> Send:
    return Send(
        head(
            200,
            {
                "content-type": content_type,
                "transfer-encoding": "chunked",
                "x-request-id": "req_sim",
            },
        )
    )


def piece(data: bytes, tokens: int = 0) -> Send:
    """One chunk of the chunked encoding."""
    return Send(b"%x\r\n%b\r\n" % (len(data), data), tokens)


LAST = Send(b"0\r\n\r\n")


def _error(tongue: Tongue, name: str, **headers: str) -> Actions:
    exchange = load_exchange(name, tongue.errors or tongue.folder)
    yield whole(exchange.status, exchange.content(), **{**exchange.headers, **headers})


def _status(status: int, tongue: Tongue, argument: str) -> Actions:
    yield from _error(tongue, f"error_{status}")


def _named(name: str) -> Fault:
    def play(tongue: Tongue, argument: str) -> Actions:
        yield from _error(tongue, name)

    return play


def _limited(tongue: Tongue, argument: str) -> Actions:
    # fault-429, fault-429-retry-2, fault-429-retry-absurd
    kind, _, value = argument.partition("-")
    if kind == "retry":
        yield from _error(tongue, "error_429", retry_after=value)
    else:
        yield from _error(tongue, "error_429")


def _unsupported(tongue: Tongue, argument: str) -> Actions:
    exchange = load_exchange("error_400_unsupported", tongue.errors or tongue.folder)
    yield whole(400, exchange.filled(parameter=argument))


def _text(content_type: str, text: str) -> Fault:
    def play(tongue: Tongue, argument: str) -> Actions:
        yield whole(200, text.encode(), content_type)

    return play


def _hang_before(tongue: Tongue, argument: str) -> Actions:
    yield Wait(HANG_S)


def _hang_headers(tongue: Tongue, argument: str) -> Actions:
    yield stream_head()
    yield Wait(HANG_S)


def _keep_alives(tongue: Tongue, argument: str) -> Actions:
    yield stream_head()
    for _ in range(int(HANG_S * 20)):
        yield piece(tongue.keep_alive)
        yield Wait(0.05)


def _reset_before(tongue: Tongue, argument: str) -> Actions:
    yield Reset()


def _close_before(tongue: Tongue, argument: str) -> Actions:
    yield Close()


def _stream(text: bytes) -> Actions:
    yield stream_head()
    if text:
        yield piece(text)
    yield LAST


def _empty_stream(tongue: Tongue, argument: str) -> Actions:
    yield from _stream(b"")


def _garbage(tongue: Tongue, argument: str) -> Actions:
    yield from _stream(b"data: this is not json\n\n" + tongue.end)


def _end_only(tongue: Tongue, argument: str) -> Actions:
    yield from _stream(tongue.end)


def _failure_first(tongue: Tongue, argument: str) -> Actions:
    yield from _stream(tongue.failure)


def _redirect(tongue: Tongue, argument: str) -> Actions:
    yield whole(302, b"", location="http://169.254.169.254/latest/meta-data/")


def _gzip_truncated(tongue: Tongue, argument: str) -> Actions:
    packed = gzip.compress(b'{"choices": [' + b" " * 4096)[:-20]
    yield whole(200, packed, content_encoding="gzip")


def _gzip_bomb(tongue: Tongue, argument: str) -> Actions:
    machine = zlib.compressobj(wbits=31)
    packed = (
        b"".join(machine.compress(b" " * 2**20) for _ in range(BOMB_BYTES // 2**20))
        + machine.flush()
    )
    yield whole(200, packed, content_encoding="gzip")


def _wrong_length(tongue: Tongue, argument: str) -> Actions:
    body = load_exchange("template_body", tongue.folder).content()
    yield Send(
        head(200, {"content-type": "application/json", "content-length": str(len(body))})
        + body[:-5]
    )
    yield Close()


def _chunk_overflow(tongue: Tongue, argument: str) -> Actions:
    yield stream_head()
    yield Send(b"ffffffffffffffff0\r\ndata: {}\r\n")
    yield Close()


def _no_http(tongue: Tongue, argument: str) -> Actions:
    yield Send(b"SSH-2.0-OpenSSH_9.2\r\n")
    yield Close()


def _big_line(tongue: Tongue, argument: str) -> Actions:
    yield stream_head()
    for _ in range(BIG_LINE // 2**16):
        yield piece(b"data: " if _ == 0 else b"a" * 2**16)
    yield piece(b"\n\n")
    yield LAST


FAULTS: dict[str, Fault] = {
    **{str(status): partial(_status, status) for status in STATUSES},
    "context": _named("error_400_context"),
    "filter": _named("error_400_filter"),
    "quota": _named("error_429_quota"),
    "429": _limited,
    "unsupported": _unsupported,
    "html-200": _text("text/html", "<html><body>Welcome to the captive portal</body></html>"),
    "null-200": _text("application/json", "null"),
    "list-200": _text("application/json", "[]"),
    "text-200": _text("text/plain", "upstream connect error"),
    "empty-200": _text("application/json", ""),
    "object-200": _text("application/json", "{}"),
    "hang-before": _hang_before,
    "hang-headers": _hang_headers,
    "keepalive-only": _keep_alives,
    "rst-before": _reset_before,
    "close-before": _close_before,
    "sse-error-first": _failure_first,
    "empty-stream": _empty_stream,
    "done-only": _end_only,
    "garbage-sse": _garbage,
    "redirect": _redirect,
    "gzip-truncated": _gzip_truncated,
    "gzip-bomb": _gzip_bomb,
    "wrong-length": _wrong_length,
    "chunk-overflow": _chunk_overflow,
    "no-http": _no_http,
    "line-10mb": _big_line,
}
"""Faults that need nothing of the answer; those of one dialect only are the tongue's `bodies` and `streams`."""


def fault_actions(tongue: Tongue, name: str) -> Actions | None:
    """The actions of a fault by its name without `fault-`; the longest name that fits counts."""
    if name in tongue.bodies:
        return iter([whole(200, tongue.bodies[name].encode())])
    if name in tongue.streams:
        return _stream(tongue.streams[name])
    for known in sorted(FAULTS, key=len, reverse=True):
        if name == known or name.startswith(f"{known}-"):
            return FAULTS[known](tongue, name[len(known) + 1 :])
    return None
