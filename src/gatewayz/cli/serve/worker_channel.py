"""The channel between the supervisor and a worker: messages over a socket pair, length first."""

import asyncio
import socket
import struct
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from gatewayz.observe.metrics_snapshot import MetricsSnapshot
from gatewayz.settings import LoadedSettings

LENGTH = struct.Struct(">I")
MAX_MESSAGE_BYTES = 64 * 2**20
"""Far above what the bounded labels of the metrics can fill."""
T = TypeVar("T")


class StartWorker(Struct, frozen=True, tag=True, kw_only=True):
    """The first message: what to be. `listening` is a descriptor; one worker prints the banner."""

    loaded: LoadedSettings
    worker: int
    workers: int
    listening: int
    prints_banner: bool


class CountsRequest(Struct, frozen=True, tag=True):
    """Asks for the worker's counts."""


class CountsTotal(Struct, frozen=True, tag=True):
    """The counts of all workers, for the one that asked."""

    counts: MetricsSnapshot


class Drain(Struct, frozen=True, tag=True):
    """The end: running calls may go on for the grace, or not at all in a hurry."""

    hurry: bool = False


class Ready(Struct, frozen=True, tag=True):
    """The worker listens."""


class Alive(Struct, frozen=True, tag=True):
    """The worker's loop runs; sent where there is nothing else to say."""


class CountsReport(Struct, frozen=True, tag=True):
    """What the worker has counted since it started."""

    counts: MetricsSnapshot


class CountsTotalRequest(Struct, frozen=True, tag=True):
    """The worker asks for the counts of all; its own are here."""

    counts: MetricsSnapshot


ToWorker = StartWorker | CountsRequest | CountsTotal | Drain
FromWorker = Ready | Alive | CountsReport | CountsTotalRequest


class MessageChannel(Generic[T]):
    """One end of the channel; `T` is what may come in."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: Any
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = msgspec.msgpack.Decoder(kind)

    async def receive(self) -> T | None:
        """The next message; nothing when the other end is gone, or says what nobody understands."""
        try:
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            if length > MAX_MESSAGE_BYTES:
                return None
            message: T = self._decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError, msgspec.DecodeError):
            return None
        return message

    def send(self, message: Struct) -> None:
        """Sends without waiting; over a broken channel nothing is sent."""
        self.send_encoded(msgspec.msgpack.encode(message))

    def send_encoded(self, content: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(LENGTH.pack(len(content)) + content)

    async def flush(self) -> None:
        """Waits until the other end has taken most of what was sent."""
        try:
            await self._writer.drain()
        except OSError:
            return

    def close(self) -> None:
        self._writer.close()


async def open_channel(end: socket.socket, kind: Any) -> MessageChannel[Any]:
    """The channel over one end of a socket pair."""
    reader, writer = await asyncio.open_unix_connection(sock=end)
    return MessageChannel(reader, writer, kind)
