"""One HTTP/1.1 connection to an upstream: a request at a time, its answer parsed by httptools as it comes.

Back-pressure: when more than `HIGH_BYTES` wait to be taken, reading pauses until they are.
"""

import asyncio
from typing import cast

import httptools

from gatewayz.core.faults import Fault

HIGH_BYTES = 256 * 2**10
MAX_HEAD_BYTES = 64 * 2**10


class Connection(asyncio.Protocol):
    """`request` sends; the head of the answer is awaited with `begun`, its body with `piece`.

    `reusable`: the answer was read to its end and the upstream keeps the connection.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._head_bytes = 0
        self._begun = False
        self._complete = False
        self._keeps = False
        self._until_close = False
        self._fault: Fault | None = None
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._paused = False

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        return self._complete and self._keeps and self._fault is None and self.open

    def request(self, head: bytes, body: bytes) -> None:
        """Sends a request; what was known of the last answer is forgotten."""
        self._reset()
        if self._transport is not None:
            self._transport.write(head + body if len(body) < HIGH_BYTES else head)
            if len(body) >= HIGH_BYTES:
                self._transport.write(body)

    async def begun(self) -> None:
        """Waits for status and headers. Faults: `upstream_unreachable`, `upstream_broken`."""
        while not self._begun:
            if self._fault is not None:
                raise self._fault
            await self._news()

    async def piece(self) -> bytes:
        """What has come of the body; empty at its end. Faults: `upstream_cut`, `upstream_broken`."""
        while not self._pieces:
            if self._fault is not None:
                raise self._fault
            if self._complete:
                return b""
            # As `_news`, without a coroutine of its own: this wait is the one of every event of a stream.
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        pieces, self._pieces = self._pieces, []
        self._waiting_bytes = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def abort(self) -> None:
        """Breaks the connection at once, so that the upstream stops."""
        if self._transport is not None:
            self._transport.abort()

    async def _news(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, kind: str, says: str) -> None:
        if self._fault is None and not self._complete:
            self._fault = Fault(kind, f"The provider at {self._host} {says}.")
        self._wake()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("upstream_broken", "does not speak HTTP")
            self.abort()
            return
        if not self._begun:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._fail("upstream_broken", "sent a head that is too large")
                self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._begun and self._until_close and exc is None:
            self._complete = True
        if not self._begun:
            self._fail("upstream_unreachable", "closed the connection before it answered")
        self._fail("upstream_cut", "broke off its answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            # An interim answer (100, 103): the real one follows.
            self.headers = {}
            return
        self.status = status
        self._begun = True
        self._until_close = (
            "content-length" not in self.headers and "transfer-encoding" not in self.headers
        )
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._waiting_bytes += len(body)
        if self._waiting_bytes > HIGH_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self._begun:
            self._complete = True
            self._keeps = self._parser.should_keep_alive()
            self._wake()
