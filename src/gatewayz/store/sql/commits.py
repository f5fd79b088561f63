"""Group commit: what waits is carried out together, at once when idle; what arrives meanwhile is the next batch.

Bounded: so many orders may wait. An order that the store refuses fails alone, never its whole batch.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from gatewayz.core.faults import Fault
from gatewayz.ledger.orders import Done, Order

MAX_BATCH = 500
MAX_WAITING = 20_000
RETRY_S = 1.0
SIBLINGS = 2
LINGER_S = 0.001
"""After a batch of so many orders the next one is waited for so long: under load, commits are fewer and larger."""
Commit = Callable[[Sequence[Order]], Awaitable[list[Done]]]


class GroupCommit:
    """Takes orders and commits them in batches through one `commit` at a time."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._waiting: deque[tuple[Order, asyncio.Future[Done]]] = deque()
        self._running: asyncio.Task[None] | None = None

    def put(self, order: Order) -> "asyncio.Future[Done]":
        """The order's future; its exception is a fault. Cancelling one that still waits takes the order back."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Done] = loop.create_future()
        if len(self._waiting) >= MAX_WAITING:
            future.set_exception(
                Fault("unavailable", "Too much waits for the store.", retry_after_s=RETRY_S)
            )
            return future
        self._waiting.append((order, future))
        if self._running is None:
            self._running = loop.create_task(self._run())
        return future

    async def _run(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), MAX_BATCH)
                taken = [self._waiting.popleft() for _ in range(count)]
                await self._together(
                    [(order, future) for order, future in taken if not future.cancelled()]
                )
                if count >= SIBLINGS:
                    await asyncio.sleep(LINGER_S)
        finally:
            self._running = None

    async def _together(self, batch: "list[tuple[Order, asyncio.Future[Done]]]") -> None:
        if not batch:
            return
        try:
            dones = await self._commit([order for order, _ in batch])
        except Fault as fault:
            await self._failed(batch, fault)
            return
        except Exception as error:  # noqa: BLE001 - around a worker: whoever waits must hear of it
            await self._failed(
                batch, Fault("internal", f"The store refused what was booked: {error!r}")
            )
            return
        for (_, future), done in zip(batch, dones, strict=True):
            if not future.done():
                future.set_result(done)

    async def _failed(
        self, batch: "list[tuple[Order, asyncio.Future[Done]]]", fault: Fault
    ) -> None:
        if fault.kind == "internal" and len(batch) > 1:
            for one in batch:
                await self._together([one])
            return
        for _, future in batch:
            if not future.done():
                future.set_exception(fault)

    async def finished(self) -> None:
        """Waits until nothing waits any more."""
        while self._running is not None:
            await asyncio.wait([self._running])
