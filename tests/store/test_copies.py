"""Backup, restore and move: what comes out is what went in, whichever database.

What cannot be is refused in a sentence.
"""

import asyncio
import gzip
import io
import json
import re
from collections.abc import Callable
from contextlib import AsyncExitStack, redirect_stderr, redirect_stdout

import pytest
from msgspec.structs import replace
from sqlalchemy import func, insert, select, text, update

from gatewayz.cli.store import backup, move, restore
from gatewayz.control.accounts import create_account
from gatewayz.control.audit import list_latest_entries, verify_log
from gatewayz.control.open import open_store
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.core.secrets import Secret
from gatewayz.store.secret import load_peppers
from gatewayz.store.sql.backup.file import BackupReader
from gatewayz.store.sql.backup.snapshots import BATCH_ROWS, TableDigest, open_snapshot, pieces_of
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.tables import (
    CALLS,
    HOLDS,
    IDEMPOTENCY,
    MESSAGES,
    OWNERS,
    TRANSFERS,
    WALLETS,
)
from tests.support.databases import url_of
from tests.support.gateway_process import run_command
from tests.support.money import call_of, issue_key, open_account, outcome_of

KINDS = ("sqlite", "postgresql")
COMMANDS: dict[str, Callable[..., int]] = {
    "backup": backup.backup,
    "restore": restore.restore,
    "move": move.move,
}
AWKWARD = 'a\nb\t"quoted" \\ ünïcode 漢字 🦊 \u2028 '


class Installation:
    """An installation: a data directory and a database."""

    def __init__(self, folder, location):
        self.folder = folder
        self.location = location
        self.data_dir = folder / "data"
        self.data_dir.mkdir(parents=True, exist_ok=True)

    def run(self, *arguments, **more):
        """A command in a process of its own."""
        url = {
            "GATEWAYZ_DATABASE__URL": url_of(self.location),
            "GATEWAYZ_DATA_DIR": str(self.data_dir),
        }
        return run_command(self.folder, *arguments, env=url, **more)

    async def call(self, command, *arguments, **options):
        """The same command in this process, where it need not prove that it is one of its own."""
        return await asyncio.to_thread(self._call, command, arguments, options)

    def _call(self, command, arguments, options):
        flags = {"data_dir": str(self.data_dir), "database": {"url": url_of(self.location)}}
        output, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            try:
                status = COMMANDS[command]("", flags, *arguments, **options)
            except Fault as fault:
                return 2, output.getvalue(), fault.message
        return status, output.getvalue(), errors.getvalue()

    async def backup(self, file):
        return await self.call("backup", str(file))

    async def restore(self, file, *, replace=False):
        return await self.call("restore", str(file), replace=replace)

    async def digests(self):
        async with open_snapshot(self.location, self.folder) as connection:
            return {
                piece.end: piece
                async for piece in pieces_of(connection)
                if isinstance(piece, TableDigest) and piece.rows
            }

    async def execute(self, statement):
        database = Database(self.location)
        try:
            async with database.begin() as connection:
                return await connection.execute(statement)
        finally:
            await database.close()

    async def number(self, statement):
        return (await self.execute(statement)).scalar_one()


@pytest.fixture
def make_installation(databases, tmp_path):
    """Makes installations: `make("sqlite")`; `make("postgresql", empty=True)` has no schema."""
    installations: list[Installation] = []

    def make(kind, *, empty=False):
        folder = tmp_path / f"installation-{len(installations)}"
        location = (databases.create_empty if empty else databases.create_migrated)(
            kind, folder / "data"
        )
        installations.append(Installation(folder, location))
        return installations[-1]

    yield make
    for installation in installations:
        databases.drop(installation.location)


