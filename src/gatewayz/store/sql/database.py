"""The database: where it is, and connections to it.

One file in the data directory unless a URL says otherwise. SQLite runs in WAL, so that two
processes may share the file; PostgreSQL by asyncpg, also behind a pooler that hands out connections
per transaction (`pooler`), where prepared statements cannot be kept.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import uuid4

from msgspec import Struct
from sqlalchemy import Table, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from gatewayz.core.faults import Fault

FILE = "gatewayz.db"
MEMORY = "memory:"
BUSY_MS = 5_000
"""How long SQLite waits for another process's transaction."""
CONNECT_S = 3.0
STATEMENT_S = 10.0
POOL_SIZE = 4
POOL_WAIT_S = 5.0
STORE_RETRY_S = 2.0
"""`Retry-After` while the store is away."""
LOG_PAGES = 4_000
"""Pages of the write-ahead log, 16 MB, before they are copied back into the file.

More than SQLite's 1,000: the pages that every booking changes are copied more rarely.
"""
PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_MS}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    f"PRAGMA wal_autocheckpoint={LOG_PAGES}",
)


class Location(Struct, frozen=True):
    """Which database: `path` of SQLite's file, or `dsn` of PostgreSQL; neither for memory.

    Example: Location("postgresql", dsn="postgresql://gatewayz:secret@db/gatewayz")
    """

    kind: Literal["sqlite", "postgresql", "memory"]
    path: str = ""
    dsn: str = ""
    pooler: bool = False

    @property
    def shown(self) -> str:
        """Where it is, without a password."""
        if self.kind == "postgresql":
            return make_url(self.dsn).render_as_string(hide_password=True)
        return self.path or "memory"


def location_from_url(url: str, data_dir: str, *, pooler: bool = False) -> Location:
    """The database that a URL means; an empty one is the file in the data directory.

    Faults: `bad_request`.
    """
    if url == MEMORY:
        return Location("memory")
    if not url:
        return Location("sqlite", path=str(Path(data_dir) / FILE))
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        return Location("sqlite", path=url.removeprefix("sqlite:///"))
    if scheme in {"postgres", "postgresql", "postgresql+asyncpg"}:
        try:
            make_url(url)
        except (ArgumentError, ValueError):
            raise Fault(
                "bad_request",
                "database.url is no URL; write it as postgresql://user:password@host/name",
            ) from None
        return Location("postgresql", dsn="postgresql" + url[len(scheme) :], pooler=pooler)
    raise Fault(
        "bad_request",
        f"database.url: {scheme or url!r} is no database; "
        "write sqlite:///path or postgresql://host/name",
    )


class Database:
    """Connections for everything but the hot path; one engine a process."""

    def __init__(self, location: Location, statement_s: float = STATEMENT_S) -> None:
        self.location = location
        self.engine = _engine(location, statement_s)
        self._frozen: dict[str, Any] = {}
        if location.kind == "postgresql":
            self._frozen = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

    @asynccontextmanager
    async def begin(
        self, *, reading: bool = False, frozen: bool = False
    ) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end of the block.

        `reading`: on SQLite it waits for no writer. `frozen`: all that it reads is of one moment,
        which on SQLite it always is. Faults: `unavailable` when the store is away.
        """
        options = self._frozen if frozen else {}
        try:
            async with self.engine.connect() as plain:
                connection = await plain.execution_options(reading=reading, **options)
                async with connection.begin():
                    yield connection
        except (DBAPIError, PoolTimeoutError, OSError, TimeoutError) as error:
            if isinstance(error, DBAPIError) and not is_store_unavailable(error):
                raise
            raise store_unavailable(error) from error

    async def close(self) -> None:
        await self.engine.dispose()


def is_store_unavailable(error: DBAPIError) -> bool:
    """Whether the store could not be reached, as against a statement that it refused."""
    if error.connection_invalidated or isinstance(error, OperationalError):
        return True
    return not isinstance(error, IntegrityError | DataError | ProgrammingError) and not hasattr(
        error.orig, "sqlstate"
    )


def store_unavailable(error: BaseException) -> Fault:
    """The fault for a store that cannot be reached, with the first line of what the driver says."""
    cause = type(error).__name__
    if str(error):
        cause = str(getattr(error, "orig", None) or error).splitlines()[0][:200]
    return Fault("unavailable", f"The store cannot be used: {cause}", retry_after_s=STORE_RETRY_S)


def insert_into(connection: AsyncConnection, table: Table) -> PostgresInsert | SqliteInsert:
    """An insert that can say what happens on a conflict, in the words of this database."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def upsert(
    connection: AsyncConnection,
    table: Table,
    row: dict[str, Any],
    replaced: tuple[str, ...] = (),
    *,
    unique: tuple[str, ...] = (),
) -> PostgresInsert | SqliteInsert:
    """Inserts a row, or replaces the columns `replaced` of the row that is there.

    That is the one with the same primary key, or with the same columns `unique`. Without columns
    to replace it stays as it is.
    """
    statement = insert_into(connection, table).values(row)
    key = unique or tuple(column.name for column in table.primary_key)
    if not replaced:
        return statement.on_conflict_do_nothing(index_elements=key)
    values = {name: row[name] for name in replaced}
    return statement.on_conflict_do_update(index_elements=key, set_=values)


def _engine(location: Location, statement_s: float) -> AsyncEngine:
    if location.kind == "postgresql":
        return create_async_engine(
            "postgresql+asyncpg" + location.dsn.removeprefix("postgresql"),
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_timeout=POOL_WAIT_S,
            pool_pre_ping=not location.pooler,
            connect_args=_connect_args(location, statement_s),
        )
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{location.path}",
        poolclass=AsyncAdaptedQueuePool,
        pool_size=POOL_SIZE,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
    )
    event.listen(engine.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_immediate)
    return engine


def _connect_args(location: Location, statement_s: float) -> dict[str, Any]:
    arguments: dict[str, Any] = {"timeout": CONNECT_S, "command_timeout": statement_s}
    if location.pooler:
        # A pooler may hand the next statement to another server, which knows no statement of ours.
        arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
        arguments["prepared_statement_name_func"] = lambda: f"gatewayz_{uuid4().hex}"
    return arguments


def _configure_sqlite(connection: Any, record: object) -> None:
    # The driver must not open transactions of its own: ours begin as writers, so that two of them
    # wait in turn.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin_immediate(connection: Any) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
