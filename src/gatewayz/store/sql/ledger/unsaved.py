"""Unsaved settlements: endings that no customer pays for, in memory while the store is away.

A free call, one of the house, and one that cost nothing end at once then, and need neither the
store nor the disk: the journal is asked to keep them, and where it cannot, they are kept here. They
are booked when the store is back; one that was booked meanwhile changes nothing. Bounded: more of
them are counted and forgotten, and their holds are given back as those of a process that has died.
"""

import asyncio
from collections.abc import Callable

from gatewayz.core.faults import Fault
from gatewayz.ledger.orders import SettleOrder
from gatewayz.store.sql.ledger.group_commit import GroupCommit

MAX_UNSAVED = 10_000
"""About 20 MB."""
ASK_AGAIN_S = 1.0
"""How often a store that is away is asked again."""
LOST_EVERY = 1_000
"""Of those that are forgotten, the operator is told of the first and of every so many."""


class UnsavedSettlements:
    """What waits for the store. `is_away`: it did not answer when it was last asked."""

    def __init__(
        self, commits: GroupCommit, warn: Callable[[str], None], max_unsaved: int = MAX_UNSAVED
    ) -> None:
        self._max_unsaved = max_unsaved
        self._commits = commits
        self._warn = warn
        self._waiting: dict[str, SettleOrder] = {}
        self._probe: SettleOrder | None = None
        self._asking: asyncio.Task[None] | None = None
        self.lost = 0
        """Settlements that were forgotten because too many waited."""

    @property
    def is_away(self) -> bool:
        """Whether the store is known to be away: then nobody needs to wait for it."""
        return self._probe is not None

    def __len__(self) -> int:
        return len(self._waiting)

    def note_away(self, order: SettleOrder, cause: str) -> None:
        """The store could not take this order: it is asked again with it, until it can."""
        if self._probe is None:
            self._warn(f"the store is away: {cause}; calls that nobody pays for go on")
        self._probe = order
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask_again())

    def keep(self, order: SettleOrder) -> None:
        """Keeps a settlement that neither the store nor the journal could take."""
        if len(self._waiting) < self._max_unsaved:
            self._waiting[order.call] = order
            return
        self.lost += 1
        if self.lost % LOST_EVERY == 1:
            self._warn(f"{self.lost} record(s) of calls that nobody pays for were forgotten")

    async def _ask_again(self) -> None:
        while (probe := self._probe) is not None:
            await asyncio.sleep(ASK_AGAIN_S)
            try:
                await self._commits.put(probe)
            except Fault as fault:
                if fault.kind == "unavailable":
                    continue
                self._warn(f"the settlement of {probe.call} was refused: {fault.operator_message}")
            # Whoever comes now is taken; what waited follows.
            self._probe = None
            await self.flush()

    async def flush(self) -> None:
        """Books what waits, in as few batches as there can be; what is refused is told."""
        orders = list(self._waiting.values())
        for order, result in [(order, self._commits.put(order)) for order in orders]:
            try:
                await result
            except Fault as fault:
                if fault.kind == "unavailable":
                    self.note_away(order, fault.operator_message)
                    continue
                self._warn(f"the settlement of {order.call} was refused: {fault.operator_message}")
            self._waiting.pop(order.call, None)

    async def close(self) -> None:
        """A last try; what is left is lost with the process."""
        if self._asking is not None:
            self._asking.cancel()
        await self.flush()
        if self._asking is not None:
            self._asking.cancel()
        if self._waiting:
            self._warn(f"{len(self._waiting)} record(s) of calls that nobody pays for are lost")
