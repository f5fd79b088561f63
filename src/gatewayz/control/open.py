"""Opening the store: schema, ledger, journal and upkeep, in this order; closing goes backwards."""

import os
import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from msgspec import Struct

from gatewayz.control.auth.key_cache import KeyCache
from gatewayz.control.bootstrap import create_bootstrap_key
from gatewayz.control.keys import pepper_ids_in_use
from gatewayz.control.retention import first_call_on_record
from gatewayz.control.transactions import ControlTransaction
from gatewayz.control.upkeep import Upkeep
from gatewayz.core.access import HOUSE
from gatewayz.core.clock import Clock
from gatewayz.core.facts import Fact, Warned
from gatewayz.core.faults import Fault
from gatewayz.core.secrets import Secret
from gatewayz.store.secret import FILE, Peppers, has_secret, load_peppers
from gatewayz.store.sql.database import Database, Location, upsert
from gatewayz.store.sql.ledger.books import LedgerBackend, StoreBooks
from gatewayz.store.sql.ledger.journal import DiskJournal
from gatewayz.store.sql.ledger.owner_locks import OwnerLock
from gatewayz.store.sql.ledger.postgres import PostgresLedger
from gatewayz.store.sql.ledger.sqlite import SqliteLedger
from gatewayz.store.sql.migrate import ensure_migrated
from gatewayz.store.sql.tables import ACCOUNTS, WALLETS


class Store(Struct, frozen=True, kw_only=True):
    """The open store of a process; `upkeep` runs in gateways only."""

    database: Database
    books: StoreBooks
    journal: DiskJournal
    upkeep: Upkeep | None = None


def owner_name() -> str:
    """A name for this process among all that hold: readable, and never used twice."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


async def open_store(
    location: Location,
    data_dir: Path,
    clock: Clock,
    emit: Callable[[Fact], None],
    stack: AsyncExitStack,
    *,
    serving: bool,
) -> Store:
    """The store, with its schema brought up to date; `stack` closes it.

    `serving`: with upkeep, which a gateway needs and a command does not; and a database that has no
    schema yet gets one, which a command refuses. Faults: `bad_request`, `unavailable` with what to
    do.
    """
    await ensure_migrated(location, creates=serving)
    database = Database(location)
    stack.push_async_callback(database.close)
    await ensure_house_account(database, clock)

    ledger = _ledger(location, clock)
    stack.push_async_callback(ledger.close)

    owner = owner_name()
    journal = DiskJournal(
        data_dir, owner, lambda message: emit(Warned(subject="journal", message=message))
    )
    journal.first_call = partial(first_call_on_record, database)
    stack.callback(journal.close)

    # The books close first: what is under way still needs the ledger and the journal.
    books = StoreBooks(
        ledger,
        journal,
        clock,
        owner,
        lambda message: emit(Warned(subject="store", message=message)),
    )
    stack.push_async_callback(books.close)
    if not serving:
        return Store(database=database, books=books, journal=journal)

    upkeep = Upkeep(database, books.commits, journal, clock, owner, emit)
    upkeep.lock = _owner_lock(data_dir, owner, emit, stack)
    await upkeep.start()
    stack.push_async_callback(upkeep.close)
    return Store(database=database, books=books, journal=journal, upkeep=upkeep)


async def open_peppers(
    database: Database, data_dir: Path, secret: Secret, older: Iterable[Secret]
) -> Peppers:
    """The installation's secrets, made at the first start of all.

    Faults: those of `check_secret`, `unavailable`.
    """
    older = tuple(older)
    await check_secret(database, data_dir, secret, older)
    return load_peppers(data_dir, secret, older)


async def check_secret(
    database: Database, data_dir: Path, secret: Secret, older: Iterable[Secret]
) -> None:
    """Makes sure that the secret of the rows is here, where there are any.

    Faults: `bad_request` where it is not: with another one no key would work, and a start would put
    a new operator's key in the old one's place.
    """
    async with database.begin(reading=True) as connection:
        pepper_ids = await pepper_ids_in_use(connection)
    if not pepper_ids:
        return
    if not has_secret(data_dir, secret):
        why = f"{data_dir / FILE} is missing and GATEWAYZ_SECRET_KEY is not set"
        raise _foreign_secret(database.location, why)
    peppers = load_peppers(data_dir, secret, older)
    if not any(peppers.get(pepper_id) for pepper_id in pepper_ids):
        raise _foreign_secret(database.location, "the secret here is another one")


def _foreign_secret(location: Location, why: str) -> Fault:
    return Fault(
        "bad_request",
        f"The keys of {location.shown} were made with another secret than this machine's: {why}. "
        f"Put that installation's file {FILE!r} into data_dir, or set GATEWAYZ_SECRET_KEY to what "
        "it was. If it is lost: `gatewayz keys reset --lost-secret` ends all keys and makes a new "
        "operator's key.",
    )


def _owner_lock(
    data_dir: Path, owner: str, emit: Callable[[Fact], None], stack: AsyncExitStack
) -> OwnerLock | None:
    """The lock by which others know that this process lives; they wait a minute without it."""
    try:
        lock = OwnerLock(data_dir, owner)
    except OSError as error:
        emit(Warned(subject="store", message=f"no lock in {data_dir}: {error}"))
        return None
    stack.callback(lock.close)
    return lock


def _ledger(location: Location, clock: Clock) -> LedgerBackend:
    if location.kind == "postgresql":
        return PostgresLedger(location, clock)
    return SqliteLedger(location.path, clock)


async def ensure_house_account(database: Database, clock: Clock) -> None:
    """The account of the operator's own use exists from the first start on."""
    account = {
        "id": HOUSE,
        "name": "House",
        "billing": "house",
        "status": "active",
        "created_ms": clock.wall_ms(),
    }
    wallet = {"account_id": HOUSE, "billing": "house"}
    async with database.begin() as connection:
        await connection.execute(upsert(connection, ACCOUNTS, account))
        await connection.execute(upsert(connection, WALLETS, wallet))


async def open_keys(
    transaction: ControlTransaction,
    bootstrap_key: Secret,
    stack: AsyncExitStack,
    emit: Callable[[Fact], None],
) -> tuple[KeyCache, str]:
    """The keys, and the operator's first one where it was made now; empty where it was not.

    Faults: `unavailable`.
    """
    first_key = "" if bootstrap_key else await create_bootstrap_key(transaction, only_first=True)
    database, peppers, clock = transaction.database, transaction.peppers, transaction.clock
    keys = KeyCache(database, peppers, clock, bootstrap_key, emit)
    await keys.start()
    stack.push_async_callback(keys.close)
    return keys, first_key
