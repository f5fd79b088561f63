"""A worker's link to its supervisor: it reports counts, asks for the total, drains on command.

When the supervisor is gone the worker drains too: nobody would start another in its place, and
nobody would stop it.
"""

import asyncio
import socket
from typing import Any

import msgspec

from gatewayz.assemble import Assembly
from gatewayz.cli.serve.worker_channel import (
    Alive,
    CountsReport,
    CountsRequest,
    CountsTotal,
    CountsTotalRequest,
    Drain,
    MessageChannel,
    Ready,
    StartWorker,
    ToWorker,
    open_channel,
)
from gatewayz.core.facts import Warned
from gatewayz.core.faults import Fault
from gatewayz.observe.metrics_snapshot import MetricsSnapshot

PUSH_S = 1.0
"""Counts of at most this long are lost when a worker is killed; so often it says that it is alive."""
TOTAL_TIMEOUT_S = 2.0
LAST_PUSH_TIMEOUT_S = 1.0


class SupervisorLink:
    """The `WorkerGroup` of a worker; `start` is what the supervisor wants of it."""

    def __init__(self, channel: MessageChannel[Any], start: StartWorker) -> None:
        self.start = start
        self.worker = start.worker
        self.workers = start.workers
        self._channel = channel
        self._total: asyncio.Future[MetricsSnapshot] | None = None
        self._last_counts = b""
        self._tasks: list[asyncio.Task[None]] = []

    async def total_metrics(self, own: MetricsSnapshot) -> MetricsSnapshot:
        if self._total is None:
            self._total = asyncio.get_running_loop().create_future()
            self._channel.send(CountsTotalRequest(own))
        try:
            # Shielded: one answer serves every scrape that waits, whichever of them gives up.
            return await asyncio.wait_for(asyncio.shield(self._total), TOTAL_TIMEOUT_S)
        except TimeoutError:
            self._total = None
            raise Fault(
                "unavailable", "The supervisor of the workers does not answer.", retry_after_s=1.0
            ) from None

    def begin(self) -> None:
        """From now on the worker says that it is alive, while it starts."""
        self._tasks = [asyncio.create_task(self._say_alive())]

    async def _say_alive(self) -> None:
        while True:
            self._channel.send(Alive())
            await asyncio.sleep(PUSH_S)

    def join(self, assembly: Assembly) -> None:
        """From now on the worker serves, reports, and obeys."""
        for task in self._tasks:
            task.cancel()
        self._tasks = [
            asyncio.create_task(self._receive_commands(assembly)),
            asyncio.create_task(self._push_counts(assembly)),
        ]
        self._channel.send(Ready())

    async def leave(self, assembly: Assembly) -> None:
        """Reports the last counts, and closes the channel."""
        for task in self._tasks:
            task.cancel()
        self._channel.send(_counts_report(assembly))
        await asyncio.wait(
            [asyncio.create_task(self._channel.flush())], timeout=LAST_PUSH_TIMEOUT_S
        )
        self._channel.close()

    async def _receive_commands(self, assembly: Assembly) -> None:
        try:
            while (message := await self._channel.receive()) is not None:
                match message:
                    case CountsRequest():
                        self._send_counts(assembly)
                    case CountsTotal(counts=counts):
                        self._resolve_total(counts)
                    case Drain(hurry=hurry):
                        assembly.server.should_exit = True
                        if hurry:
                            assembly.server.hurry()
        finally:
            # Whoever hears no commands any more must not go on without them.
            assembly.server.should_exit = True

    def _resolve_total(self, counts: MetricsSnapshot) -> None:
        waiting, self._total = self._total, None
        if waiting is not None and not waiting.done():
            waiting.set_result(counts)

    async def _push_counts(self, assembly: Assembly) -> None:
        while True:
            await asyncio.sleep(PUSH_S)
            self._send_counts(assembly)
            await self._channel.flush()

    def _send_counts(self, assembly: Assembly) -> None:
        """Sends the counts where they have changed, and else that the worker is alive.

        So it does, too, when they cannot be had: a worker that serves is not ended for its counts.
        """
        try:
            content = msgspec.msgpack.encode(_counts_report(assembly))
        except Exception as error:  # noqa: BLE001 - nobody would say any more that it is alive
            self._channel.send(Alive())
            message = f"counts: {type(error).__name__}: {error}"
            assembly.bus.emit(Warned(subject="background", message=message))
            return
        if content == self._last_counts:
            self._channel.send(Alive())
        else:
            self._channel.send_encoded(content)
            self._last_counts = content


def _counts_report(assembly: Assembly) -> CountsReport:
    assembly.bus.flush()
    return CountsReport(assembly.metrics.snapshot())


async def connect_supervisor(descriptor: int) -> SupervisorLink | None:
    """The link over an inherited descriptor; nothing when the supervisor has gone already."""
    channel = await open_channel(socket.socket(fileno=descriptor), ToWorker)
    start = await channel.receive()
    if not isinstance(start, StartWorker):
        return None
    link = SupervisorLink(channel, start)
    link.begin()
    return link
