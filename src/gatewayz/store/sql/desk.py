"""The desk: where accounts, users, keys and budgets are changed. Nothing is changed without an entry in the audit log.

Changes come one after the other, whichever process makes them, and each is told to all gateways by the revision.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.clock import Clock
from gatewayz.ports.replays import Claim
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.audit import Deed, recorded
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.idempotency import done_under
from gatewayz.store.sql.revising import KEYS, bumped


class Desk(Struct, frozen=True):
    """What a change needs. `actor` is who makes it: `cli:NAME`, `user:ID`, `key:ID`, `gateway`."""

    database: Database
    clock: Clock
    peppers: Peppers
    actor: str
    claim: Claim | None = None
    """The client's key for the request under which the change is made: it is made once."""

    @asynccontextmanager
    async def making(self, deed: Deed) -> AsyncIterator[AsyncConnection]:
        """One transaction for something new that nobody can know yet, with its entry; nobody need look again."""
        async with self.database.begin() as connection:
            yield connection
            await self._claimed(connection)
            await self.record(connection, deed)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[AsyncConnection]:
        """One transaction with a new revision, in which nobody else changes anything."""
        async with self.database.begin() as connection:
            await bumped(connection, KEYS)
            yield connection
            await self._claimed(connection)

    @asynccontextmanager
    async def changing(self, deed: Deed) -> AsyncIterator[AsyncConnection]:
        """The same with the deed's entry; a fault in the block leaves nothing behind."""
        async with self.locked() as connection:
            yield connection
            await self.record(connection, deed)

    async def _claimed(self, connection: AsyncConnection) -> None:
        if self.claim is not None:
            await done_under(connection, self.claim, self.clock.wall_ms())

    async def record(self, connection: AsyncConnection, deed: Deed) -> None:
        await recorded(connection, self.peppers, self.actor, deed, self.clock.wall_ms())

    async def tell(self, deed: Deed) -> None:
        """An entry for what is done elsewhere: money, which only the ledger moves."""
        async with self.database.begin() as connection:
            await self.record(connection, deed)
