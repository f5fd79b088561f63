"""Faults, scripted: each name is a way in which providers fail, as actions on the connection.

A name is `fault-NAME` or `fault-NAME-ARGUMENT`; status faults answer with the error body of an
exchange file of the dialect that is spoken.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from msgspec import Struct

from gatewayz.simulator.exchanges import load_exchange
from gatewayz.simulator.wire_format import WireFormat

HANG_S = 3_600.0
"""A provider that hangs: longer than anybody waits."""
SSE = "text/event-stream; charset=utf-8"
STATUSES = (400, 401, 402, 403, 404, 408, 413, 422, 500, 502, 503, 504, 529)
KEEP_ALIVE_GAP_S = 0.05
BIG_LINE_BYTES = 10 * 2**20
BOMB_BYTES = 256 * 2**20


class SendBytes(Struct, frozen=True):
    """Bytes for the connection; `tokens` of the answer are in them."""

    data: bytes
    tokens: int = 0


class Sleep(Struct, frozen=True):
    """Nothing for a while."""

    seconds: float


class ResetConnection(Struct, frozen=True):
    """The connection is reset (RST)."""


class CloseConnection(Struct, frozen=True):
    """The connection is closed (FIN) in the middle."""


Action = SendBytes | Sleep | ResetConnection | CloseConnection
Actions = Iterator[Action]
FaultBehaviour = Callable[[WireFormat, str], Actions]
"""The dialect that is spoken, and the argument of the fault → what happens."""


def response_head(status: int, headers: dict[str, str]) -> bytes:
    """Status line and headers, up to the blank line."""
    lines = [f"HTTP/1.1 {status} Simulated"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def http_response(
    status: int, body: bytes, content_type: str = "application/json", **headers: str
) -> SendBytes:
    """A whole response; in the names of `headers` underscores stand for hyphens."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    framing = {"content-type": content_type, "content-length": str(len(body))}
    return SendBytes(response_head(status, {**framing, **more}) + body)


def stream_head(content_type: str = SSE) -> SendBytes:
    """The head of a stream: its body comes in chunks, and ends with `LAST_CHUNK`."""
    headers = {
        "content-type": content_type,
        "transfer-encoding": "chunked",
        "x-request-id": "req_sim",
    }
    return SendBytes(response_head(200, headers))


def http_chunk(data: bytes, tokens: int = 0) -> SendBytes:
    """One chunk of the chunked encoding; `tokens` of the answer are in it."""
    return SendBytes(b"%x\r\n%b\r\n" % (len(data), data), tokens)


LAST_CHUNK = SendBytes(b"0\r\n\r\n")


def _error(wire: WireFormat, name: str, **headers: str) -> Actions:
    exchange = load_exchange(name, wire.errors or wire.folder)
    yield http_response(exchange.status, exchange.content(), **{**exchange.headers, **headers})


def _status(status: int, wire: WireFormat, argument: str) -> Actions:
    yield from _error(wire, f"error_{status}")


def _error_from_exchange(name: str) -> FaultBehaviour:
    def play(wire: WireFormat, argument: str) -> Actions:
        yield from _error(wire, name)

    return play


def _rate_limit(wire: WireFormat, argument: str) -> Actions:
    # Names: fault-429, fault-429-retry-2, fault-429-retry-absurd.
    kind, _, value = argument.partition("-")
    if kind == "retry":
        yield from _error(wire, "error_429", retry_after=value)
    else:
        yield from _error(wire, "error_429")


def _parameter_error(wire: WireFormat, argument: str) -> Actions:
    exchange = load_exchange("error_400_unsupported", wire.errors or wire.folder)
    yield http_response(400, exchange.render(parameter=argument))


def _text_response(content_type: str, text: str) -> FaultBehaviour:
    def play(wire: WireFormat, argument: str) -> Actions:
        yield http_response(200, text.encode(), content_type)

    return play


def _hang_before(wire: WireFormat, argument: str) -> Actions:
    yield Sleep(HANG_S)


def _hang_headers(wire: WireFormat, argument: str) -> Actions:
    yield stream_head()
    yield Sleep(HANG_S)


