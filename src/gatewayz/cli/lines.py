"""The line between the supervisor and a worker: messages over a socket pair, each with its length before it."""

import asyncio
import socket
import struct
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from gatewayz.observe.counts import Counts
from gatewayz.settings import Loaded

LENGTH = struct.Struct(">I")
MAX_MESSAGE_BYTES = 64 * 2**20
"""Far above what the bounded labels of the metrics can fill."""
T = TypeVar("T")


class Start(Struct, frozen=True, tag=True, kw_only=True):
    """The first message: what to be. `listening` is a descriptor; one worker speaks to people."""

    loaded: Loaded
    worker: int
    workers: int
    listening: int
    speaks: bool


class Tell(Struct, frozen=True, tag=True):
    """Asks for what the worker has counted."""


class Sum(Struct, frozen=True, tag=True):
    """What all workers have counted, for the one that asked."""

    counts: Counts


class Drain(Struct, frozen=True, tag=True):
    """The end: running calls may go on for the grace, or not at all in a hurry."""

    hurry: bool = False


class Ready(Struct, frozen=True, tag=True):
    """The worker listens."""


class Counted(Struct, frozen=True, tag=True):
    """What the worker has counted since it began."""

    counts: Counts


class Asked(Struct, frozen=True, tag=True):
    """The worker wants to know what all have counted, itself as said here."""

    counts: Counts


ToWorker = Start | Tell | Sum | Drain
FromWorker = Ready | Counted | Asked


class Line(Generic[T]):
    """One end; `T` is what may come in."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: Any
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = msgspec.msgpack.Decoder(kind)

    async def receive(self) -> T | None:
        """The next message; nothing when the other end is gone."""
        try:
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            if length > MAX_MESSAGE_BYTES:
                return None
            message: T = self._decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError):
            return None
        return message

    def put(self, message: Struct) -> None:
        """Sends without waiting; to a line that has broken nothing is sent."""
        self.put_encoded(msgspec.msgpack.encode(message))

    def put_encoded(self, content: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(LENGTH.pack(len(content)) + content)

    async def sent(self) -> None:
        """Waits until the other end has taken most of what was put."""
        try:
            await self._writer.drain()
        except OSError:
            return

    def close(self) -> None:
        self._writer.close()


async def line_over(end: socket.socket, kind: Any) -> Line[Any]:
    """A line over one end of a socket pair."""
    reader, writer = await asyncio.open_unix_connection(sock=end)
    return Line(reader, writer, kind)
