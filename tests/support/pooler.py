"""A transaction pooler before PostgreSQL, as PgBouncer is in `pool_mode = transaction`: each transaction of a client gets
the connection to the server that has rested longest, so that nothing of a session may be relied on.
"""

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

SSL, GSS = 80877103, 80877104
VERSION_3 = 196608
READY, IDLE, TERMINATE, FAILED = b"Z", b"I", b"X", b"E"


class Pooler:
    """`dsn` is where clients find it. `transactions`: how many each connection to the server has carried."""

    def __init__(self, dsn: str, size: int = 3) -> None:
        self._server = urlsplit(dsn)
        self._size = size
        self._free: deque[int] = deque()
        self._servers: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        self._available = asyncio.Condition()
        self._hello = b""
        self._clients: set[asyncio.Task] = set()
        self.transactions: dict[int, int] = {}
        self.dsn = ""

    @asynccontextmanager
    async def run(self) -> AsyncIterator["Pooler"]:
        for number in range(self._size):
            await self._connect(number)
        listening = await asyncio.start_server(self._serve_client, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        self.dsn = self._server._replace(
            netloc=f"{self._server.username}@127.0.0.1:{port}"
        ).geturl()
        try:
            yield self
        finally:
            listening.close()
            for task in list(self._clients):
                task.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
            for _, writer in self._servers.values():
                writer.close()

    async def _connect(self, number: int) -> None:
        reader, writer = await asyncio.open_connection(self._server.hostname, self._server.port)
        fields = f"user\0{self._server.username}\0database\0{self._server.path[1:]}\0\0".encode()
        writer.write(struct.pack("!II", len(fields) + 8, VERSION_3) + fields)
        hello = b""
        kind = b""
        while kind != READY:
            kind, message = await _read_message(reader)
            assert kind != FAILED, message
            hello += message
        self._hello = self._hello or hello
        self._servers[number] = reader, writer
        self.transactions.setdefault(number, 0)
        self._free.append(number)

    async def _serve_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        self._clients.add(task)
        leases: list[tuple[int, asyncio.Task]] = []
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._relay_client(reader, writer, leases)
        finally:
            self._clients.discard(task)
            writer.close()
            for number, pump in leases:
                # In the middle of a transaction: the server ends it when the connection goes.
                pump.cancel()
                self._servers.pop(number)[1].close()
                await self._connect(number)
                await self._notify_waiters()

    async def _relay_client(self, reader, writer, leases: list) -> None:
        if not await _read_startup(reader, writer):
            return
        writer.write(self._hello)
        while True:
            kind, message = await _read_message(reader)
            if kind == TERMINATE:
                return
            if not leases:
                async with self._available:
                    await self._available.wait_for(lambda: self._free)
                    number = self._free.popleft()
                self.transactions[number] += 1
                leases.append(
                    (number, asyncio.create_task(self._relay_server(number, writer, leases)))
                )
            self._servers[leases[0][0]][1].write(message)

    async def _relay_server(self, number: int, writer, leases: list) -> None:
        """Passes on what the server says, until the transaction is over."""
        while True:
            kind, message = await _read_message(self._servers[number][0])
            over = kind == READY and message[-1:] == IDLE
            if over:
                leases.clear()
                self._free.append(number)
                await self._notify_waiters()
            writer.write(message)
            if over:
                return

    async def _notify_waiters(self) -> None:
        async with self._available:
            self._available.notify_all()


async def _read_startup(reader, writer) -> bool:
    """Whether the client went on to a session: not one that only cancels."""
    while True:
        size, code = struct.unpack("!II", await reader.readexactly(8))
        await reader.readexactly(size - 8)
        if code not in {SSL, GSS}:
            return code == VERSION_3
        writer.write(b"N")


async def _read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The kind of the next message, and all of it."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)
