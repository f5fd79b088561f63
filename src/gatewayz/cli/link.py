"""A worker's end of its line: it tells what it counts, asks for what all count, and drains when it is told to.

When the supervisor is gone the worker drains too: nobody would start another in its place, and nobody would stop it.
"""

import asyncio
import socket
from typing import Any

import msgspec

from gatewayz.assemble import Built
from gatewayz.cli.lines import (
    Asked,
    Counted,
    Drain,
    Line,
    Ready,
    Start,
    Sum,
    Tell,
    ToWorker,
    line_over,
)
from gatewayz.core.faults import Fault
from gatewayz.observe.counts import Counts

PUSH_S = 1.0
"""So much of what a worker counted is unknown when it is killed."""
ASK_S = 2.0
LAST_S = 1.0


class Link:
    """The port `Peers` of a worker; `start` is what the supervisor wants of it."""

    def __init__(self, line: Line[Any], start: Start) -> None:
        self.start = start
        self.worker = start.worker
        self.workers = start.workers
        self._line = line
        self._sum: asyncio.Future[Counts] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def together(self, own: Counts) -> Counts:
        if self._sum is None:
            self._sum = asyncio.get_running_loop().create_future()
            self._line.put(Asked(own))
        try:
            return await asyncio.wait_for(asyncio.shield(self._sum), ASK_S)
        except TimeoutError:
            self._sum = None
            raise Fault(
                "unavailable", "The supervisor of the workers does not answer.", retry_after_s=1.0
            ) from None

    def join(self, built: Built) -> None:
        """From now on the worker serves, and obeys."""
        self._tasks = [
            asyncio.create_task(self._obey(built)),
            asyncio.create_task(self._push(built)),
        ]
        self._line.put(Ready())

    async def leave(self, built: Built) -> None:
        """Tells the last numbers."""
        for task in self._tasks:
            task.cancel()
        self._line.put(_counted(built))
        await asyncio.wait([asyncio.create_task(self._line.sent())], timeout=LAST_S)
        self._line.close()

    async def _obey(self, built: Built) -> None:
        while (message := await self._line.receive()) is not None:
            match message:
                case Tell():
                    self._line.put(_counted(built))
                case Sum(counts=counts):
                    self._resolve(counts)
                case Drain(hurry=hurry):
                    built.server.should_exit = True
                    built.server.force_exit = built.server.force_exit or hurry
        built.server.should_exit = True

    def _resolve(self, counts: Counts) -> None:
        waiting, self._sum = self._sum, None
        if waiting is not None and not waiting.done():
            waiting.set_result(counts)

    async def _push(self, built: Built) -> None:
        told = b""
        while True:
            await asyncio.sleep(PUSH_S)
            content = msgspec.msgpack.encode(_counted(built))
            if content != told:
                self._line.put_encoded(content)
                await self._line.sent()
                told = content


def _counted(built: Built) -> Counted:
    built.bus.flush()
    return Counted(built.metrics.counts())


async def linked(descriptor: int) -> Link | None:
    """The link over an inherited descriptor; nothing when the supervisor has gone already."""
    line = await line_over(socket.socket(fileno=descriptor), ToWorker)
    start = await line.receive()
    return Link(line, start) if isinstance(start, Start) else None
