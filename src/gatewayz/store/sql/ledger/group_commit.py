"""Group commit: orders that wait are carried out together, at once when idle.

What arrives meanwhile is the next batch. Bounded: so many orders may wait. An order that the store
refuses fails alone, never its whole batch.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from gatewayz.core.faults import Fault
from gatewayz.ledger.orders import Order, OrderResult

MAX_BATCH = 500
MAX_WAITING = 20_000
QUEUE_RETRY_S = 1.0
"""`Retry-After` while the queue is full: it empties faster than a store comes back."""
MIN_LINGER_BATCH = 2
LINGER_S = 0.001
"""After a batch of `MIN_LINGER_BATCH` orders or more the next one is waited for so long.

Under load, commits are fewer and larger, as with PostgreSQL's `commit_delay`; a call alone never
waits.
"""
Commit = Callable[[Sequence[Order]], Awaitable[list[OrderResult]]]
Waiting = tuple[Order, "asyncio.Future[OrderResult]"]


class GroupCommit:
    """Takes orders and commits them in batches through one `commit` at a time."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._waiting: deque[Waiting] = deque()
        self._running: asyncio.Task[None] | None = None

    def put(self, order: Order) -> "asyncio.Future[OrderResult]":
        """The order's future; its exception is a fault.

        Cancelling one that still waits takes the order back.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[OrderResult] = loop.create_future()
        if len(self._waiting) >= MAX_WAITING:
            message = "Too many orders wait for the store."
            future.set_exception(Fault("unavailable", message, retry_after_s=QUEUE_RETRY_S))
            return future
        self._waiting.append((order, future))
        if self._running is None:
            self._running = loop.create_task(self._run())
        return future

    async def _run(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), MAX_BATCH)
                batch = [self._waiting.popleft() for _ in range(count)]
                await self._commit_batch(
                    [(order, future) for order, future in batch if not future.cancelled()]
                )
                if count >= MIN_LINGER_BATCH:
                    await asyncio.sleep(LINGER_S)
        finally:
            self._running = None

    async def _commit_batch(self, batch: list[Waiting]) -> None:
        if not batch:
            return
        try:
            results = await self._commit([order for order, _ in batch])
            pairs = list(zip(batch, results, strict=True))
        except Fault as fault:
            await self._fail_batch(batch, fault)
            return
        except Exception as error:  # noqa: BLE001 - around a worker: whoever waits must hear of it
            message = "The store refused what was booked."
            await self._fail_batch(batch, Fault("internal", message, detail=repr(error)))
            return
        for (_, future), result in pairs:
            if not future.done():
                future.set_result(result)

    async def _fail_batch(self, batch: list[Waiting], fault: Fault) -> None:
        if fault.kind == "internal" and len(batch) > 1:
            # One of them is wrong: each alone, so that only that one fails.
            for waiting in batch:
                await self._commit_batch([waiting])
            return
        for _, future in batch:
            if not future.done():
                future.set_exception(fault)

    async def finish(self) -> None:
        """Waits until nothing waits any more."""
        while self._running is not None:
            await asyncio.wait([self._running])
