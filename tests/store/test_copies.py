"""Backup, restore and move: what comes out is what went in, whichever database; what cannot be is refused in a sentence."""

import asyncio
import gzip
import io
import json
import re
from contextlib import AsyncExitStack, redirect_stderr, redirect_stdout

import pytest
from msgspec.structs import replace
from sqlalchemy import func, insert, select, text, update

from gatewayz.cli import keeping
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.core.secrets import Secret
from gatewayz.store.secret import peppers
from gatewayz.store.sql.accounts import create
from gatewayz.store.sql.audit import last_entries, verified
from gatewayz.store.sql.backup_file import BackupReader
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.desk import Desk
from gatewayz.store.sql.opening import opened
from gatewayz.store.sql.snapshots import BATCH_ROWS, Seal, pieces_of, snapshot
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
from tests.support.money import account, call_of, key_for, outcome_of
from tests.support.served import run

KINDS = ("sqlite", "postgresql")
AWKWARD = 'a\nb\t"quoted" \\ ünïcode 漢字 🦊 \u2028 '


class Place:
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
        return run(self.folder, *arguments, env=url, **more)

    async def call(self, command, *arguments, **options):
        """The same command in this process, for what need not prove that a process of its own can do it."""
        return await asyncio.to_thread(self._called, command, arguments, options)

    def _called(self, command, arguments, options):
        flags = {"data_dir": str(self.data_dir), "database": {"url": url_of(self.location)}}
        said, wrong = io.StringIO(), io.StringIO()
        with redirect_stdout(said), redirect_stderr(wrong):
            try:
                status = getattr(keeping, command)("", flags, *arguments, **options)
            except Fault as fault:
                return 2, said.getvalue(), fault.message
        return status, said.getvalue(), wrong.getvalue()

    async def backup(self, file):
        return await self.call("backup", str(file))

    async def restore(self, file, *, replace=False):
        return await self.call("restore", str(file), replace=replace)

    async def seals(self):
        async with snapshot(self.location, self.folder) as connection:
            return {
                piece.end: piece
                async for piece in pieces_of(connection)
                if isinstance(piece, Seal) and piece.rows
            }

    async def do(self, statement):
        database = Database(self.location)
        try:
            async with database.begin() as connection:
                return await connection.execute(statement)
        finally:
            await database.close()

    async def number(self, statement):
        return (await self.do(statement)).scalar_one()


@pytest.fixture
def place(databases, tmp_path):
    """Makes installations: `place("sqlite")`, and `place("postgresql", empty=True)` for one without a schema."""
    made = []

    def make(kind, *, empty=False):
        folder = tmp_path / f"place-{len(made)}"
        location = (databases.empty if empty else databases.fresh)(kind, folder / "data")
        made.append(Place(folder, location))
        return made[-1]

    yield make
    for one in made:
        databases.drop(one.location)


async def filled(here, calls=30):
    """Money in every state: paid, held, settled, and rows of every kind of value. Returns a key of the account."""
    async with AsyncExitStack() as stack:
        store = await opened(
            here.location, here.data_dir, SystemClock(), lambda fact: None, stack, serving=False
        )
        await account(store.database, store.books, "payer", paid=5_000_000)
        key = await key_for(store.database, "payer", here.data_dir)
        for number in range(calls):
            call = call_of("payer")
            hold = await store.books.hold(call, 10_000)
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


def but_for_the_log(seals):
    """Everything but the audit log, which is told of the copy, and its count."""
    return {name: seal for name, seal in seals.items() if name not in {"audit_log", "revisions"}}


async def last_deed(here, sealed_by):
    """What the log was told last; all of it follows, under the secret of a place."""
    database = Database(here.location)
    try:
        assert [
            one
            for one in (await verified(database, peppers(sealed_by.data_dir, Secret(""))))[1]
            if one.check != "money_moves_are_told"
        ] == []
        [entry] = await last_entries(database, 1)
        assert entry.actor.startswith("cli:")
        return entry.action, entry.subject, json.loads(entry.detail)
    finally:
        await database.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_log_is_told_of_a_restore_by_whoever_has_its_secret(place, tmp_path, kind):
    here, stranger, file = place(kind), place(kind, empty=True), tmp_path / "backup.gz"
    await filled(here, calls=3)
    before = await here.seals()
    assert (await here.backup(file))[0] == 0
    assert (await here.restore(file, replace=True))[0] == 0
    assert but_for_the_log(await here.seals()) == but_for_the_log(before)
    action, subject, detail = await last_deed(here, here)
    assert (action, subject, detail["replaced"], detail["kept_in"]) == (
        "store.restore",
        "backup.gz",
        True,
        kind,
    )
    (stranger.data_dir / "secret").write_text("another-secret")
    status, _, wrong = await stranger.restore(file)
    assert (status, "The audit log was not told" in wrong) == (0, True)
    assert await stranger.seals() == before


