"""The database: where it is, and connections to it.

One file in the data directory unless a URL says otherwise. SQLite runs in WAL, so that two
processes may share the file; PostgreSQL by asyncpg, also behind a pooler that hands out connections
per transaction (`pooler`), where prepared statements cannot be kept.
"""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
from msgspec import Struct
from sqlalchemy import URL, Table, event, make_url
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

ADVICE_BY_STATE = {
    "28P01": "check user and password in database.url",
    "28000": "check the user in database.url, and the server's pg_hba.conf",
    "3D000": "create that database, or correct its name in database.url",
    "42501": "give the role of database.url the rights to its database and schema",
    "53100": "free space on the server's disk",
    "53300": "raise the server's max_connections, or put a pooler in front",
    "57P03": "wait until the server has started",
}
"""PostgreSQL's error code (its manual, appendix A) → what to do about it."""
ADVICE_BY_TEXT = {
    "unable to open": "run as the user that owns its folder, or set data_dir to another one",
    "not a database": "it is no SQLite file, or a damaged one: restore a backup",
    "malformed": "the file is damaged: restore a backup",
    "readonly": "run as the user that owns the file and its folder, or set data_dir to another one",
    "disk is full": "free some space on that disk",
    "locked": "another process holds it; end that one",
}
"""What SQLite says → what to do about it."""
ADVICE_WHEN_UNREACHABLE = "start the server, or correct host and port in database.url"
ERRNO = re.compile(r"\[Errno -?\d+\] ?")
PLAIN_AUTHORITY = re.compile(r"([^:@/?#]*(:[^:@/?#]*)?@)?(\[[^\]]*\]|[^:@/?#]*)(:\d*)?(,[^@/?#]*)?")
"""`user:password@host:port` in which nothing needs to be escaped."""


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
        """Where it is, without a password: `postgresql://user@host/name`, or the whole path."""
        if self.kind == "postgresql":
            url = make_url(self.dsn)
            plain = URL.create(
                url.drivername,
                username=url.username,
                host=url.host,
                port=url.port,
                database=url.database,
            )
            return plain.render_as_string()
        return str(Path(self.path).absolute()) if self.path else "memory"


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
        path = url.removeprefix("sqlite:///")
        if not path or path == url:
            raise Fault("bad_request", "database.url: write SQLite's file as sqlite:///path")
        return Location("sqlite", path=path)
    if scheme in {"postgres", "postgresql", "postgresql+asyncpg"}:
        _check_postgres_url(url)
        return Location("postgresql", dsn="postgresql" + url[len(scheme) :], pooler=pooler)
    # Never the text itself: without a scheme it may be a password.
    kind = f"{scheme!r} is no database" if scheme else "it names no kind of database"
    raise Fault(
        "bad_request", f"database.url: {kind}; write sqlite:///path or postgresql://host/name"
    )


def _check_postgres_url(url: str) -> None:
    """Faults: `bad_request`, without any part of the URL: a part that is misread may be secret."""
    rest = url.partition("://")[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if PLAIN_AUTHORITY.fullmatch(authority) is None or "@" in rest.partition("?")[0].replace(
        authority, "", 1
    ):
        raise Fault(
            "bad_request",
            "database.url: user and password have characters that must be escaped: write @ as %40, "
            ": as %3A, / as %2F, ? as %3F, # as %23 and % as %25.",
        )
    try:
        make_url(url)
    except (ArgumentError, ValueError):
        raise Fault(
            "bad_request",
            "database.url is no URL; write it as postgresql://user:password@host/name",
        ) from None


DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, sqlite3.DatabaseError)
"""What connecting raises as it is: SQLAlchemy translates errors of statements only."""


class Database:
    """Connections for everything but the hot path; one engine a process."""

    def __init__(self, location: Location, statement_s: float = STATEMENT_S) -> None:
        self.location = location
        self.engine = _engine(location, statement_s)
        self._frozen: dict[str, Any] = {}
        self._is_probed = False
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
            if not self._is_probed and self.location.kind == "sqlite":
                await asyncio.to_thread(_probe_sqlite, self.location.path)
                self._is_probed = True
            async with self.engine.connect() as plain:
                connection = await plain.execution_options(reading=reading, **options)
                async with connection.begin():
                    yield connection
        except (DBAPIError, PoolTimeoutError, OSError, TimeoutError, *DRIVER_ERRORS) as error:
            if isinstance(error, DBAPIError) and not is_store_unavailable(error):
                raise
            raise store_unavailable(error, self.location) from error

    async def close(self) -> None:
        await self.engine.dispose()


def is_store_unavailable(error: DBAPIError) -> bool:
    """Whether the store could not be reached, as against a statement that it refused."""
    if error.connection_invalidated or isinstance(error, OperationalError):
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state in ADVICE_BY_STATE
    return not isinstance(error, IntegrityError | DataError | ProgrammingError)


def store_unavailable(error: BaseException, location: Location | None = None) -> Fault:
    """The fault for a store that cannot be used; its detail says where, why, and what to do."""
    cause = getattr(error, "orig", None) or error
    text = (str(cause) or type(cause).__name__).splitlines()[0]
    where = f"{location.shown}: " if location is not None else ""
    advice = _advice(cause, text)
    return Fault(
        "unavailable",
        "The store cannot be used.",
        retry_after_s=STORE_RETRY_S,
        detail=f"{where}{ERRNO.sub('', text)[:200]}{f'; {advice}' if advice else ''}.",
    )


def _advice(cause: BaseException, text: str) -> str:
    state = getattr(cause, "sqlstate", None)
    if state in ADVICE_BY_STATE:
        return ADVICE_BY_STATE[state]
    for words, advice in ADVICE_BY_TEXT.items():
        if words in text:
            return advice
    return ADVICE_WHEN_UNREACHABLE if isinstance(cause, OSError | TimeoutError) else ""


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
            "postgresql+asyncpg://",
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
    options: dict[str, Any] = {"timeout": CONNECT_S, "command_timeout": statement_s}
    arguments: dict[str, Any] = {}
    if location.pooler:
        # A pooler may hand the next statement to another server, which knows no statement of ours.
        options["statement_cache_size"] = arguments["prepared_statement_cache_size"] = 0
        arguments["prepared_statement_name_func"] = lambda: f"gatewayz_{uuid4().hex}"

    async def connect(**_: Any) -> Any:
        # The driver reads the URL itself: SQLAlchemy knows none of the parameters that PostgreSQL's
        # own tools write into one, such as sslmode=require.
        return await asyncpg.connect(location.dsn, **options)

    return {"async_creator_fn": connect, **arguments}


def _probe_sqlite(path: str) -> None:
    """Opens the file once with the plain driver; raises `sqlite3.DatabaseError`.

    What cannot be opened leaves a thread of the asynchronous driver behind, which may outlive the
    loop that it answers to.
    """
    with closing(sqlite3.connect(path, timeout=BUSY_MS / 1000)) as connection:
        for pragma in PRAGMAS:
            connection.execute(pragma)
        connection.execute("SELECT count(*) FROM sqlite_master")


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