async def fill(source, calls=30):
    """Money in every state: paid, held, settled, and rows of every kind of value.

    Returns a key of the account.
    """
    async with AsyncExitStack() as stack:
        store = await open_store(
            source.location, source.data_dir, SystemClock(), lambda fact: None, stack, serving=False
        )
        await open_account(store.database, store.books, "payer", paid=5_000_000)
        key = await issue_key(store.database, "payer", source.data_dir)
        for number in range(calls):
            call = call_of("payer")
            hold = await store.books.hold(call, Ceiling(Nanos(10_000)))
            if number % 3:
                await store.books.settle(call, hold, outcome_of(1_000 + number))
        async with store.database.begin() as connection:
            await connection.execute(
                update(CALLS).values(message=AWKWARD, streamed=True, first_event_ms=None)
            )
            await connection.execute(
                insert(MESSAGES),
                [
                    {
                        "id": f"m{number}",
                        "session_id": "s",
                        "role": "user",
                        "content": bytes(range(256)) * number,
                    }
                    for number in range(3)
                ],
            )
            await connection.execute(
                insert(IDEMPOTENCY).values(
                    account_id="payer", key="k", state="kept", answer=b"\x00\xff"
                )
            )
            await connection.execute(
                insert(OWNERS).values(id="of the past", started_ms=1, beat_ms=2)
            )
    return key


def but_for_the_log(digests):
    """Everything but the audit log, which has an entry of the copy, and its count."""
    return {
        name: digest for name, digest in digests.items() if name not in {"audit_log", "revisions"}
    }


async def last_event(installation, secret_of):
    """The last entry of the log; all of it follows, under the secret of an installation."""
    database = Database(installation.location)
    try:
        assert [
            violation
            for violation in (
                await verify_log(database, load_peppers(secret_of.data_dir, Secret("")))
            )[1]
            if violation.check != "money_moves_are_told"
        ] == []
        [entry] = await list_latest_entries(database, 1)
        assert entry.actor.startswith("cli:")
        return entry.action, entry.subject, json.loads(entry.detail)
    finally:
        await database.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_log_has_an_entry_of_a_restore_by_whoever_has_its_secret(
    make_installation, tmp_path, kind
):
    here, stranger, file = (
        make_installation(kind),
        make_installation(kind, empty=True),
        tmp_path / "backup.gz",
    )
    await fill(here, calls=3)
    before = await here.digests()
    assert (await here.backup(file))[0] == 0
    assert (await here.restore(file, replace=True))[0] == 0
    assert but_for_the_log(await here.digests()) == but_for_the_log(before)
    action, subject, detail = await last_event(here, here)
    assert (action, subject, detail["replaced"], detail["kept_in"]) == (
        "store.restore",
        "backup.gz",
        True,
        kind,
    )
    (stranger.data_dir / "secret").write_text("another-secret")
    status, _, errors = await stranger.restore(file)
    assert (status, "The audit log has no entry of this" in errors) == (0, True)
    assert await stranger.digests() == before


