"""Opening the store: schema, ledger, journal and upkeep, in order; closing goes backwards."""

import os
import secrets
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct

from gatewayz.core.access import HOUSE
from gatewayz.core.clock import Clock
from gatewayz.core.facts import Fact, Warned
from gatewayz.store.sql.books import StoreBooks
from gatewayz.store.sql.database import Database, Location, upsert
from gatewayz.store.sql.journal import DiskJournal
from gatewayz.store.sql.migrating import up_to_date
from gatewayz.store.sql.postgres_ledger import PostgresLedger
from gatewayz.store.sql.sqlite_ledger import SqliteLedger
from gatewayz.store.sql.tables import ACCOUNTS, WALLETS
from gatewayz.store.sql.upkeep import Upkeep


class Store(Struct, frozen=True):
    """The open store of a process."""

    database: Database
    books: StoreBooks
    journal: DiskJournal
    upkeep: Upkeep | None = None


def owner_name() -> str:
    """A name for this process among all that hold: readable, and never used twice."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


async def opened(
    location: Location,
    data_dir: Path,
    clock: Clock,
    emit: Callable[[Fact], None],
    stack: AsyncExitStack,
    *,
    serving: bool,
) -> Store:
    """The store, with its schema brought up to date. `serving`: with upkeep, as a gateway needs it and a command not.

    Faults: `unavailable` with what to do.
    """
    await up_to_date(location)
    database = Database(location)
    stack.push_async_callback(database.close)
    await ensure_house(database, clock)
    ledger = (
        PostgresLedger(location, clock)
        if location.kind == "postgresql"
        else SqliteLedger(location.path, clock)
    )
    stack.push_async_callback(ledger.close)
    owner = owner_name()
    journal = DiskJournal(
        data_dir, owner, lambda message: emit(Warned(subject="journal", message=message))
    )
    stack.callback(journal.close)
    books = StoreBooks(ledger, journal, clock, owner)
    stack.push_async_callback(books.close)
    if not serving:
        return Store(database, books, journal)
    upkeep = Upkeep(database, books.commits, journal, clock, owner, emit)
    await upkeep.start()
    stack.push_async_callback(upkeep.close)
    return Store(database, books, journal, upkeep)


async def ensure_house(database: Database, clock: Clock) -> None:
    """The bootstrap account exists from the first start on."""
    row = {
        "id": HOUSE,
        "name": "House",
        "billing": "house",
        "status": "active",
        "created_ms": clock.wall_ms(),
    }
    async with database.begin() as connection:
        await connection.execute(upsert(database, ACCOUNTS, row))
        await connection.execute(
            upsert(database, WALLETS, {"account_id": HOUSE, "billing": "house"})
        )