@pytest.mark.parametrize("there", KINDS)
@pytest.mark.parametrize("here", KINDS)
async def test_what_was_backed_up_is_restored_into_either_database(place, tmp_path, here, there):
    source, target, file = place(here), place(there, empty=True), tmp_path / "backup.gz"
    await filled(source)
    status, said, wrong = source.run("backup", str(file))
    assert (status, "The books are clean." in said) == (0, True), said + wrong
    assert f"Keep the secret too ({source.data_dir / 'secret'})" in said
    assert "backing up transfers: " in wrong
    assert file.stat().st_mode & 0o077 == 0
    assert not list(source.folder.glob(".snapshot-*")) + list(tmp_path.glob("*.part"))
    status, said, wrong = target.run("restore", str(file))
    assert (status, "The books are clean." in said) == (0, True), said + wrong
    before, after = await source.seals(), await target.seals()
    assert before == after
    assert after["calls"].rows == 20
    assert after["messages"].rows == 3
    assert await target.number(select(func.count()).select_from(OWNERS)) == 0
    assert await target.number(select(func.max(CALLS.c.message))) == AWKWARD
    assert (
        await target.number(select(WALLETS.c.held).where(WALLETS.c.account_id == "payer"))
        == 100_000
    )
    # The log of deeds goes on where it ended, and is unbroken, with the secret of the old place.
    (target.data_dir / "secret").write_bytes((source.data_dir / "secret").read_bytes())
    database = Database(target.location)
    desk = Desk(database, SystemClock(), peppers(target.data_dir, Secret("")), "test")
    await create(desk, "another", "prepaid")
    assert [
        one
        for one in (await verified(database, desk.peppers))[1]
        if one.check != "money_moves_are_told"
    ] == []
    await database.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_restore_into_what_holds_something_needs_to_be_told(place, tmp_path, kind):
    source, target, file = place("sqlite"), place(kind), tmp_path / "backup.gz"
    await filled(source, calls=3)
    await filled(target, calls=9)
    assert (await source.backup(file))[0] == 0
    before = await target.seals()
    status, _, wrong = await target.restore(file)
    assert status == 2
    assert "The database is not empty" in wrong
    assert await target.seals() == before
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
    status, _, wrong = await target.restore(torn, replace=True)
    assert status == 2
    assert "is damaged: the rows of wallets" in wrong
    assert await target.seals() == before
    status, said, wrong = await target.restore(file, replace=True)
    assert status == 0, said + wrong
    assert await target.seals() == await source.seals()


async def test_files_that_are_no_backup_are_refused(place, tmp_path):
    source, target, file = place("sqlite"), place("sqlite", empty=True), tmp_path / "backup.gz"
    await filled(source, calls=3)
    assert (await source.backup(file))[0] == 0
    lines = gzip.decompress(file.read_bytes())
    header = json.loads(lines.split(b"\n")[0])

    def made(content, name="made.gz"):
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
        status, _, wrong = await target.restore(made(content))
        assert status == 2, says
        assert says in wrong
    assert await target.seals() == {}
    status, _, wrong = await source.backup(file)
    assert status == 2
    assert "is there already" in wrong
    assert "There is no folder" in (await source.backup(tmp_path / "no" / "file"))[2]
    source.location = replace(source.location, path=str(tmp_path / "nothing.db"))
    assert "There is no database" in (await source.backup(tmp_path / "another"))[2]


