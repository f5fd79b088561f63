"""A control transaction for tests, and a store that can be taken away from whoever uses it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.secrets import Secret
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.database import Database, store_unavailable
from tests.support.clocks import ManualClock

SECRET = Secret("the-installations-secret")


def control_transaction(
    database: Database, clock: ManualClock, *secrets: Secret
) -> ControlTransaction:
    return ControlTransaction(database, clock, Peppers(secrets or (SECRET,)), "test")


class FailingDatabase(Database):
    """A real store that a test can take away.

    While `away`, nothing begins; `commit_gate` keeps transactions from ending until it is set;
    `begin_count` counts them.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.away = False
        self.commit_gate: asyncio.Event | None = None
        self.begin_count = 0

    @asynccontextmanager
    async def begin(
        self, *, reading: bool = False, frozen: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        if self.away:
            raise store_unavailable(ConnectionRefusedError("nobody listens"))
        self.begin_count += 1
        async with self._database.begin(reading=reading, frozen=frozen) as connection:
            yield connection
        gate = self.commit_gate
        if gate is not None:
            await gate.wait()
