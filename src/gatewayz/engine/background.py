"""Background tasks: work that goes on while nobody waits for it.

Every such task has an owner that ends it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from gatewayz.core.facts import Fact, Warned
from gatewayz.core.faults import Fault

MAX_MESSAGE_CHARS = 300
"""Of a worker's message to the observers."""

T = TypeVar("T")


class ShieldedTasks:
    """Work that must be finished even when whoever asked for it is cancelled: settlements,
    aborts.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Begins `work`, which nobody needs to wait for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self) -> None:
        """Waits until every task is done, those that begin meanwhile included."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    def __len__(self) -> int:
        return len(self._tasks)


class WorkerTasks:
    """The loops of a worker, which run until `stop`; one that ends by itself is reported to
    `emit`.
    """

    def __init__(self, emit: Callable[[Fact], None]) -> None:
        self._emit = emit
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Begins a loop; `name` is what the report of its end calls it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._report_end)
        self._tasks.append(task)

    def _report_end(self, task: "asyncio.Task[None]") -> None:
        """A loop that ends by itself has met something unforeseen: somebody should know."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            message = f"{task.get_name()}: {type(error).__name__}: {error}"
            self._emit(Warned(subject="worker_ended", message=message[:MAX_MESSAGE_CHARS]))

    async def stop(self) -> None:
        """Ends the loops; what they were doing is given up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def repeat(
    work: Callable[[], Awaitable[object]],
    every_s: float | Callable[[], float],
    on_fault: Callable[[Fault], None] | None = None,
    *,
    at_once: bool = False,
) -> None:
    """Waits, works, and begins again, for ever; after a fault, which is given to `on_fault`, too.

    `at_once`: it works before it waits.
    """
    while True:
        if not at_once:
            await asyncio.sleep(every_s if isinstance(every_s, float) else every_s())
        at_once = False
        try:
            await work()
        except Fault as fault:
            if on_fault is not None:
                on_fault(fault)
