"""A desk for tests, and a store that can be taken away from whoever uses it."""

from contextlib import asynccontextmanager

from gatewayz.core.secrets import Secret
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.database import Database, store_away
from gatewayz.store.sql.desk import Desk
from tests.support.clocks import ManualClock

SECRET = Secret("the-installations-secret")


def desk_at(database: Database, clock: ManualClock, *secrets: Secret) -> Desk:
    return Desk(database, clock, Peppers(secrets or (SECRET,)), "test")


class AwayDatabase:
    """A real store behind a door: `away` shuts it, `held` keeps transactions from ending, `begun` counts them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.away = False
        self.held = None
        self.begun = 0

    @asynccontextmanager
    async def begin(self, *, reading: bool = False):
        if self.away:
            raise store_away(ConnectionRefusedError("nobody listens"))
        self.begun += 1
        async with self._database.begin(reading=reading) as connection:
            yield connection
        held = self.held
        if held is not None:
            await held.wait()
