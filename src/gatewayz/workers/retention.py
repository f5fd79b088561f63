"""Retention: a worker that deletes records of calls and entries of the audit log in their time."""

import asyncio
from collections.abc import Awaitable, Callable

from gatewayz.control import retention
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.facts import Fact, Warned
from gatewayz.core.faults import Fault
from gatewayz.engine.background import WorkerTasks

LOOK_EVERY_S = 900.0
"""A day ends once; a gateway that was just started looks after a quarter of an hour."""
BREATH_S = 0.05
"""Between slices: whoever waits for the database comes first."""


class Retention:
    """Deletes what is older than so many days; of zero days nothing."""

    def __init__(
        self,
        transaction: ControlTransaction,
        emit: Callable[[Fact], None],
        calls_days: int,
        audit_days: int,
    ) -> None:
        self._database = transaction.database
        self._peppers = transaction.peppers
        self._clock = transaction.clock
        self._emit = emit
        self._calls_days = calls_days
        self._audit_days = audit_days
        self.tasks = WorkerTasks(emit)

    def start(self) -> None:
        """Looks now and then, until `stop`, if there is anything to delete one day."""
        if self._calls_days or self._audit_days:
            self.tasks.repeat("retention", self.run_once, LOOK_EVERY_S, self._warn)

    async def stop(self) -> None:
        """Ends the loop; a slice that is not committed is as if it were not begun."""
        await self.tasks.stop()

    async def run_once(self) -> int:
        """Deletes all that is old enough, in slices; how many rows. Faults: `unavailable`."""
        deleted, now_ms = 0, self._clock.wall_ms()
        if self._calls_days:
            deleted += await self._delete_by_parts(
                lambda: retention.delete_old_calls(self._database, self._calls_days, now_ms)
            )
        if self._audit_days:
            deleted += await self._delete_by_parts(
                lambda: retention.delete_old_entries(
                    self._database, self._peppers, self._audit_days, now_ms
                )
            )
        return deleted

    async def _delete_by_parts(self, delete_part: Callable[[], Awaitable[int]]) -> int:
        deleted = 0
        for _ in range(retention.MAX_SLICES):
            count = await delete_part()
            deleted += count
            if count < retention.SLICE_ROWS:
                break
            await asyncio.sleep(BREATH_S)
        return deleted

    def _warn(self, fault: Fault) -> None:
        self._emit(Warned(subject="retention", message=fault.message))
