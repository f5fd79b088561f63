"""Background tasks: work that goes on while nobody waits for it.

Every such task has an owner that ends it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from gatewayz.core.facts import Fact, Warned
from gatewayz.core.faults import Fault

MAX_MESSAGE_CHARS = 300
"""Of a worker's message to the observers."""
MIN_WAIT_S = 1.0
"""Between two turns of a loop that meets errors: it must not keep the process busy."""
STALLED_S = 300.0
"""A turn that takes so long beyond the wait between two has come to a stand."""

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
    """The loops of a worker, which run until `stop`: none of them ends by an error.

    What goes wrong in a turn is reported, and the next turn comes as ever: a fault to the loop's own
    `on_fault`, anything else to `emit`, at the 1st, 2nd, 4th, 8th … time in a row.
    """

    def __init__(self, emit: Callable[[Fact], None]) -> None:
        self._emit = emit
        self._tasks: list[asyncio.Task[None]] = []
        self._loops: dict[str, _Loop] = {}

    def repeat(
        self,
        name: str,
        work: Callable[[], Awaitable[object]],
        every_s: float | Callable[[], float],
        on_fault: Callable[[Fault], None] | None = None,
        *,
        at_once: bool = False,
        wake: asyncio.Event | None = None,
    ) -> None:
        """Begins a loop: it waits, works, and begins again. `at_once`: it works before it waits.

        `wake` ends a wait early. `name` is what reports, metrics and readiness call the loop.
        """
        read_every_s = (lambda: every_s) if isinstance(every_s, float) else every_s
        loop = self._loops[name] = _Loop(read_every_s, time.monotonic())
        run = self._run(name, loop, work, on_fault, wake, at_once=at_once)
        self._tasks.append(asyncio.get_running_loop().create_task(run, name=name))

    async def _run(
        self,
        name: str,
        loop: "_Loop",
        work: Callable[[], Awaitable[object]],
        on_fault: Callable[[Fault], None] | None,
        wake: asyncio.Event | None,
        *,
        at_once: bool,
    ) -> None:
        while True:
            if not at_once:
                await _wait(loop.wait_s, wake)
            at_once = False
            try:
                await work()
                loop.errors = 0
            except Fault as fault:
                loop.errors = 0
                if on_fault is not None:
                    on_fault(fault)
            except Exception as error:  # noqa: BLE001 - a loop that ended would end its work for ever
                loop.errors += 1
                self._report_error(name, loop, error)
            loop.turned_at = time.monotonic()

    def _report_error(self, name: str, loop: "_Loop", error: Exception) -> None:
        """Reports an error; one that comes again and again more and more rarely."""
        if loop.errors & (loop.errors - 1):
            return
        again = f"{loop.errors} times in a row" if loop.errors > 1 else "it goes on"
        message = f"{name}: {type(error).__name__}: {error}"[:MAX_MESSAGE_CHARS]
        self._emit(Warned(subject="background", message=f"{message} ({again})"))

    def ages_s(self) -> dict[str, float]:
        """Seconds since each loop last ended a turn, well or not."""
        now = time.monotonic()
        return {name: now - loop.turned_at for name, loop in self._loops.items()}

    def list_stalled(self) -> list[str]:
        """Loops that have not ended a turn for `STALLED_S` more than they wait between two."""
        ages = self.ages_s()
        return [
            name for name, loop in self._loops.items() if ages[name] > loop.wait_s() + STALLED_S
        ]

    async def stop(self) -> None:
        """Ends the loops; what they were doing is given up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self._loops.clear()


class _Loop:
    """What is known of a loop: how long it waits, when it last ended a turn, errors in a row."""

    def __init__(self, every_s: Callable[[], float], now: float) -> None:
        self.every_s = every_s
        self.turned_at = now
        self.errors = 0

    def wait_s(self) -> float:
        """Seconds until the next turn; after an error no less than `MIN_WAIT_S`."""
        return max(self.every_s(), MIN_WAIT_S) if self.errors else self.every_s()


async def _wait(wait_s: Callable[[], float], wake: asyncio.Event | None) -> None:
    if wake is None:
        await asyncio.sleep(wait_s())
        return
    # No `wait_for`: it may swallow a cancellation that comes with the event.
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s()):
            await wake.wait()
    wake.clear()


class LoopGroup:
    """The loops of several owners, each of which has them as `tasks`; who has none is passed over."""

    def __init__(self, *owners: object) -> None:
        found = (getattr(owner, "tasks", None) for owner in owners)
        self._loops = [tasks for tasks in found if isinstance(tasks, WorkerTasks)]

    def state(self) -> tuple[dict[str, float], list[str]]:
        """The age of every loop in seconds, and which of them stand still."""
        ages = {name: age_s for tasks in self._loops for name, age_s in tasks.ages_s().items()}
        return ages, [name for tasks in self._loops for name in tasks.list_stalled()]

    def ages_by_label(self) -> dict[tuple[str, ...], float]:
        """The ages as a metric has them."""
        return {(name,): age_s for name, age_s in self.state()[0].items()}
