"""The books over a database: the port `Books`, by group commit, with a journal for when the store is away."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Protocol

from msgspec import Struct

from gatewayz.core.calls import Call, Outcome
from gatewayz.core.clock import Clock
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.ledger.orders import Done, Extend, Order, Release, Settle
from gatewayz.ledger.orders import Hold as HoldOrder
from gatewayz.ports.books import Hold, Replay
from gatewayz.store.sql.commits import GroupCommit
from gatewayz.store.sql.records import rows_of

RETRY_S = 2.0
RELEASE_AGAIN_S = 1.0
MAX_DOUBTFUL = 10_000
"""Holds of which nobody knows whether they were made; more of them are left to their expiry."""
MAX_USED_UP = 10_000


class Patience(Struct, frozen=True, kw_only=True):
    """Seconds: how long a hold may take before the caller is told to come back; how long a settlement is tried, and how
    often, before it goes to the journal (keep-alives leave meanwhile).
    """

    hold_s: float = 2.5
    settle_s: float = 5.0
    again_s: float = 0.25


class Ledger(Protocol):
    """Carries out a batch of orders in one transaction."""

    def commit(self, orders: Sequence[Order]) -> Awaitable[list[Done]]: ...

    async def close(self) -> None: ...


class Journal(Protocol):
    """Keeps settlements that the store could not take, across a crash."""

    async def keep(self, order: Settle) -> None:
        """Returns when the order is on the disk. Faults: `unavailable` when it is full or broken."""
        ...


class StoreBooks:
    """The port `Books`. `owner` names this process in its holds."""

    def __init__(self, ledger: Ledger, journal: Journal, clock: Clock, owner: str) -> None:
        self.commits = GroupCommit(ledger.commit)
        self._journal = journal
        self._clock = clock
        self.owner = owner
        self.patience = Patience()
        self.doubtful: dict[str, str] = {}
        self.used_up: set[str] = set()
        """Subjects whose budgets have refused a call since somebody looked: for notices."""
        self._releasing: asyncio.Task[None] | None = None

    async def hold(self, call: Call, ceiling: Nanos) -> Hold:
        who = call.principal
        if not ceiling or (who.billing == "house" and not call.budgets):
            return Hold(call.id, who.account, Nanos(0), kept=False)
        order = HoldOrder(
            call=call.id,
            account=who.account,
            amount=ceiling,
            key=who.key,
            owner=self.owner,
            budgets=call.budgets,
            deadline_ms=self._clock.wall_ms() + round((call.deadline - self._clock.now()) * 1000),
        )
        done = await self._in_time(order)
        if done.fault is not None:
            self._note(done)
            raise done.fault
        return Hold(call.id, who.account, ceiling)

    async def extend(self, hold: Hold, amount: Nanos) -> Hold:
        order = Extend(call=hold.call, account=hold.account, amount=amount)
        try:
            done = await asyncio.wait_for(self.commits.put(order), self.patience.hold_s)
        except TimeoutError:
            raise _silent() from None
        if done.fault is not None:
            self._note(done)
            raise done.fault
        return Hold(hold.call, hold.account, Nanos(hold.amount + done.moved))

    def _note(self, done: Done) -> None:
        if done.budget and len(self.used_up) < MAX_USED_UP:
            self.used_up.add(done.budget)

    async def settle(
        self, call: Call, hold: Hold, outcome: Outcome, replay: Replay | None = None
    ) -> bool:
        order = Settle(
            call=call.id,
            account=hold.account,
            cost=outcome.cost,
            rows=rows_of(call, outcome, hold.amount),
            replay_key=replay.key if replay is not None else "",
            answer=replay.answer if replay is not None else None,
            budgets=call.budgets,
        )
        patience, clock = self.patience, self._clock
        until = clock.now() + patience.settle_s
        while True:
            try:
                done = await asyncio.wait_for(
                    self.commits.put(order), max(until - clock.now(), patience.again_s)
                )
            except (Fault, TimeoutError) as error:
                if isinstance(error, Fault) and error.kind != "unavailable":
                    raise
            else:
                if done.fault is not None:
                    raise done.fault
                return done.fresh
            if clock.now() + patience.again_s >= until:
                await self._journal.keep(order)
                return True
            await asyncio.sleep(patience.again_s)

    async def refused(self, call: Call, outcome: Outcome) -> None:
        order = Settle(
            call=call.id,
            account=call.principal.account,
            cost=Nanos(0),
            rows=rows_of(call, outcome, 0),
        )
        with suppress(Fault, TimeoutError):
            await asyncio.wait_for(self.commits.put(order), self.patience.hold_s)

    async def _in_time(self, order: HoldOrder) -> Done:
        """The hold, unless it takes too long or its caller leaves: then it is given back, if it comes after all."""
        try:
            return await asyncio.wait_for(self.commits.put(order), self.patience.hold_s)
        except TimeoutError:
            self._doubt(order)
            raise _silent() from None
        except asyncio.CancelledError:
            self._doubt(order)
            raise
        except Fault as fault:
            if fault.kind == "unavailable":
                self._doubt(order)
            raise

    def _doubt(self, order: HoldOrder) -> None:
        """Nobody knows whether this hold was made, and nobody wants it: it is released until that is sure."""
        if len(self.doubtful) >= MAX_DOUBTFUL:
            return
        self.doubtful[order.call] = order.account
        if self._releasing is None or self._releasing.done():
            self._releasing = asyncio.get_running_loop().create_task(self._release())

    async def _release(self) -> None:
        while self.doubtful:
            for call, account in list(self.doubtful.items()):
                try:
                    await asyncio.wait_for(
                        self.commits.put(Release(call=call, account=account)),
                        self.patience.settle_s,
                    )
                except (Fault, TimeoutError):
                    break
                del self.doubtful[call]
            else:
                continue
            await asyncio.sleep(RELEASE_AGAIN_S)

    async def finished(self) -> None:
        """Waits for what is under way; holds that are in doubt are left to their expiry."""
        await self.commits.finished()

    async def close(self) -> None:
        await self.finished()
        if self._releasing is not None:
            self._releasing.cancel()


def _silent() -> Fault:
    return Fault("unavailable", "The store does not answer.", retry_after_s=RETRY_S)
