"""Deadlines: one timer for an attempt, moved without touching the event loop.

`asyncio.timeout` costs 8 microseconds each; an answer of a thousand events must not pay that a
thousand times. Here moving the deadline is an assignment, and the timer looks again when it fires.
"""

import asyncio
import math
from types import TracebackType
from typing import Self

from gatewayz.core.faults import Fault


class Deadline:
    """Cancels the task inside the block when the loop's clock passes its time; the block raises
    `upstream_timeout`.

    `at` is in the loop's seconds, `why` is what the fault will say.
    """

    def __init__(self, at: float, why: str) -> None:
        self._at = at
        self._why = why
        self._passed = False
        self._armed_for = math.inf
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None

    def move(self, at: float, why: str) -> None:
        """Sets another time and another reason; costs no timer unless the time comes sooner."""
        self._at, self._why = at, why
        if at < self._armed_for:
            self._arm()

    def pause(self) -> None:
        """Takes the time away while somebody else is waited for."""
        self._at = math.inf

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._arm()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        # A cancellation that came from elsewhere at the same time must go on: only ours is taken
        # back.
        if (
            self._passed
            and self._task is not None
            and self._task.uncancel() == 0
            and kind is asyncio.CancelledError
        ):
            raise Fault("upstream_timeout", self._why) from error

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._armed_for = self._at
        self._handle = self._loop.call_at(self._at, self._fire)

    def _fire(self) -> None:
        self._handle, self._armed_for = None, math.inf
        if math.isinf(self._at):
            return
        if self._loop.time() < self._at:
            self._arm()
            return
        self._passed = True
        if self._task is not None:
            self._task.cancel()
