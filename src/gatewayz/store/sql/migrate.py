"""Migrations: the schema is brought to this version's revision, by one process at a time.

A migration only adds; what it makes superfluous is taken away a version later, so that two versions
can run on one database while they are exchanged. Alembic takes a second to import and 45 MB, so a
gateway only asks which revision there is, and runs Alembic in a process of its own when it is not
this one.
"""

import asyncio
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.faults import Fault
from gatewayz.store.sql.database import Database, Location

REVISION = "0009"
"""The schema that this version works with."""
LOCK_KEY = 0x67617465
"""PostgreSQL's advisory lock that one migrating process holds."""
MIGRATE_S = 300.0


async def current_revision(database: Database) -> str:
    """The revision that the database is at; empty for a new one. Faults: `unavailable`."""
    async with database.begin() as connection:
        return await connection.run_sync(revision_of)


def revision_of(connection: Connection) -> str:
    """The revision of the schema on a connection; empty where there is none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


async def migrate(location: Location) -> tuple[str, str]:
    """Brings the schema up to date; the revisions before and after. Faults: `unavailable`."""
    with migration_file_lock(location):
        database = Database(location, MIGRATE_S)
        try:
            before = await current_revision(database)
            _check_not_newer(before)
            async with database.begin() as connection:
                await lock_schema(connection)
                await connection.run_sync(upgrade)
            return before, await current_revision(database)
        finally:
            await database.close()


async def ensure_migrated(location: Location, *, creates: bool = True) -> None:
    """Makes sure of the schema at start; migrates in another process when it is an older one.

    `creates`: also where there is none yet. Faults: `bad_request` where that may not be,
    `unavailable`.
    """
    if location.kind == "sqlite" and creates:
        ensure_folder(location)
    database = Database(location)
    try:
        revision = await current_revision(database)
    finally:
        await database.close()
    _check_not_newer(revision)
    if not revision and not creates:
        raise Fault(
            "bad_request",
            f"{location.shown} has no tables of gatewayz. --config or database.url says which "
            "database it is; `gatewayz serve` (or `gatewayz migrate`) makes them.",
        )
    if revision != REVISION:
        await _migrate_in_subprocess(location)


async def _migrate_in_subprocess(location: Location) -> None:
    command = [sys.executable, "-m", "gatewayz", "migrate", "--url-from-stdin"]
    if location.pooler:
        command.append("--pooler")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    # The URL has a password in it: not among the arguments, which everybody can see.
    url = location.dsn or f"sqlite:///{location.path}"
    try:
        _, errors = await asyncio.wait_for(process.communicate(url.encode()), MIGRATE_S)
    except TimeoutError:
        process.kill()
        raise Fault(
            "unavailable", f"Migrating took more than {MIGRATE_S:g} s; run `gatewayz migrate`."
        ) from None
    if process.returncode:
        raise Fault(
            "unavailable",
            "The database could not be migrated.",
            detail=errors.decode(errors="replace").strip().removeprefix("gatewayz: "),
        )


def ensure_folder(location: Location) -> None:
    """The folder of SQLite's file is there. Faults: `unavailable`."""
    path = Path(location.path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Fault(
            "unavailable",
            f"The data directory {path.parent.absolute()} cannot be used: {error.strerror}. "
            "Run as the user that owns it, or set data_dir to a folder that can be used.",
        ) from error


def _check_not_newer(revision: str) -> None:
    if revision > REVISION:
        raise Fault(
            "unavailable",
            f"The database is at revision {revision}, newer than this version's {REVISION}; "
            "start the newer version, or restore a backup of this one.",
        )


@contextmanager
def migration_file_lock(location: Location) -> Iterator[None]:
    """SQLite: one process migrates, the others wait for it. PostgreSQL: `lock_schema`."""
    if location.kind != "sqlite":
        yield
        return
    path = Path(location.path)
    ensure_folder(location)
    lock = path.with_suffix(".migrating")
    for private in (lock, path):
        _make_private(private)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_private(path: Path) -> None:
    """The file is there, and nobody else on the machine reads it: SQLite gives its log and index
    the rights of the database.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Fault(
            "unavailable",
            f"{path.absolute()} cannot be opened: {error.strerror}. Run as the user that owns it, or set "
            "data_dir to a folder that can be used.",
        ) from error
    # Another user's file that we may write is theirs to protect.
    with os.fdopen(descriptor, "rb"), suppress(PermissionError):
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            path.chmod(mode & 0o700)


async def lock_schema(connection: AsyncConnection) -> None:
    """PostgreSQL: one process migrates, the others wait until its transaction ends."""
    if connection.dialect.name == "postgresql":
        # For the transaction, not the session: behind a pooler a session is nobody's.
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})


def upgrade(connection: Connection, to: str = "head") -> None:
    """Brings the schema of a connection to a revision, in the transaction that is open on it."""
    from alembic import command  # noqa: PLC0415 - a second and 45 MB, for this process only
    from alembic.config import Config  # noqa: PLC0415

    command.upgrade(_config(connection, Config()), to)


def _config(connection: Connection, config: Any) -> Any:
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
