"""A way through an HTTP proxy: `CONNECT` (RFC 9110, section 9.3.6), and what the proxy answers.

The head of the answer is bounded, and nothing may follow it: whoever is at the other end speaks
only when it is asked.
"""

import asyncio
import re
from typing import cast

from gatewayz.upstream.proxies import Proxy

MAX_HEAD_BYTES = 16 * 2**10
END_OF_HEAD = b"\r\n\r\n"
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?(?:\r\n|$)")
OK_STATUSES = range(200, 300)


class TunnelRefusedError(Exception):
    """The proxy said something else than yes; `status` is 0 where it spoke no HTTP."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class TunnelProtocol(asyncio.Protocol):
    """Asks a proxy for a way, once; `open` returns when it is there."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._head = bytearray()
        self._answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    async def open(self, proxy: Proxy, authority: str) -> asyncio.Transport:
        """The way to `authority`, host and port. Raises `TunnelRefusedError`, `OSError`."""
        if self.transport is None:
            raise ConnectionError("closed")
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if proxy.authorization is not None:
            lines.append(f"Proxy-Authorization: {proxy.authorization.reveal()}")
        self.transport.write("\r\n".join([*lines, "", ""]).encode("ascii"))
        await self._answer
        return self.transport

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._answer.done():
            # Nobody was asked anything yet: these bytes would be taken for an answer.
            self.abort()
            return
        while (end := self._head.find(END_OF_HEAD)) >= 0:
            status = _status_from_head(bytes(self._head[:end]))
            del self._head[: end + len(END_OF_HEAD)]
            if 100 <= status < 200:
                continue
            if status not in OK_STATUSES or self._head:
                self._fail(TunnelRefusedError(0 if status in OK_STATUSES else status))
            else:
                self._answer.set_result(None)
            return
        if len(self._head) > MAX_HEAD_BYTES:
            self._fail(TunnelRefusedError(0))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc if isinstance(exc, OSError) else ConnectionError("closed"))

    def _fail(self, error: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(error)
            # Whoever waited may have left: then nobody looks at it, and that is no mistake.
            self._answer.exception()
        self.abort()

    def abort(self) -> None:
        """Breaks the connection at once."""
        if self.transport is not None:
            self.transport.abort()


def _status_from_head(head: bytes) -> int:
    """The status of an answer; 0 for what is no answer."""
    match = STATUS_LINE.match(head)
    return int(match[1]) if match is not None else 0
