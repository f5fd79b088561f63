"""Upkeep: what a process does for the store beside its calls. Every loop waits, looks, and says what it could not do.

It beats its heart, so that others know that its holds are alive; expires the holds of the dead and of the late; takes
back grants that have ended; replays the journal; checks the books; throws away what has expired.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from sqlalchemy import delete, select

from gatewayz.core.clock import Clock
from gatewayz.core.facts import Fact, Warned
from gatewayz.core.faults import Fault
from gatewayz.ledger.orders import Order, Release, Sweep
from gatewayz.store.sql.checking import DEADLINE_GRACE_S, OWNER_SILENT_S, Violation, violations
from gatewayz.store.sql.commits import GroupCommit
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.journal import DiskJournal
from gatewayz.store.sql.tables import HOLDS, IDEMPOTENCY, OWNERS, WALLETS
from gatewayz.store.sql.tokens import forget

BEAT_S = 10.0
REPLAY_S = 5.0
CHECK_S = 60.0
CHECK_SHARE = 50
"""A check that takes long is made more rarely, so that checking costs at most a fiftieth of the time."""
MAX_EXPIRED = 1_000
"""Holds and grants that one look takes up; while one finds as many, another follows."""
MAX_LOOKS = 100
"""In a row; the next turn takes the others."""
FORGET_OWNERS_S = 86_400


class Upkeep:
    """The loops of one process. `say` tells facts, `clock` the date."""

    def __init__(
        self,
        database: Database,
        commits: GroupCommit,
        journal: DiskJournal,
        clock: Clock,
        owner: str,
        say: Callable[[Fact], None],
    ) -> None:
        self._database = database
        self._commits = commits
        self._journal = journal
        self._clock = clock
        self._owner = owner
        self._say = say
        self._tasks: list[asyncio.Task[None]] = []
        self.violations: list[Violation] = []

    async def start(self) -> None:
        """Beats once, replays what the dead have left, then goes on by itself. Faults: `unavailable`."""
        await self.beat()
        await self._journal.replay(self._commits)
        for work, wait_s in ((self.beat, BEAT_S), (self.expire, BEAT_S), (self.replay, REPLAY_S)):
            self._tasks.append(asyncio.create_task(self._again(work, wait_s)))
        self._tasks.append(asyncio.create_task(self._checking()))

    async def close(self) -> None:
        """Ends the loops and says that this process holds nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._journal.replay(self._commits)
            async with self._database.begin() as connection:
                await connection.execute(delete(OWNERS).where(OWNERS.c.id == self._owner))
        except Fault:
            # The store is away: the owner's silence says the same in a minute, and the journal waits on the disk.
            return

    async def _again(self, work: Callable[[], Awaitable[None]], wait_s: float) -> None:
        while True:
            try:
                await work()
            except Fault as fault:
                self._say(Warned(subject="store", message=fault.message))
            await asyncio.sleep(wait_s)

    async def _checking(self) -> None:
        wait_s = CHECK_S
        while True:
            await asyncio.sleep(wait_s)
            began = time.monotonic()
            try:
                await self.check()
            except Fault as fault:
                self._say(Warned(subject="store", message=fault.message))
            wait_s = max(CHECK_S, CHECK_SHARE * (time.monotonic() - began))

    async def beat(self) -> None:
        now = self._clock.wall_ms()
        row = {"id": self._owner, "started_ms": now, "beat_ms": now}
        async with self._database.begin() as connection:
            await connection.execute(upsert(self._database, OWNERS, row, ("beat_ms",)))

    async def expire(self) -> None:
        """Gives back the holds of owners that are silent and of calls long past their deadline."""
        now = self._clock.wall_ms()
        ended = 0
        for _ in range(MAX_LOOKS):
            holds, wallets = await self._expired(now)
            ended += holds
            if max(holds, wallets) < MAX_EXPIRED:
                break
        if ended:
            self._say(
                Warned(
                    subject="holds",
                    message=f"{ended} hold(s) of dead or late calls were given back",
                )
            )
        await self._forget(now)

    async def _expired(self, now: int) -> tuple[int, int]:
        """Takes up what is over, as far as one look goes: how many holds and how many wallets."""
        alive = select(OWNERS.c.id).where(OWNERS.c.beat_ms > now - OWNER_SILENT_S * 1000)
        late = HOLDS.c.deadline_ms < now - DEADLINE_GRACE_S * 1000
        dead = (
            select(HOLDS.c.call_id, HOLDS.c.account_id)
            .where(HOLDS.c.owner.not_in(alive) | late)
            .limit(MAX_EXPIRED)
        )
        ended = select(WALLETS.c.account_id).where(
            WALLETS.c.promo_until_ms <= now, WALLETS.c.promo > 0
        )
        async with self._database.begin(reading=True) as connection:
            holds = (await connection.execute(dead)).all()
            wallets = (await connection.execute(ended.limit(MAX_EXPIRED))).all()
        orders: list[Order] = [
            Release(call=call, account=account, how="expire") for call, account in holds
        ]
        orders += [Sweep(account=account) for (account,) in wallets]
        for done in [self._commits.put(order) for order in orders]:
            await done
        return len(holds), len(wallets)

    async def _forget(self, now: int) -> None:
        async with self._database.begin() as connection:
            await connection.execute(delete(IDEMPOTENCY).where(IDEMPOTENCY.c.expires_ms < now))
            await connection.execute(
                delete(OWNERS).where(OWNERS.c.beat_ms < now - FORGET_OWNERS_S * 1000)
            )
            await forget(connection, now)

    async def replay(self) -> None:
        taken = await self._journal.replay(self._commits)
        if taken:
            self._say(
                Warned(
                    subject="journal",
                    message=f"the store is back: {taken} settlement(s) were booked",
                )
            )

    async def check(self) -> None:
        """Looks at the books; every violation is told."""
        self.violations = await violations(self._database, self._clock.wall_ms())
        for one in self.violations:
            self._say(Warned(subject="books", message=f"{one.check}: {one.subject}: {one.says}"))
