"""A ledger that goes wrong at the k-th batch, in a way that the test names; before and after it does what it is told."""

import asyncio
from collections.abc import Sequence

from gatewayz.core.faults import Fault
from gatewayz.ledger.orders import Order, OrderResult
from gatewayz.store.sql.ledger.books import BooksTimeouts, StoreBooks

QUICK = BooksTimeouts(hold_s=0.15, settle_s=0.15, retry_s=0.02)
"""For orders that are never answered in time: the sooner the books give up, the better."""
PATIENT = BooksTimeouts(hold_s=60, settle_s=60, retry_s=0.02)
"""For orders that are answered, however slow the machine is."""
LATE_S = 1.5 * QUICK.settle_s
"""Timers go off in their order: whoever waits has given up by then, on any machine."""
FAILURES = ("fault", "answer_lost", "late", "silent")
"""Nothing is done and it says so; done, but the answer is lost; done after everybody has given up; neither, for so long."""
UNANSWERED = ("late", "silent")


class FlakyLedger:
    """Stands between the books' group commit and their ledger. `reached` is set when the k-th batch has come."""

    def __init__(self, books: StoreBooks) -> None:
        self._books = books
        self._commit = books.commits._commit
        self._countdown = 0
        self._how = ""
        self._away = False
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        books.commits._commit = self.commit
        books.timeouts = PATIENT

    @property
    def away(self) -> bool:
        """Whether the store refuses everything."""
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        self._away = away
        self._books.timeouts = QUICK if away else PATIENT

    def arm(self, number: int, how: str) -> None:
        """The batch with this number from now on goes wrong."""
        self._countdown, self._how = number, how
        self.reached.clear()
        self.go_on.clear()
        self._prepare_timeouts()

    async def commit(self, orders: Sequence[Order]) -> list[OrderResult]:
        if self._away:
            raise Fault("unavailable", "The store is away.", retry_after_s=1.0)
        self._countdown -= 1
        if self._countdown == 0:
            self._books.timeouts = PATIENT
            self.reached.set()
            return await getattr(self, f"_{self._how}")(orders)
        results = await self._commit(orders)
        self._prepare_timeouts()
        return results

    def _prepare_timeouts(self) -> None:
        """Whoever comes next waits for an answer, or in vain."""
        if self._countdown == 1 and self._how in UNANSWERED:
            self._books.timeouts = QUICK

    async def _fault(self, orders: Sequence[Order]) -> list[OrderResult]:
        raise Fault("unavailable", "The store broke.", retry_after_s=1.0)

    async def _answer_lost(self, orders: Sequence[Order]) -> list[OrderResult]:
        await self._commit(orders)
        raise Fault("unavailable", "The store's answer was lost.", retry_after_s=1.0)

    async def _late(self, orders: Sequence[Order]) -> list[OrderResult]:
        await asyncio.sleep(LATE_S)
        return await self._commit(orders)

    async def _silent(self, orders: Sequence[Order]) -> list[OrderResult]:
        await asyncio.sleep(LATE_S)
        raise Fault("unavailable", "The store said nothing.", retry_after_s=1.0)

    async def _waits(self, orders: Sequence[Order]) -> list[OrderResult]:
        """Until the test lets it go on."""
        await self.go_on.wait()
        return await self._commit(orders)