def _keep_alives(wire: WireFormat, argument: str) -> Actions:
    yield stream_head()
    for _ in range(int(HANG_S / KEEP_ALIVE_GAP_S)):
        yield http_chunk(wire.keep_alive)
        yield Sleep(KEEP_ALIVE_GAP_S)


def _reset_before(wire: WireFormat, argument: str) -> Actions:
    yield ResetConnection()


def _close_before(wire: WireFormat, argument: str) -> Actions:
    yield CloseConnection()


def _stream(text: bytes) -> Actions:
    yield stream_head()
    if text:
        yield http_chunk(text)
    yield LAST_CHUNK


def _empty_stream(wire: WireFormat, argument: str) -> Actions:
    yield from _stream(b"")


def _garbage(wire: WireFormat, argument: str) -> Actions:
    yield from _stream(b"data: this is not json\n\n" + wire.end)


def _end_only(wire: WireFormat, argument: str) -> Actions:
    yield from _stream(wire.end)


def _failure_first(wire: WireFormat, argument: str) -> Actions:
    yield from _stream(wire.failure)


def _redirect(wire: WireFormat, argument: str) -> Actions:
    yield http_response(302, b"", location="http://169.254.169.254/latest/meta-data/")


def _gzip_truncated(wire: WireFormat, argument: str) -> Actions:
    packed = gzip.compress(b'{"choices": [' + b" " * 4096)[:-20]
    yield http_response(200, packed, content_encoding="gzip")


def _gzip_bomb(wire: WireFormat, argument: str) -> Actions:
    # Window bits above 16 make a gzip stream (zlib.h, deflateInit2).
    compressor = zlib.compressobj(wbits=31)
    pieces = [compressor.compress(b" " * 2**20) for _ in range(BOMB_BYTES // 2**20)]
    yield http_response(200, b"".join([*pieces, compressor.flush()]), content_encoding="gzip")


def _wrong_length(wire: WireFormat, argument: str) -> Actions:
    body = load_exchange("template_body", wire.folder).content()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    yield SendBytes(response_head(200, headers) + body[:-5])
    yield CloseConnection()


def _chunk_overflow(wire: WireFormat, argument: str) -> Actions:
    yield stream_head()
    yield SendBytes(b"ffffffffffffffff0\r\ndata: {}\r\n")
    yield CloseConnection()


def _no_http(wire: WireFormat, argument: str) -> Actions:
    yield SendBytes(b"SSH-2.0-OpenSSH_9.2\r\n")
    yield CloseConnection()


def _big_line(wire: WireFormat, argument: str) -> Actions:
    yield stream_head()
    for number in range(BIG_LINE_BYTES // 2**16):
        yield http_chunk(b"data: " if number == 0 else b"a" * 2**16)
    yield http_chunk(b"\n\n")
    yield LAST_CHUNK


FAULTS: dict[str, FaultBehaviour] = {
    **{str(status): partial(_status, status) for status in STATUSES},
    "context": _error_from_exchange("error_400_context"),
    "filter": _error_from_exchange("error_400_filter"),
    "quota": _error_from_exchange("error_429_quota"),
    "429": _rate_limit,
    "unsupported": _parameter_error,
    "html-200": _text_response(
        "text/html", "<html><body>Welcome to the captive portal</body></html>"
    ),
    "null-200": _text_response("application/json", "null"),
    "list-200": _text_response("application/json", "[]"),
    "text-200": _text_response("text/plain", "upstream connect error"),
    "empty-200": _text_response("application/json", ""),
    "object-200": _text_response("application/json", "{}"),
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
"""Faults that need nothing of the answer; those of one dialect only are in its `WireFormat`."""


def fault_actions(wire: WireFormat, name: str) -> Actions | None:
    """The actions of a fault by its name without `fault-`; `None` for an unknown one.

    The longest name that fits counts. Example: `429-retry-2` is `429` with the argument `retry-2`.
    """
    if name in wire.fault_bodies:
        return iter([http_response(200, wire.fault_bodies[name].encode())])
    if name in wire.fault_streams:
        return _stream(wire.fault_streams[name])
    for known in sorted(FAULTS, key=len, reverse=True):
        if name == known or name.startswith(f"{known}-"):
            return FAULTS[known](wire, name[len(known) + 1 :])
    return None
