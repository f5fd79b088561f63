"""The guard of the socket: what uvicorn lets through and a gateway must not.

Bounded here: the time for headers and bodies, the size and number of headers, connections; with one
timer per connection, armed only while a request comes in. Refused here: a missing or second Host,
a second line of a header that has one value, a request line in another form than RFC 9112's,
Content-Length beside Transfer-Encoding, upgrades, and names that are not this server's (a web page
that re-binds its DNS name to 127.0.0.1 still sends its own name). Headers are what stands in the
head: trailers of a chunked body are dropped (RFC 9110, 6.5.1), so that they cannot say who calls.
"""

import asyncio
from typing import Any

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

IDLE, HEADERS, BODY = range(3)
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
VERSIONS = frozenset({"1.0", "1.1"})
NOSNIFF = (b"x-content-type-options", b"nosniff")
"""Goes with every response, also those that no handler has seen."""
SINGLE_HEADERS = frozenset(
    {
        b"anthropic-version",
        b"api-key",
        b"authorization",
        b"content-encoding",
        b"content-type",
        b"expect",
        b"idempotency-key",
        b"origin",
        b"traceparent",
        b"x-api-key",
        b"x-forwarded-for",
        b"x-gatewayz-user",
        b"x-request-timeout-ms",
    }
)
"""Headers that decide something and have one value. Of two lines, a proxy might read the first and
we the last, so neither counts. Proxies must extend X-Forwarded-For or replace it, not add a line.
"""


class GuardRules(Struct, frozen=True, kw_only=True):
    """Bounds of a connection, in seconds, bytes and numbers. No `hosts`: every name is served."""

    header_s: float = 10.0
    body_idle_s: float = 30.0
    body_total_s: float = 600.0
    head_bytes: int = 32 * 2**10
    header_line_bytes: int = 8 * 2**10
    header_count: int = 100
    connections: int = 20_000
    hosts: frozenset[str] = frozenset()


