"""Upkeep: what a process does for the store beside its calls, in loops that wait, look and report.

It beats, so that others know that its holds are alive; expires holds whose process has died or
whose call is long past its deadline; takes back grants that have ended; replays the journal; checks
the books; deletes what has expired.
"""

import asyncio
import time
from collections.abc import Callable

from sqlalchemy import and_, delete, or_, select

from gatewayz.control.owner_watch import DateWatch, OwnerWatch
from gatewayz.control.tokens import delete_expired_tokens
from gatewayz.core.clock import Clock, SteadyClock
from gatewayz.core.facts import Fact, Warned
from gatewayz.core.faults import Fault
from gatewayz.engine.background import WorkerTasks
from gatewayz.ledger.orders import ExpireGrantsOrder, Order, ReleaseOrder
from gatewayz.ledger.values import DEADLINE_GRACE_S
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.ledger.group_commit import GroupCommit
from gatewayz.store.sql.ledger.journal import DiskJournal
from gatewayz.store.sql.ledger.owner_locks import OwnerLock
from gatewayz.store.sql.ledger.reconcile import Violation, violations
from gatewayz.store.sql.tables import HOLDS, IDEMPOTENCY, OWNERS, WALLETS

BEAT_S = 10.0
REPLAY_S = 5.0
CHECK_S = 60.0
CHECK_SHARE = 50
"""A check that takes long is made more rarely: checking costs at most a fiftieth of the time."""
MAX_EXPIRED = 1_000
"""Holds and grants that one round takes up; while one finds as many, another follows."""
MAX_ROUNDS = 100
"""In a row; the next turn of the loop takes the others."""


