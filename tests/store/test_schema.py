"""The schema: migrations make what the tables say, on both databases, however many migrate."""

import asyncio
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from gatewayz.core.faults import Fault
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.migrate import REVISION, current_revision, ensure_migrated, migrate
from gatewayz.store.sql.tables import METADATA
from tests.support.databases import url_of


def differences(connection):
    """What Alembic would still do to make the database what the tables say."""
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": default_differs}
    )
    return compare_metadata(context, METADATA)


def default_differs(context, inspected, column, found, wanted, rendered):
    """The two databases spell a default in their own way: `'0'`, `'0'::bigint`, `false`."""
    spelled = None if found is None else found.partition("::")[0].strip("()'").replace("false", "0")
    return spelled != (column.server_default.arg if column.server_default is not None else None)


async def test_the_migrations_make_the_tables_that_the_code_knows(database):
    async with database.begin() as connection:
        assert await connection.run_sync(differences) == []
    assert await current_revision(database) == REVISION


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ("DROP INDEX calls_account", "add_index"),
        ("DROP TABLE prices", "add_table"),
        ("ALTER TABLE wallets ADD COLUMN more BIGINT", "remove_column"),
    ],
)
async def test_what_the_migrations_forget_would_be_found(database, changed, found):
    async with database.begin() as connection:
        await connection.execute(text(changed))
        assert found in [name for name, *_ in await connection.run_sync(differences)]


@pytest.fixture
def empty_location(kind, databases, tmp_path):
    found = databases.create_empty(kind, tmp_path / "new" / "data")
    yield found
    databases.drop(found)


async def test_three_processes_may_migrate_at_once(empty_location):
    async def one():
        command = [sys.executable, "-m", "gatewayz", "migrate", "--url-from-stdin"]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe
        )
        said, wrong = await process.communicate(url_of(empty_location).encode())
        return process.returncode, said.decode() + wrong.decode()

    ended = await asyncio.gather(one(), one(), one())
    assert [status for status, _ in ended] == [0, 0, 0], ended
    database = Database(empty_location)
    assert await current_revision(database) == REVISION
    await database.close()


async def test_a_start_migrates_an_empty_database_and_leaves_a_newer_one_alone(empty_location):
    await ensure_migrated(empty_location)
    database = Database(empty_location)
    assert await current_revision(database) == REVISION
    async with database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for start in (ensure_migrated, migrate):
        with pytest.raises(Fault, match="newer than this version's") as refused:
            await start(empty_location)
        assert refused.value.kind == "unavailable"
    await database.close()