class _RefusedError(Exception):
    """Leaves the parser; the answer is in the protocol's `_refusal`."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds. `protocol_with_rules` makes a subclass that has the rules."""

    rules = GuardRules()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._phase = IDLE
        self._timer: asyncio.TimerHandle | None = None
        self._phase_started_at = 0.0
        self._last_byte_at = 0.0
        self._head_bytes = 0
        self._head = b""
        self._lines_end = 0
        self._trailer_bytes = 0
        self._refusal = (400, "Invalid HTTP request received.")
        self._closing = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.rules.connections:
            self._refusal = (503, "Too many connections.")
            self.send_400_response("")
            return
        self._enter_phase(HEADERS)
        self._arm_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._phase == IDLE:
            self._enter_phase(HEADERS)
        self._last_byte_at = self.loop.time()
        if self._phase == HEADERS:
            self._head += data
        else:
            self._head, self._lines_end = data, 0
        super().data_received(data)
        if self._phase != HEADERS:
            self._head, self._lines_end = b"", 0
        if self._closing or self.transport.is_closing():
            self._disarm_timer()
            return
        if self._phase == HEADERS:
            self._head_bytes += len(data)
            if self._head_bytes > 2 * self.rules.head_bytes:
                self._refusal = (431, "The request's head is too large.")
                self.send_400_response("")
                return
        if self._phase == IDLE:
            self._disarm_timer()
        elif self._timer is None or self._timer.when() > self._timeout_at():
            # A body may be late before its head would have been.
            self._disarm_timer()
            self._arm_timer()

    def on_message_begin(self) -> None:
        self._enter_phase(HEADERS)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase != HEADERS:
            self._drop_trailer(name, value)
            return
        if len(name) + len(value) > self.rules.header_line_bytes:
            self._refuse(431, f"A header line is longer than {self.rules.header_line_bytes} bytes.")
        super().on_header(name, value)
        if len(self.headers) > self.rules.header_count:
            self._refuse(431, f"The request has more than {self.rules.header_count} headers.")

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.rules.head_bytes:
            self._refuse(431, f"The request's head is larger than {self.rules.head_bytes} bytes.")
        self._check_request_line()
        self._check_host()
        self._check_single_headers()
        self._check_framing()
        if self.parser.should_upgrade():
            self._refuse(400, "Upgrades are not served here.")
        self._enter_phase(BODY)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._last_byte_at = self.loop.time()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = IDLE
        super().on_message_complete()

    def _drop_trailer(self, name: bytes, value: bytes) -> None:
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > self.rules.head_bytes:
            self._refuse(431, f"The trailers are larger than {self.rules.head_bytes} bytes.")

    def _check_request_line(self) -> None:
        """The parser forgives spaces, old versions and future ones; others may read them apart."""
        version = self.parser.get_http_version()
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version.encode())
        # Behind the lines of the requests before it, which may have come in the same packet.
        at = self._head.find(line, self._lines_end)
        if version not in VERSIONS or at < 0:
            self._refuse(400, "The request line must be METHOD TARGET HTTP/1.1.")
        self._lines_end = at + len(line)

    def _check_single_headers(self) -> None:
        seen = set()
        for name, _ in self.headers:
            if name in seen and name in SINGLE_HEADERS:
                self._refuse(400, f"The header {name.decode()} comes twice; send one.")
            seen.add(name)

    def _check_host(self) -> None:
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1 or not hosts[0]:
            if self.parser.get_http_version() == "1.0" and not hosts:
                return
            self._refuse(400, "Exactly one Host header is needed.")
        name = hosts[0].decode("latin-1").lower()
        bare = name if name.endswith("]") else name.rpartition(":")[0] or name
        if self.rules.hosts and bare not in self.rules.hosts:
            self._refuse(
                421, f"This server does not answer for {bare[:100]!r}; add it to web.hosts."
            )

    def _check_framing(self) -> None:
        lengths = [value for name, value in self.headers if name == b"content-length"]
        encodings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if len(lengths) > 1 or (lengths and encodings) or (lengths and not lengths[0].isdigit()):
            self._refuse(
                400, "Content-Length is invalid, or comes twice or beside Transfer-Encoding."
            )
        if encodings and (len(encodings) > 1 or encodings[0].lower() != b"chunked"):
            self._refuse(400, "The only Transfer-Encoding served here is chunked.")

    def _refuse(self, status: int, message: str) -> None:
        self._refusal = (status, message)
        raise _RefusedError(message)

    def send_400_response(self, msg: str) -> None:
        """Answers a request that is refused, and closes; never in the middle of another answer."""
        if self._closing:
            return
        self._closing = True
        self._disarm_timer()
        cycle = self.cycle
        if self.pipeline:
            # Another request waits behind an answer that is being sent: its client gets no more.
            self.pipeline.clear()
            self.transport.close()
        elif cycle is None or not (
            cycle.response_started if self._phase == BODY else not cycle.response_complete
        ):
            # The refused request has no answer yet, and no other answer is being sent.
            self._write_refusal()
        elif cycle.response_complete:
            self.transport.close()
        else:
            # An answer is being sent on this connection: it ends, and then the connection does.
            cycle.keep_alive = False

    def _write_refusal(self) -> None:
        status, message = self._refusal
        body = message.encode("ascii", "replace")
        head = [STATUS_LINE[status], b"content-type: text/plain; charset=utf-8\r\n"]
        head.append(b"%b: %b\r\n" % NOSNIFF)
        head += [b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body), body]
        self.transport.write(b"".join(head))
        self.transport.close()

    def _enter_phase(self, phase: int) -> None:
        self._phase = phase
        now = self.loop.time()
        self._phase_started_at, self._last_byte_at = now, now
        if phase == HEADERS:
            self._head_bytes = self._trailer_bytes = 0

    def _timeout_at(self) -> float:
        """When the request is too late, by the loop's clock, if nothing more of it comes."""
        rules = self.rules
        if self._phase == HEADERS:
            return self._phase_started_at + rules.header_s
        return min(
            self._last_byte_at + rules.body_idle_s, self._phase_started_at + rules.body_total_s
        )

    def _arm_timer(self) -> None:
        self._timer = self.loop.call_at(self._timeout_at(), self._check_timeouts)

    def _disarm_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_timeouts(self) -> None:
        self._timer = None
        if self._phase == IDLE or self.transport.is_closing():
            return
        if self.loop.time() < self._timeout_at():
            self._arm_timer()
            return
        self._refusal = (408, "The request did not come in time.")
        self.send_400_response("")


def protocol_with_rules(rules: GuardRules) -> type[GuardedProtocol]:
    """The protocol class for these rules, as uvicorn wants one."""
    return type("RuledProtocol", (GuardedProtocol,), {"rules": rules})
