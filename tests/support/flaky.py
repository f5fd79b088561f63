"""A ledger that goes wrong at the k-th batch, in a way that the test names; before and after it does what it is told."""

import asyncio
from collections.abc import Sequence

from gatewayz.core.faults import Fault
from gatewayz.ledger.orders import Done, Order
from gatewayz.store.sql.books import Patience, StoreBooks

QUICK = Patience(hold_s=0.8, settle_s=0.8, again_s=0.02)
HOWS = ("fault", "lost", "late", "silent")
"""Nothing is done and it says so; done, but the answer is lost; done after everybody has given up; neither, for so long."""


class FlakyLedger:
    """Stands between the books' group commit and their ledger. `reached` is set when the k-th batch has come."""

    def __init__(self, books: StoreBooks) -> None:
        self._commit = books.commits._commit
        self._countdown = 0
        self._how = ""
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.away = False
        books.commits._commit = self.commit
        books.patience = QUICK

    def arm(self, number: int, how: str) -> None:
        """The batch with this number from now on goes wrong."""
        self._countdown, self._how = number, how
        self.reached.clear()
        self.go_on.clear()

    async def commit(self, orders: Sequence[Order]) -> list[Done]:
        if self.away:
            raise Fault("unavailable", "The store is away.", retry_after_s=1.0)
        self._countdown -= 1
        if self._countdown != 0:
            return await self._commit(orders)
        self.reached.set()
        return await getattr(self, f"_{self._how}")(orders)

    async def _fault(self, orders: Sequence[Order]) -> list[Done]:
        raise Fault("unavailable", "The store broke.", retry_after_s=1.0)

    async def _lost(self, orders: Sequence[Order]) -> list[Done]:
        await self._commit(orders)
        raise Fault("unavailable", "The store's answer was lost.", retry_after_s=1.0)

    async def _late(self, orders: Sequence[Order]) -> list[Done]:
        await asyncio.sleep(1.5 * QUICK.settle_s)
        return await self._commit(orders)

    async def _silent(self, orders: Sequence[Order]) -> list[Done]:
        await asyncio.sleep(1.5 * QUICK.settle_s)
        raise Fault("unavailable", "The store said nothing.", retry_after_s=1.0)

    async def _waits(self, orders: Sequence[Order]) -> list[Done]:
        """Until the test lets it go on."""
        await self.go_on.wait()
        return await self._commit(orders)
