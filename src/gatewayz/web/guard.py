"""The guard of the socket: what uvicorn lets through and a gateway must not. One timer a connection, armed when needed.

Bounded here: the time of headers and bodies, the size and number of headers, connections. Refused here: a missing or
second Host, Content-Length beside Transfer-Encoding, upgrades, and hosts that this server is not (a web page that
re-binds its DNS name to 127.0.0.1 still says its own name).
"""

import asyncio
from typing import Any

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

IDLE, HEADERS, BODY = range(3)
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


class GuardRules(Struct, frozen=True, kw_only=True):
    """Bounds of a connection. `hosts` empty: any host will do."""

    header_s: float = 10.0
    body_idle_s: float = 30.0
    body_total_s: float = 600.0
    head_bytes: int = 32 * 2**10
    header_line_bytes: int = 8 * 2**10
    header_count: int = 100
    connections: int = 20_000
    hosts: frozenset[str] = frozenset()


class _RefusedError(Exception):
    """Leaves the parser; the answer is in the protocol."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds. `rules` is set on the subclass that `guarded` makes."""

    rules = GuardRules()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._phase = IDLE
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._moved = 0.0
        self._head_bytes = 0
        self._refusal = (400, "Invalid HTTP request received.")
        self._closing = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.rules.connections:
            self._refusal = (503, "Too many connections.")
            self.send_400_response("")
            return
        self._enter(HEADERS)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._phase == IDLE:
            self._enter(HEADERS)
        self._moved = self.loop.time()
        super().data_received(data)
        if self._closing or self.transport.is_closing():
            self._disarm()
            return
        if self._phase == HEADERS:
            self._head_bytes += len(data)
            if self._head_bytes > 2 * self.rules.head_bytes:
                self._refusal = (431, "The request's head is too large.")
                self.send_400_response("")
                return
        if self._phase == IDLE:
            self._disarm()
        elif self._timer is None:
            self._arm()

    def on_message_begin(self) -> None:
        self._enter(HEADERS)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) + len(value) > self.rules.header_line_bytes:
            self._refuse(431, f"A header line is longer than {self.rules.header_line_bytes} bytes.")
        super().on_header(name, value)
        if len(self.headers) > self.rules.header_count:
            self._refuse(431, f"The request has more than {self.rules.header_count} headers.")

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.rules.head_bytes:
            self._refuse(431, f"The request's head is larger than {self.rules.head_bytes} bytes.")
        self._check_host()
        self._check_framing()
        if self.parser.should_upgrade():
            self._refuse(400, "Upgrades are not served here.")
        self._enter(BODY)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._moved = self.loop.time()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = IDLE
        super().on_message_complete()

    def _check_host(self) -> None:
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1 or not hosts[0]:
            if self.parser.get_http_version() == "1.0" and not hosts:
                return
            self._refuse(400, "Exactly one Host header is needed.")
        name = hosts[0].decode("latin-1").lower()
        bare = name if name.endswith("]") else name.rpartition(":")[0] or name
        if self.rules.hosts and bare not in self.rules.hosts:
            self._refuse(421, "This server is not that host; set web.hosts to let it be.")

    def _check_framing(self) -> None:
        lengths = [value for name, value in self.headers if name == b"content-length"]
        encodings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if len(lengths) > 1 or (lengths and encodings) or (lengths and not lengths[0].isdigit()):
            self._refuse(400, "The length of the body is said twice or not at all clearly.")
        if encodings and (len(encodings) > 1 or encodings[0].lower() != b"chunked"):
            self._refuse(400, "The only Transfer-Encoding served here is chunked.")

    def _refuse(self, status: int, message: str) -> None:
        self._refusal = (status, message)
        raise _RefusedError(message)

    def send_400_response(self, msg: str) -> None:
        """Answers what cannot be served and closes; never in the middle of another answer."""
        if self._closing:
            return
        self._closing = True
        self._disarm()
        cycle = self.cycle
        if self.pipeline:
            # Another request waits behind an answer under way: whoever sends that gets nothing more.
            self.pipeline.clear()
            self.transport.close()
        elif cycle is None or not (
            cycle.response_started if self._phase == BODY else not cycle.response_complete
        ):
            # Nothing was said yet to the request that is refused, and no other answer is under way.
            self._write_refusal()
        elif cycle.response_complete:
            self.transport.close()
        else:
            # An answer is under way on this connection: it ends, and then the connection does.
            cycle.keep_alive = False

    def _write_refusal(self) -> None:
        status, message = self._refusal
        body = message.encode("ascii", "replace")
        head = [STATUS_LINE[status], b"content-type: text/plain; charset=utf-8\r\n"]
        head += [b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body), body]
        self.transport.write(b"".join(head))
        self.transport.close()

    def _enter(self, phase: int) -> None:
        self._phase = phase
        now = self.loop.time()
        self._began, self._moved = now, now
        if phase == HEADERS:
            self._head_bytes = 0

    def _arm(self) -> None:
        wait_s = self.rules.header_s if self._phase == HEADERS else self.rules.body_idle_s
        self._timer = self.loop.call_later(wait_s, self._look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._phase == IDLE or self.transport.is_closing():
            return
        now = self.loop.time()
        late = now - self._began >= self.rules.header_s
        if self._phase == BODY:
            late = (
                now - self._moved >= self.rules.body_idle_s
                or now - self._began >= self.rules.body_total_s
            )
        if not late:
            self._arm()
            return
        self._refusal = (408, "The request did not come in time.")
        self.send_400_response("")


def guarded(rules: GuardRules) -> type[GuardedProtocol]:
    """The protocol class for these rules, as uvicorn wants one."""
    return type("RuledProtocol", (GuardedProtocol,), {"rules": rules})