class Upkeep:
    """The loops of one process. `owner` names it in its holds; `emit` takes what went wrong."""

    def __init__(
        self,
        database: Database,
        commits: GroupCommit,
        journal: DiskJournal,
        clock: Clock,
        owner: str,
        emit: Callable[[Fact], None],
    ) -> None:
        self.lock: OwnerLock | None = None
        """By which others know that this process lives, where it has one."""
        self._database = database
        self._commits = commits
        self._journal = journal
        self._clock = clock
        self._steady = SteadyClock(clock)
        self._owners = OwnerWatch(clock)
        self._date = DateWatch(clock)
        self._owner = owner
        self._emit = emit
        self.tasks = WorkerTasks(emit)
        self._check_every_s = CHECK_S
        self.violations: list[Violation] = []
        """What the last check of the books found."""
        self.can_book = True
        """Whether the last beat, which is a booking as any other, could be written."""

    async def start(self) -> None:
        """Beats once, replays what dead processes have left, then starts the loops.

        Faults: `unavailable`.
        """
        await self.beat()
        await self._journal.replay(self._commits)
        await self.forget_dead_owners()
        for work, every_s in ((self.beat, BEAT_S), (self.expire, BEAT_S), (self.replay, REPLAY_S)):
            self.tasks.repeat(work.__name__, work, every_s, self._warn, at_once=True)
        self.tasks.repeat("check", self._check_timed, lambda: self._check_every_s, self._warn)

    async def close(self) -> None:
        """Ends the loops and says that this process holds nothing any more."""
        await self.tasks.stop()
        try:
            await self._journal.replay(self._commits)
            async with self._database.begin() as connection:
                await connection.execute(delete(OWNERS).where(OWNERS.c.id == self._owner))
        except Fault:
            # The store is away: the silence of the owner says the same in a minute, and the journal
            # waits on the disk.
            return

    def _warn(self, fault: Fault) -> None:
        self._emit(Warned(subject="store", message=fault.operator_message))

    async def _check_timed(self) -> None:
        began = time.monotonic()
        try:
            await self.check()
        finally:
            self._check_every_s = max(CHECK_S, CHECK_SHARE * (time.monotonic() - began))

    async def beat(self) -> None:
        """Says that this process is alive; tells when the date has jumped. Faults: `unavailable`."""
        jump_s = self._date.read_jump_s()
        if jump_s:
            message = (
                f"the date of this machine jumped by {jump_s:+.0f} s (or it slept): keys, tokens, "
                "budgets and prices go by the new date; holds, claims and heartbeats do not"
            )
            self._emit(Warned(subject="clock", message=message))
        now_ms = self._clock.wall_ms()
        row = {"id": self._owner, "started_ms": now_ms, "beat_ms": now_ms}
        try:
            async with self._database.begin() as connection:
                await connection.execute(upsert(connection, OWNERS, row, ("beat_ms",)))
        except Fault:
            self.can_book = False
            raise
        self.can_book = True

    async def forget_dead_owners(self) -> None:
        """Says of processes that have died beside this one that they are silent: their holds are
        given back and their idempotency keys are free, without a minute's wait.

        Faults: `unavailable`.
        """
        if self.lock is None or not (owners := await asyncio.to_thread(self.lock.dead_owners)):
            return
        async with self._database.begin() as connection:
            await connection.execute(delete(OWNERS).where(OWNERS.c.id.in_(owners)))
        for owner in owners:
            self.lock.forget(owner)

    async def expire(self) -> None:
        """Gives back the holds of owners that are silent and of own calls long past their deadline.

        A process whose beat stands still is taken from the owners, and who is none of them is dead;
        one that was only frozen enters itself again. Faults: `unavailable`.
        """
        await self.forget_dead_owners()
        await self._delete_silent_owners()
        now_ms = self._clock.wall_ms()
        released = 0
        for _ in range(MAX_ROUNDS):
            holds, wallets = await self._release_expired(now_ms)
            released += holds
            if max(holds, wallets) < MAX_EXPIRED:
                break
        if released:
            message = f"{released} hold(s) were given back: their process has died, or they expired"
            self._emit(Warned(subject="holds", message=message))
        await self._delete_expired(now_ms)

    async def _release_expired(self, now_ms: int) -> tuple[int, int]:
        """Takes up what has expired, as far as one round goes: how many holds and wallets."""
        # A deadline is compared by whoever wrote it, as clocks of others may show another date.
        latest_ms = self._steady.wall_ms() - DEADLINE_GRACE_S * 1000
        overdue = and_(HOLDS.c.owner == self._owner, HOLDS.c.deadline_ms < latest_ms)
        expired = select(HOLDS.c.call_id, HOLDS.c.account_id).where(
            or_(HOLDS.c.owner.not_in(select(OWNERS.c.id)), overdue)
        )
        ended = select(WALLETS.c.account_id).where(
            WALLETS.c.promo_until_ms <= now_ms, WALLETS.c.promo > 0
        )
        async with self._database.begin(reading=True) as connection:
            holds = (await connection.execute(expired.limit(MAX_EXPIRED))).all()
            wallets = (await connection.execute(ended.limit(MAX_EXPIRED))).all()

        orders: list[Order] = [
            ReleaseOrder(call=call, account=account, how="expire") for call, account in holds
        ]
        orders += [ExpireGrantsOrder(account=account) for (account,) in wallets]
        # All are queued before the first is awaited, so that they are committed in few batches.
        for result in [self._commits.put(order) for order in orders]:
            await result
        return len(holds), len(wallets)

    async def _delete_silent_owners(self) -> None:
        others = select(OWNERS.c.id, OWNERS.c.beat_ms).where(OWNERS.c.id != self._owner)
        async with self._database.begin(reading=True) as connection:
            beats = [(owner, beat_ms) for owner, beat_ms in await connection.execute(others)]
        silent = self._owners.find_silent(beats)
        if not silent:
            return
        async with self._database.begin() as connection:
            for owner, beat_ms in silent:
                # One that has just beaten again lives.
                dead = and_(OWNERS.c.id == owner, OWNERS.c.beat_ms == beat_ms)
                await connection.execute(delete(OWNERS).where(dead))

    async def _delete_expired(self, now_ms: int) -> None:
        running = IDEMPOTENCY.c.state == "running"
        expires_ms, owner = IDEMPOTENCY.c.expires_ms, IDEMPOTENCY.c.owner
        own = and_(owner == self._owner, expires_ms < self._steady.wall_ms())
        ended = or_(~running, owner.not_in(select(OWNERS.c.id)), own)
        expired = and_(expires_ms < now_ms, ended)
        async with self._database.begin() as connection:
            await connection.execute(delete(IDEMPOTENCY).where(expired))
            await delete_expired_tokens(connection, now_ms)

    async def replay(self) -> None:
        """Hands what is in the journal to the store. Faults: `unavailable`."""
        booked = await self._journal.replay(self._commits)
        if booked:
            message = f"the store is back: {booked} settlement(s) were booked"
            self._emit(Warned(subject="journal", message=message))

    async def check(self) -> None:
        """Checks the books; every violation is reported. Faults: `unavailable`."""
        self.violations = await violations(self._database, self._steady.wall_ms())
        for violation in self.violations:
            message = f"{violation.check}: {violation.subject}: {violation.says}"
            self._emit(Warned(subject="books", message=message))