@pytest.mark.parametrize("there", KINDS)
@pytest.mark.parametrize("here", KINDS)
async def test_what_was_backed_up_is_restored_into_either_database(
    make_installation, tmp_path, here, there
):
    source, target, file = (
        make_installation(here),
        make_installation(there, empty=True),
        tmp_path / "backup.gz",
    )
    await fill(source)
    status, output, errors = source.run("backup", str(file))
    assert (status, "The books are clean." in output) == (0, True), output + errors
    assert f"Keep the secret too ({source.data_dir / 'secret'})" in output
    assert "backing up transfers: " in errors
    assert file.stat().st_mode & 0o077 == 0
    assert not list(source.folder.glob(".snapshot-*")) + list(tmp_path.glob("*.part"))
    status, output, errors = target.run("restore", str(file))
    assert (status, "The books are clean." in output) == (0, True), output + errors
    before, after = await source.digests(), await target.digests()
    assert before == after
    assert after["calls"].rows == 20
    assert after["messages"].rows == 3
    assert await target.number(select(func.count()).select_from(OWNERS)) == 0
    assert await target.number(select(func.max(CALLS.c.message))) == AWKWARD
    assert (
        await target.number(select(WALLETS.c.held).where(WALLETS.c.account_id == "payer"))
        == 100_000
    )
    # The audit log goes on where it ended, unbroken, with the secret of the old installation.
    (target.data_dir / "secret").write_bytes((source.data_dir / "secret").read_bytes())
    database = Database(target.location)
    transaction = ControlTransaction(
        database, SystemClock(), load_peppers(target.data_dir, Secret("")), "test"
    )
    await create_account(transaction, "another", "prepaid")
    assert [
        violation
        for violation in (await verify_log(database, transaction.peppers))[1]
        if violation.check != "money_moves_are_told"
    ] == []
    await database.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_restore_into_what_holds_something_needs_replace(make_installation, tmp_path, kind):
    source, target, file = (
        make_installation("sqlite"),
        make_installation(kind),
        tmp_path / "backup.gz",
    )
    await fill(source, calls=3)
    await fill(target, calls=9)
    assert (await source.backup(file))[0] == 0
    before = await target.digests()
    status, _, errors = await target.restore(file)
    assert status == 2
    assert "The database is not empty" in errors
    assert await target.digests() == before
    # A file that is damaged in the middle changes nothing either, although it is noticed late.
    lines = gzip.decompress(file.read_bytes()).split(b"\n")
    torn = tmp_path / "torn.gz"
    at = (
        next(number for number, line in enumerate(lines) if line.startswith(b'{"end":"wallets"'))
        - 1
    )
    torn.write_bytes(
        gzip.compress(
            b"\n".join([*lines[:at], lines[at].replace(b"prepaid", b"credit"), *lines[at + 1 :]])
        )
    )
    status, _, errors = await target.restore(torn, replace=True)
    assert status == 2
    assert "is damaged: the rows of wallets" in errors
    assert await target.digests() == before
    status, output, errors = await target.restore(file, replace=True)
    assert status == 0, output + errors
    assert await target.digests() == await source.digests()


