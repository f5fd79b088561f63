"""The books over a database: the port `Books`, by group commit, with a journal for when the store is away."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Protocol

from gatewayz.core.calls import Call, Outcome
from gatewayz.core.clock import Clock
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.ledger.orders import Done, Extend, Order, Release, Settle
from gatewayz.ledger.orders import Hold as HoldOrder
from gatewayz.ports.books import Hold, Replay
from gatewayz.store.sql.commits import GroupCommit
from gatewayz.store.sql.records import rows_of

HOLD_S = 2.5
"""How long a hold may take before the caller is told to come back."""
SETTLE_S = 5.0
"""How long a settlement is tried again before it goes to the journal; keep-alives leave meanwhile."""
SETTLE_AGAIN_S = 0.25
RETRY_S = 2.0


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
        done = await self._in_time(order, call.id)
        if done.fault is not None:
            raise done.fault
        return Hold(call.id, who.account, ceiling)

    async def extend(self, hold: Hold, amount: Nanos) -> Hold:
        order = Extend(call=hold.call, account=hold.account, amount=amount)
        try:
            done = await asyncio.wait_for(self.commits.put(order), HOLD_S)
        except TimeoutError:
            raise _silent() from None
        if done.fault is not None:
            raise done.fault
        return Hold(hold.call, hold.account, Nanos(hold.amount + done.moved))

    async def settle(self, call: Call, hold: Hold, outcome: Outcome, replay: Replay | None = None) -> bool:
        order = Settle(
            call=call.id,
            account=hold.account,
            cost=outcome.cost,
            rows=rows_of(call, outcome, hold.amount),
            replay_key=replay.key if replay is not None else "",
            answer=replay.answer if replay is not None else None,
            budgets=call.budgets,
        )
        until = self._clock.now() + SETTLE_S
        while True:
            try:
                done = await asyncio.wait_for(self.commits.put(order), max(until - self._clock.now(), SETTLE_AGAIN_S))
            except (Fault, TimeoutError) as error:
                if isinstance(error, Fault) and error.kind != "unavailable":
                    raise
            else:
                if done.fault is not None:
                    raise done.fault
                return done.fresh
            if self._clock.now() + SETTLE_AGAIN_S >= until:
                await self._journal.keep(order)
                return True
            await asyncio.sleep(SETTLE_AGAIN_S)

    async def refused(self, call: Call, outcome: Outcome) -> None:
        order = Settle(call=call.id, account=call.principal.account, cost=Nanos(0), rows=rows_of(call, outcome, 0))
        with suppress(Fault, TimeoutError):
            await asyncio.wait_for(self.commits.put(order), HOLD_S)

    async def _in_time(self, order: HoldOrder, call_id: str) -> Done:
        """The hold, unless it takes too long or its caller leaves: then it is given back when it comes after all."""
        future = self.commits.put(order)
        try:
            return await asyncio.wait_for(asyncio.shield(future), HOLD_S)
        except TimeoutError:
            self._give_back(future, order)
            raise _silent() from None
        except asyncio.CancelledError:
            self._give_back(future, order)
            raise

    def _give_back(self, future: "asyncio.Future[Done]", order: HoldOrder) -> None:
        def release(ended: "asyncio.Future[Done]") -> None:
            if not ended.cancelled() and ended.exception() is None and ended.result().fresh:
                given = self.commits.put(Release(call=order.call, account=order.account))
                given.add_done_callback(_seen)

        future.add_done_callback(release)

    async def finished(self) -> None:
        await self.commits.finished()


def _silent() -> Fault:
    return Fault("unavailable", "The store does not answer.", retry_after_s=RETRY_S)


def _seen(future: "asyncio.Future[Done]") -> None:
    """A release that the store could not take is left to the expiry of the hold."""
    if not future.cancelled():
        future.exception()
