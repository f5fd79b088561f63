"""Migrations: the schema is brought to this version's revision, by one process at a time.

Alembic takes a second to import and 45 MB, so a gateway only asks which revision there is, and runs Alembic in a
process of its own when it is not this one.
"""

import asyncio
import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.faults import Fault
from gatewayz.store.sql.database import Database, Location

REVISION = "0006"
"""The schema that this version works with."""
LOCK_KEY = 0x67617465
"""PostgreSQL's advisory lock that one migrating process holds."""
MIGRATE_S = 300.0


async def revision(database: Database) -> str:
    """The revision that the database is at; empty for a new one. Faults: `unavailable`."""
    async with database.begin() as connection:
        return await connection.run_sync(revision_of)


def revision_of(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


async def migrate(location: Location) -> tuple[str, str]:
    """Brings the schema up to date; returns the revisions before and after. Faults: `unavailable`."""
    with alone(location):
        database = Database(location, MIGRATE_S)
        try:
            before = await revision(database)
            _unless_newer(before)
            async with database.begin() as connection:
                await locked(connection)
                await connection.run_sync(upgrade)
            return before, await revision(database)
        finally:
            await database.close()


async def up_to_date(location: Location) -> None:
    """Makes sure of the schema at start: migrates in another process when it is not this version's."""
    if location.kind == "sqlite":
        made_folder(location)
    database = Database(location)
    try:
        found = await revision(database)
    finally:
        await database.close()
    _unless_newer(found)
    if found != REVISION:
        await _migrate_elsewhere(location)


async def _migrate_elsewhere(location: Location) -> None:
    command = [sys.executable, "-m", "gatewayz", "migrate", "--url-from-stdin"]
    if location.pooler:
        command.append("--pooler")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    url = location.dsn or f"sqlite:///{location.path}"
    try:
        _, said = await asyncio.wait_for(process.communicate(url.encode()), MIGRATE_S)
    except TimeoutError:
        process.kill()
        raise Fault(
            "unavailable", f"Migrating took more than {MIGRATE_S:g} s; run `gatewayz migrate`."
        ) from None
    if process.returncode:
        raise Fault(
            "unavailable",
            f"The database could not be migrated: {said.decode(errors='replace').strip()}",
        )


def made_folder(location: Location) -> None:
    """The folder of SQLite's file is there. Faults: `unavailable`."""
    path = Path(location.path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        why = f"The data directory {path.parent} cannot be used: {error}."
        raise Fault("unavailable", f"{why} Set data_dir to a place that can.") from error


def _unless_newer(found: str) -> None:
    if found > REVISION:
        why = f"The database is at revision {found}, newer than this version's {REVISION}"
        raise Fault(
            "unavailable", f"{why}; start the newer version, or restore a backup of this one."
        )


@contextmanager
def alone(location: Location) -> Iterator[None]:
    """SQLite: one process migrates, the others wait for it; PostgreSQL has a lock of its own for that."""
    if location.kind != "sqlite":
        yield
        return
    path = Path(location.path)
    made_folder(location)
    with path.with_suffix(".migrating").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def locked(connection: AsyncConnection) -> None:
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
