"""Control transactions: nothing that operators and customers change goes without an audit entry.

Changes come one after the other, whichever process makes them, and all gateways learn of each
by the revision that it raises.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.control import audit
from gatewayz.control.audit import AuditEvent
from gatewayz.control.idempotency import mark_claim_done
from gatewayz.core.clock import Clock
from gatewayz.ports.replays import Claim
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.revisions import KEYS, increment_revision


class ControlTransaction(Struct, frozen=True):
    """Begins transactions that change something, in the name of an actor.

    `actor` is who changes it: `cli:NAME`, `user:ID`, `key:ID`, `gateway`. `claim` is the
    idempotency key of the request under which it happens, so that it happens once.
    Example: ControlTransaction(database, clock, peppers, actor="cli:anna")
    """

    database: Database
    clock: Clock
    peppers: Peppers
    actor: str
    claim: Claim | None = None

    @asynccontextmanager
    async def begin_create(self, event: AuditEvent) -> AsyncIterator[AsyncConnection]:
        """One transaction for something new that nobody can know yet, with its audit entry.

        It raises no revision: no cache can hold what was not there.
        """
        async with self.database.begin() as connection:
            yield connection
            await self._complete_claim(connection)
            await self.append_event(connection, event)

    @asynccontextmanager
    async def begin_locked(self) -> AsyncIterator[AsyncConnection]:
        """One transaction with a new revision, in which nobody else changes anything."""
        async with self.database.begin() as connection:
            await increment_revision(connection, KEYS)
            yield connection
            await self._complete_claim(connection)

    @asynccontextmanager
    async def begin_change(self, event: AuditEvent) -> AsyncIterator[AsyncConnection]:
        """The same with an audit entry; a fault in the block leaves nothing behind."""
        async with self.begin_locked() as connection:
            yield connection
            await self.append_event(connection, event)

    async def _complete_claim(self, connection: AsyncConnection) -> None:
        if self.claim is not None:
            await mark_claim_done(connection, self.claim, self.clock.wall_ms())

    async def append_event(self, connection: AsyncConnection, event: AuditEvent) -> None:
        """An audit entry within a transaction that is open."""
        now_ms = self.clock.wall_ms()
        await audit.append_event(connection, self.peppers, self.actor, event, now_ms)

    async def commit_event(self, event: AuditEvent) -> None:
        """An entry in a transaction of its own, for what only the ledger changes: money."""
        async with self.database.begin() as connection:
            await self.append_event(connection, event)
