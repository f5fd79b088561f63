"""The books over a database: the port `Books`, by group commit, with a journal for outages."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.calls import Call, Outcome
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import Clock, SteadyClock
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.ledger.orders import (
    ExtendOrder,
    HoldOrder,
    Order,
    OrderResult,
    ReleaseOrder,
    SettleOrder,
)
from gatewayz.ports.books import Hold, ReplayRecord
from gatewayz.store.sql.database import STORE_RETRY_S
from gatewayz.store.sql.ledger.group_commit import GroupCommit
from gatewayz.store.sql.ledger.records import rows_of
from gatewayz.store.sql.ledger.unsaved import UnsavedSettlements

RELEASE_RETRY_S = 1.0
MAX_UNCONFIRMED = 10_000
"""Holds of which nobody knows whether they were made; more of them are left to their expiry."""
MAX_EXHAUSTED = 10_000


class BooksTimeouts(Struct, frozen=True, kw_only=True):
    """How long the store is waited for, in seconds.

    A hold: until the call is refused as `unavailable`. A settlement: how long it is tried, and how
    often, before it goes to the journal (keep-alives go to the client meanwhile).
    """

    hold_s: float = 2.5
    settle_s: float = 5.0
    retry_s: float = 0.25


class LedgerBackend(Protocol):
    """Carries out a batch of orders in one transaction."""

    def commit(self, orders: Sequence[Order]) -> Awaitable[list[OrderResult]]: ...

    async def close(self) -> None: ...


class SettlementJournal(Protocol):
    """Keeps settlements that the store could not take, across a crash."""

    @property
    def has_room(self) -> bool:
        """Whether there is room for what no customer pays for, beside what one does."""
        ...

    async def append(self, order: SettleOrder) -> None:
        """Returns when the order is on the disk. Faults: `unavailable` if it is full or broken."""
        ...


class StoreBooks:
    """The port `Books`. `owner` names this process in its holds."""

    def __init__(
        self,
        ledger: LedgerBackend,
        journal: SettlementJournal,
        clock: Clock,
        owner: str,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.commits = GroupCommit(ledger.commit)
        self._journal = journal
        self._clock = clock
        self._steady = SteadyClock(clock)
        self.owner = owner
        self.timeouts = BooksTimeouts()
        self._warn = warn or _tell_nobody
        self.unsaved = UnsavedSettlements(self.commits, self._warn)
        self.unconfirmed_holds: dict[str, str] = {}
        """Accounts by call: holds of which nobody knows whether they were made."""
        self.exhausted_budgets: set[str] = set()
        """Subjects whose budgets have refused a call since somebody looked: for notifications."""
        self._releasing: asyncio.Task[None] | None = None

    async def hold(self, call: Call, ceiling: Ceiling) -> Hold:
        principal = call.principal
        if not ceiling.step or (principal.billing == "house" and not call.budgets):
            # Nobody can be refused, so nothing needs to be held: one transaction less a call.
            return Hold(call.id, principal.account, Nanos(0), recorded=False)
        order = HoldOrder(
            call=call.id,
            account=principal.account,
            ceiling=ceiling,
            key=principal.key,
            owner=self.owner,
            budgets=call.budgets,
            deadline_ms=self._steady.wall_ms() + round((call.deadline - self._clock.now()) * 1000),
        )
        result = await self._commit_hold(order)
        if result.fault is not None:
            self._note_exhausted_budget(result)
            raise result.fault
        return Hold(call.id, principal.account, result.moved, free=result.free)

    async def extend(self, hold: Hold, amount: Nanos) -> Hold:
        order = ExtendOrder(call=hold.call, account=hold.account, amount=amount)
        try:
            result = await asyncio.wait_for(self.commits.put(order), self.timeouts.hold_s)
        except TimeoutError:
            raise _store_timeout() from None
        if result.fault is not None:
            self._note_exhausted_budget(result)
            raise result.fault
        return replace(hold, amount=Nanos(hold.amount + result.moved))

    def _note_exhausted_budget(self, result: OrderResult) -> None:
        if result.budget and len(self.exhausted_budgets) < MAX_EXHAUSTED:
            self.exhausted_budgets.add(result.budget)

    async def settle(
        self, call: Call, hold: Hold, outcome: Outcome, replay: ReplayRecord | None = None
    ) -> bool:
        order = SettleOrder(
            call=call.id,
            account=hold.account,
            cost=outcome.cost,
            rows=rows_of(call, outcome, hold.amount),
            replay_key=replay.key if replay is not None else "",
            answer=replay.answer if replay is not None else None,
            budgets=call.budgets,
        )
        # Where no customer pays, nobody waits for a store that is known to be away.
        is_paid = outcome.cost > 0 and call.principal.billing != "house"
        if not is_paid and self.unsaved.is_away:
            await self._keep(order)
            return True

        timeouts, clock = self.timeouts, self._clock
        until = clock.now() + timeouts.settle_s
        while True:
            try:
                result = await asyncio.wait_for(
                    self.commits.put(order), max(until - clock.now(), timeouts.retry_s)
                )
            except (Fault, TimeoutError) as error:
                if isinstance(error, Fault) and error.kind != "unavailable":
                    raise
                self.unsaved.note_away(order, _cause(error))
            else:
                if result.fault is not None:
                    raise result.fault
                return result.applied

            if not is_paid:
                await self._keep(order)
                return True
            # A settlement that was made although its answer was lost changes nothing when it is
            # made again, now or from the journal.
            if clock.now() + timeouts.retry_s >= until:
                await self._journal.append(order)
                return True
            await asyncio.sleep(timeouts.retry_s)

    async def _keep(self, order: SettleOrder) -> None:
        """Keeps a settlement that no customer pays for: on the disk, else in memory."""
        if self._journal.has_room:
            with suppress(Fault):
                await self._journal.append(order)
                return
        self.unsaved.keep(order)

    async def record_refused_call(self, call: Call, outcome: Outcome) -> None:
        order = SettleOrder(
            call=call.id,
            account=call.principal.account,
            cost=Nanos(0),
            rows=rows_of(call, outcome, 0),
        )
        if self.unsaved.is_away:
            self.unsaved.keep(order)
            return
        try:
            await asyncio.wait_for(self.commits.put(order), self.timeouts.hold_s)
        except (Fault, TimeoutError) as error:
            if not isinstance(error, Fault) or error.kind == "unavailable":
                self.unsaved.note_away(order, _cause(error))
                self.unsaved.keep(order)

    async def _commit_hold(self, order: HoldOrder) -> OrderResult:
        """The hold, unless it takes too long or its caller leaves.

        Then it is given back, if it comes after all.
        """
        try:
            return await asyncio.wait_for(self.commits.put(order), self.timeouts.hold_s)
        except TimeoutError:
            self._release_later(order)
            raise _store_timeout() from None
        except asyncio.CancelledError:
            self._release_later(order)
            raise
        except Fault as fault:
            if fault.kind == "unavailable":
                self._release_later(order)
            raise

    def _release_later(self, order: HoldOrder) -> None:
        """Nobody knows whether this hold was made: it is released until that is certain."""
        if len(self.unconfirmed_holds) >= MAX_UNCONFIRMED:
            return
        self.unconfirmed_holds[order.call] = order.account
        if self._releasing is None or self._releasing.done():
            self._releasing = asyncio.get_running_loop().create_task(self._release_loop())

    async def _release_loop(self) -> None:
        while self.unconfirmed_holds:
            for call, account in list(self.unconfirmed_holds.items()):
                if not await self._try_release(call, account):
                    break
                del self.unconfirmed_holds[call]
            else:
                continue
            await asyncio.sleep(RELEASE_RETRY_S)

    async def _try_release(self, call: str, account: str) -> bool:
        """Whether this hold needs no further try: it is released, or never will be from here.

        One that the store refuses keeps no other waiting: it is left to its expiry.
        """
        release = self.commits.put(ReleaseOrder(call=call, account=account))
        try:
            await asyncio.wait_for(release, self.timeouts.settle_s)
        except TimeoutError:
            return False
        except Fault as fault:
            if fault.kind == "unavailable":
                return False
            self._warn(f"the hold of {call} is left to its expiry: {fault.operator_message}")
        return True

    async def finish(self) -> None:
        """Waits for what is under way; holds that are in doubt are left to their expiry."""
        await self.commits.finish()

    async def close(self) -> None:
        await self.finish()
        await self.unsaved.close()
        if self._releasing is not None:
            self._releasing.cancel()


def _tell_nobody(message: str) -> None:
    """A command that ends soon has nobody to tell."""


def _cause(error: Fault | TimeoutError) -> str:
    return error.operator_message if isinstance(error, Fault) else "it does not answer"


def _store_timeout() -> Fault:
    return Fault("unavailable", "The store does not answer.", retry_after_s=STORE_RETRY_S)