async def test_files_that_are_no_backup_are_refused(make_installation, tmp_path):
    source, target, file = (
        make_installation("sqlite"),
        make_installation("sqlite", empty=True),
        tmp_path / "backup.gz",
    )
    await fill(source, calls=3)
    assert (await source.backup(file))[0] == 0
    lines = gzip.decompress(file.read_bytes())
    header = json.loads(lines.split(b"\n")[0])

    def write(content, name="made.gz"):
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    newer = gzip.compress(
        lines.replace(f'"schema":"{header["schema"]}"'.encode(), b'"schema":"9999"')
    )
    for content, says in (
        (b"not gzip", "cannot be read"),
        (gzip.compress(b"{}\n"), "is no backup of gatewayz"),
        (gzip.compress(b""), "is no backup of gatewayz"),
        (
            gzip.compress(lines.replace(b'{"gatewayz_backup":1', b'{"gatewayz_backup":2')),
            "is of format 2",
        ),
        (
            gzip.compress(lines[: len(lines) // 2].rpartition(b"\n")[0] + b"\n"),
            "was cut off before its end",
        ),
        (file.read_bytes()[:-40], "cannot be read"),
        (newer, "is of schema 9999, newer than this version's"),
        (
            gzip.compress(lines.replace(b'{"table":"wallets"', b'{"table":"walls"')),
            "a table walls that its schema does not know",
        ),
    ):
        status, _, errors = await target.restore(write(content))
        assert status == 2, says
        assert says in errors
    assert await target.digests() == {}
    status, _, errors = await source.backup(file)
    assert status == 2
    assert "exists already" in errors
    assert "There is no folder" in (await source.backup(tmp_path / "no" / "file"))[2]
    source.location = replace(source.location, path=str(tmp_path / "nothing.db"))
    assert "There is no database" in (await source.backup(tmp_path / "another"))[2]


async def test_a_backup_of_an_older_schema_is_brought_up_to_date(make_installation, tmp_path):
    source, target, file = (
        make_installation("sqlite"),
        make_installation("postgresql", empty=True),
        tmp_path / "backup.gz",
    )
    await fill(source, calls=3)
    assert (await source.backup(file))[0] == 0
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")
    old_lines, keeps = [re.sub('"schema":"[0-9]+"', '"schema":"0001"', lines[0])], False
    for line in lines[1:]:
        if line.startswith('{"table"'):
            # A table whose columns are still those of the first schema.
            keeps = json.loads(line)["table"] == "wallets"
        if keeps or line.startswith('{"whole"'):
            old_lines.append(line)
    old = tmp_path / "old.gz"
    old.write_bytes(gzip.compress("\n".join([*old_lines, ""]).encode()))
    status, output, errors = await target.restore(old)
    # Wallets without their transfers: the restore is done, and says that the books are wrong.
    assert status == 1
    assert "The books are NOT clean" in errors
    assert "sum_is_zero" in errors
    assert (await target.digests())["wallets"] == (await source.digests())["wallets"]
    assert target.run("migrate")[1].endswith("is up to date.\n")


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_restored_or_moved_under_a_gateway_that_serves(
    make_installation, tmp_path, kind
):
    here, file = make_installation(kind), tmp_path / "backup.gz"
    await fill(here, calls=3)
    async with AsyncExitStack() as stack:
        await open_store(
            here.location, here.data_dir, SystemClock(), lambda fact: None, stack, serving=True
        )
        status, output, errors = await here.backup(file)
        assert status == 0, output + errors
        for refused in (
            await here.restore(file, replace=True),
            await here.call("move", f"sqlite:///{tmp_path}/elsewhere.db"),
        ):
            assert refused[0] == 2
            assert "A gateway serves from this database" in refused[2]
    assert (await here.restore(file, replace=True))[0] == 0


async def test_books_that_are_wrong_are_backed_up_and_reported(make_installation, tmp_path):
    here, file = make_installation("sqlite"), tmp_path / "backup.gz"
    await fill(here, calls=3)
    await here.execute(
        update(WALLETS).where(WALLETS.c.account_id == "payer").values(paid=WALLETS.c.paid + 7)
    )
    status, _, errors = await here.backup(file)
    assert status == 1
    assert (
        "balance_is_its_transfers: wallet:payer:paid: the balance differs from its transfers by 7"
        in errors
    )
    assert file.is_file()


async def test_everything_is_moved_from_sqlite_to_postgresql(make_installation):
    here, there = make_installation("sqlite"), make_installation("postgresql", empty=True)
    key = await fill(here, calls=9)
    await here.execute(update(CALLS).values(asked_model="with\x00nul"))
    before = await here.digests()
    status, output, errors = here.run("move", "--to", "-", input=url_of(there.location))
    assert status == 0, output + errors
    assert "read back and compared" in output
    assert f"{here.location.path} is left as it was" in output
    assert but_for_the_log(await there.digests()) == but_for_the_log(before)
    assert await last_event(there, here) == (
        "store.move",
        there.location.shown,
        {"from": here.location.shown},
    )
    assert await there.number(select(func.max(CALLS.c.asked_model))) == "with\ufffdnul"
    assert await there.number(select(func.count()).select_from(HOLDS)) == 3
    status, _, errors = await here.call("move", url_of(there.location))
    assert status == 2
    assert "The database is not empty" in errors
    assert "Nothing can be moved" in (await here.call("move", url_of(here.location)))[2]
    there.data_dir = here.data_dir
    status, output, _ = there.run("keys", "list", "--json")
    assert status == 0
    assert key[-4:] in output


@pytest.mark.parametrize("kind", KINDS)
async def test_rows_travel_in_batches_however_many_there_are(make_installation, tmp_path, kind):
    here, file = make_installation(kind), tmp_path / "backup.gz"
    count = 3 * BATCH_ROWS + 1
    await here.execute(
        text(
            "INSERT INTO transfers (id, debit, credit, amount, kind) "
            "SELECT 't' || n, 'expense:a', 'expense:b', n, 'adjust' FROM "
            "(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
            f"WHERE n < {count}) SELECT n FROM numbers) AS made"
        )
    )
    assert (await here.backup(file))[0] == 0
    batches = [len(piece) async for piece in BackupReader(file).pieces() if isinstance(piece, list)]
    assert sum(batches) == count
    assert max(batches) == BATCH_ROWS
    assert await here.number(select(func.count()).select_from(TRANSFERS)) == count