async def test_a_backup_of_an_older_schema_is_brought_up_to_date(place, tmp_path):
    source, target, file = place("sqlite"), place("postgresql", empty=True), tmp_path / "backup.gz"
    await filled(source, calls=3)
    assert (await source.backup(file))[0] == 0
    lines = gzip.decompress(file.read_bytes()).decode().split("\n")
    kept, keeps = [re.sub('"schema":"[0-9]+"', '"schema":"0001"', lines[0])], False
    for line in lines[1:]:
        if line.startswith('{"table"'):
            keeps = json.loads(line)["table"] in {"accounts", "wallets", "api_keys"}
        if keeps or line.startswith('{"whole"'):
            kept.append(line)
    old = tmp_path / "old.gz"
    old.write_bytes(gzip.compress("\n".join([*kept, ""]).encode()))
    status, said, wrong = await target.restore(old)
    # Wallets without their transfers: the restore is done, and says that such books cannot be right.
    assert status == 1
    assert "The books are NOT clean" in wrong
    assert "sum_is_zero" in wrong
    assert (await target.seals())["wallets"] == (await source.seals())["wallets"]
    assert target.run("migrate")[1].endswith("is up to date.\n")


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_restored_or_moved_under_a_gateway_that_serves(place, tmp_path, kind):
    here, file = place(kind), tmp_path / "backup.gz"
    await filled(here, calls=3)
    async with AsyncExitStack() as stack:
        await opened(
            here.location, here.data_dir, SystemClock(), lambda fact: None, stack, serving=True
        )
        status, said, wrong = await here.backup(file)
        assert status == 0, said + wrong
        for refused in (
            await here.restore(file, replace=True),
            await here.call("move", f"sqlite:///{tmp_path}/elsewhere.db"),
        ):
            assert refused[0] == 2
            assert "A gateway serves from this database" in refused[2]
    assert (await here.restore(file, replace=True))[0] == 0


async def test_books_that_are_wrong_are_backed_up_and_told(place, tmp_path):
    here, file = place("sqlite"), tmp_path / "backup.gz"
    await filled(here, calls=3)
    await here.do(
        update(WALLETS).where(WALLETS.c.account_id == "payer").values(paid=WALLETS.c.paid + 7)
    )
    status, _, wrong = await here.backup(file)
    assert status == 1
    assert (
        "balance_is_its_transfers: wallet:payer:paid: the balance differs from its transfers by 7"
        in wrong
    )
    assert file.is_file()


async def test_everything_is_moved_from_sqlite_to_postgresql(place):
    here, there = place("sqlite"), place("postgresql", empty=True)
    key = await filled(here, calls=9)
    await here.do(update(CALLS).values(asked_model="with\x00nul"))
    before = await here.seals()
    status, said, wrong = here.run("move", "--to", "-", input=url_of(there.location))
    assert status == 0, said + wrong
    assert "read back and compared" in said
    assert f"{here.location.path} is left as it was" in said
    assert but_for_the_log(await there.seals()) == but_for_the_log(before)
    assert await last_deed(there, here) == (
        "store.move",
        there.location.shown,
        {"from": here.location.shown},
    )
    assert await there.number(select(func.max(CALLS.c.asked_model))) == "with\ufffdnul"
    assert await there.number(select(func.count()).select_from(HOLDS)) == 3
    status, _, wrong = await here.call("move", url_of(there.location))
    assert status == 2
    assert "The database is not empty" in wrong
    assert "Nothing can be moved" in (await here.call("move", url_of(here.location)))[2]
    there.data_dir = here.data_dir
    status, listed, _ = there.run("keys", "list", "--json")
    assert status == 0
    assert key[-4:] in listed


@pytest.mark.parametrize("kind", KINDS)
async def test_rows_travel_in_batches_however_many_there_are(place, tmp_path, kind):
    here, file = place(kind), tmp_path / "backup.gz"
    count = 3 * BATCH_ROWS + 1
    await here.do(
        text(
            "INSERT INTO transfers (id, debit, credit, amount, kind) SELECT 't' || n, 'expense:a', 'expense:b', n, 'adjust' FROM "
            f"(WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) SELECT n FROM numbers) AS made"
        )
    )
    assert (await here.backup(file))[0] == 0
    batches = [len(piece) async for piece in BackupReader(file).pieces() if isinstance(piece, list)]
    assert sum(batches) == count
    assert max(batches) == BATCH_ROWS
    assert await here.number(select(func.count()).select_from(TRANSFERS)) == count
