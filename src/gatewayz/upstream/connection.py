"""One HTTP/1.1 connection to an upstream: one request at a time, its answer parsed as it comes.

Back-pressure: when more than `HIGH_BYTES` wait to be taken, reading pauses until they are.

What comes while no answer is awaited answers nobody's request, so the connection ends: used again,
it would give one caller what was meant for another. HTTP/1.1 has no other mark for whose an answer
is than its place.
"""

import asyncio
import select
from typing import cast

import httptools

from gatewayz.core.faults import Fault

HIGH_BYTES = 256 * 2**10
MAX_HEAD_BYTES = 64 * 2**10
"""Bytes in a row of an answer that are no content: its head, chunk extensions, trailers."""


class Connection(asyncio.Protocol):
    """`send_request` sends; `wait_for_head` awaits the answer's head, `read_chunk` its body.

    `reusable`: the request was sent whole, its answer was read to its end, and the upstream keeps
    the connection.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.idle_since = 0.0
        self._awaits_answer = False
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._bare_bytes = 0
        self._head_complete = False
        self._complete = False
        self._keep_alive = False
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
        transport = self._transport
        return (
            self._complete
            and self._keep_alive
            and self._fault is None
            and not self._pieces
            and transport is not None
            and not transport.is_closing()
            # An answer that came before its request was sent is the answer to something else.
            and not transport.get_write_buffer_size()
        )

    @property
    def quiet(self) -> bool:
        """Whether nothing has come on an idle connection, not even what the loop has yet to read.

        One system call; without it, a late answer could be taken for that of the next request.
        """
        if self._transport is None or self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def send_request(self, head: bytes, body: bytes) -> None:
        """Sends a request; the state of the last answer is reset."""
        self._reset()
        self._awaits_answer = True
        if self._transport is None or self._transport.is_closing():
            self._fail("upstream_unreachable", "closed the connection before it was asked")
        else:
            # A small body leaves with its head in one packet; a large one is not copied for that.
            self._transport.write(head + body if len(body) < HIGH_BYTES else head)
            if len(body) >= HIGH_BYTES:
                self._transport.write(body)

    async def wait_for_head(self) -> None:
        """Waits for status and headers. Faults: `upstream_unreachable`, `upstream_broken`."""
        while not self._head_complete:
            if self._fault is not None:
                raise self._fault
            await self._wait()

    async def read_chunk(self) -> bytes:
        """What came of the body; empty at its end. Faults: `upstream_cut`, `upstream_broken`."""
        while not self._pieces:
            if self._fault is not None:
                raise self._fault
            if self._complete:
                return b""
            # As `_wait`, without a coroutine of its own: every event of a stream waits here.
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

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, kind: str, why: str) -> None:
        """The first fault counts; after a complete answer there is none."""
        if self._fault is None and not self._complete:
            self._fault = Fault(kind, f"The provider at {self._host} {why}.")
        self._wake()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._awaits_answer:
            self.abort()
            return
        self._bare_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("upstream_broken", "does not answer in HTTP")
            self.abort()
            return
        if self._bare_bytes > MAX_HEAD_BYTES and not self._complete:
            what = "trailers" if self._head_complete else "headers"
            self._fail("upstream_broken", f"sent {what} of more than {MAX_HEAD_BYTES} bytes")
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head_complete and self._until_close and exc is None:
            self._complete = True
        if not self._head_complete:
            self._fail("upstream_unreachable", "closed the connection before it answered")
        self._fail("upstream_cut", "broke off its answer")

    def on_message_begin(self) -> None:
        if self._complete:
            # A second answer, in one packet with the end of the first.
            self._keep_alive = False
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_complete:
            # Trailers are no headers, and there is nothing in them that we need.
            return
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._head_complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            # An interim answer (100, 103): the real one follows.
            self.headers = {}
            return
        self.status = status
        self._head_complete = True
        self._until_close = (
            "content-length" not in self.headers and "transfer-encoding" not in self.headers
        )
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self._complete:
            return
        self._bare_bytes = 0
        self._pieces.append(body)
        self._waiting_bytes += len(body)
        if self._waiting_bytes > HIGH_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self._head_complete and not self._complete:
            self._complete = True
            self._awaits_answer = False
            self._keep_alive = self._parser.should_keep_alive()
            self._wake()
