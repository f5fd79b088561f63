"""Databases of older versions: each upgrades to the schema of today, and its rows mean what they
did, by the names of today. On SQLite, and with the same rows on PostgreSQL.
"""

import ast
import asyncio
import gzip
import re
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest
from sqlalchemy import insert

from gatewayz.control import accounts, calls, keys, usage
from gatewayz.control.access import OwnerFilter
from gatewayz.control.audit import verify_log
from gatewayz.control.auth.key_cache import KeyCache
from gatewayz.control.calls import CallFilter
from gatewayz.control.idempotency import SqlClaims, SqlReplays
from gatewayz.control.outbox import SqlOutbox
from gatewayz.control.overrides import SqlCatalogOverrides
from gatewayz.control.provider_keys import changes_from_overrides
from gatewayz.core.pagination import Cursor
from gatewayz.core.secrets import Secret
from gatewayz.ledger.values import wallet_paid
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.store.sql.backup.snapshots import TableDigest, TableSchema, pieces_of
from gatewayz.store.sql.database import FILE, Database, Location
from gatewayz.store.sql.ledger.reconcile import violations
from gatewayz.store.sql.migrate import REVISION, migrate, upgrade
from tests.store.databases.content import (
    CALL_IDS,
    COST,
    DATE_MS,
    FAULTS,
    GRANTED,
    IDEMPOTENCY_KEY,
    KEY,
    KEY_ID,
    PAID,
    PROVIDER_KEY,
    REPLY,
    TOKEN,
    WEBHOOK_SECRET,
    call_named,
)
from tests.store.test_schema import differences
from tests.support.clocks import ManualClock
from tests.support.control_transaction import control_transaction
from tests.support.databases import KINDS

FOLDER = Path(__file__).parent / "databases"
FILES = {path.name[1:5]: path for path in sorted(FOLDER.glob("r*.db.gz"))}
MIGRATIONS = {
    path.name[1:5]: path
    for path in (files("gatewayz.store.sql.migrations") / "versions").iterdir()
    if re.match(r"r\d{4}_", path.name)
}
ADDING = {"create_table", "create_index", "add_column", "batch_alter_table", "execute", "get_bind"}
TAKEN_AWAY_LATER: dict[str, str] = {}
"""Revisions that take something away, and the earlier revision that made it superfluous."""
MAX_FILE_BYTES = 200_000


class Upgraded:
    """A database that came from `revision`, and whoever looks at it."""

    def __init__(self, revision, database):
        self.revision = revision
        self.database = database
        self.clock = ManualClock()
        self.transaction = control_transaction(database, self.clock)
        self.peppers = self.transaction.peppers
        self.acme = OwnerFilter("acme")

    def has(self, revision):
        """Whether its file holds what the schema has since this revision."""
        return self.revision >= revision

    async def call_ids(self, **which):
        page = await calls.list_calls(self.database, self.acme, CallFilter(**which), Cursor())
        return sorted(row["id"] for row in page.rows)


async def copy_rows(source, target):
    """Every table of one database into another one at the same revision."""
    async with source.begin(reading=True) as reading, target.begin() as writing:
        async for piece in pieces_of(reading):
            if isinstance(piece, TableSchema):
                table = piece.as_table()
            elif not isinstance(piece, TableDigest) and piece:
                names = [column.name for column in table.columns]
                rows = [dict(zip(names, row, strict=True)) for row in piece]
                await writing.execute(insert(table), rows)


async def restore_file(revision, location, folder):
    """Puts the file of a revision in a database, and migrates that as an operator does it."""
    path = folder / FILE
    path.write_bytes(gzip.decompress(FILES[revision].read_bytes()))
    if location.kind == "postgresql":
        source, target = Database(Location("sqlite", path=str(path))), Database(location)
        async with target.begin() as connection:
            await connection.run_sync(upgrade, revision)
        await copy_rows(source, target)
        await source.close()
        await target.close()
    assert await migrate(location) == (revision, REVISION)


def since(revision):
    """A test over the databases of this revision and of every later one, on both kinds."""
    cases = [(name, kind) for name in sorted(FILES) if name >= revision for kind in KINDS]
    return pytest.mark.parametrize("upgraded_location", cases, indirect=True, ids="-".join)


@pytest.fixture(scope="module")
def upgraded_location(request, databases, tmp_path_factory):
    """Upgraded once for all tests, which leave what others look at as it is."""
    revision, kind = request.param
    folder = tmp_path_factory.mktemp(f"r{revision}")
    location = databases.create_empty(kind, folder)
    # In a loop of its own: the tests have theirs, which is another for each.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, restore_file(revision, location, folder)).result()
    yield revision, location
    databases.drop(location)


@pytest.fixture
async def upgraded(upgraded_location):
    revision, location = upgraded_location
    database = Database(location)
    yield Upgraded(revision, database)
    await database.close()


@since("0001")
async def test_an_older_database_has_the_schema_of_today_and_clean_books(upgraded):
    async with upgraded.database.begin() as connection:
        assert await connection.run_sync(differences) == []
    assert await violations(upgraded.database, DATE_MS) == []
    if upgraded.has("0002"):
        entries, problems = await verify_log(upgraded.database, upgraded.peppers)
        assert entries > 10
        assert problems == []


@since("0001")
async def test_accounts_keys_and_money_are_what_they_were(upgraded):
    account = await accounts.get_account(upgraded.database, "acme")
    spent = 2 * COST - 500_000 if upgraded.has("0002") else 0
    assert account.paid + account.promo + account.held == PAID + GRANTED - 10**9 - spent
    assert account.held == 7_000_000
    [key] = await keys.list_account_keys(upgraded.database, "acme")
    assert (key.id, key.name, key.user != "") == (KEY_ID, "ci", True)

    cache = KeyCache(upgraded.database, upgraded.peppers, upgraded.clock, Secret(""))
    principal = await cache.principal(KEY)
    assert (principal.account, principal.key, principal.role) == ("acme", KEY_ID, "admin")
    if upgraded.has("0005"):
        token = await cache.principal(TOKEN)
        assert (token.key, token.origins) == (KEY_ID, ("https://app.example.com",))
        assert len(token.budgets) == len(principal.budgets) + 1
    await cache.close()


@since("0001")
async def test_limits_that_were_renamed_are_read_by_the_name_of_today(upgraded):
    renamed = not upgraded.has("0007")
    account = await accounts.get_account(upgraded.database, "acme")
    assert account.rules.limits == {"account_rpm": 500} | ({"api_rpm": 30} if renamed else {})
    key = await keys.get_key(upgraded.database, "acme", KEY_ID)
    assert key.limits == {"key_rpm": 60} | ({"api_rpm": 10} if renamed else {})

    cache = KeyCache(upgraded.database, upgraded.peppers, upgraded.clock, Secret(""))
    principal = await cache.principal(KEY)
    assert dict(principal.account_limits).get("api_rpm") == (30 if renamed else None)
    assert dict(principal.key_limits).get("api_rpm") == (10 if renamed else None)
    await cache.close()


@since("0002")
async def test_faults_that_were_renamed_are_shown_and_found_by_the_name_of_today(upgraded):
    for name, fault in FAULTS.items():
        details = await calls.get_call(upgraded.database, "acme", CALL_IDS[name])
        assert details.record["fault"] == fault
        if fault:
            assert await upgraded.call_ids(fault=fault) == [CALL_IDS[name]]

    mismatch = await calls.get_call(upgraded.database, "acme", CALL_IDS["mismatch"])
    if not upgraded.has("0007"):
        assert mismatch.attempts[0]["fault"] == "idempotency_mismatch"
    # Whoever still filters by an old name finds the same calls.
    assert await upgraded.call_ids(fault="other_request") == [CALL_IDS["mismatch"]]
    listed = await calls.list_latest_calls(upgraded.database, 100, "acme")
    assert {row["fault"] for row in listed} == set(FAULTS.values())
    ended = await calls.list_calls_ended_since(upgraded.database, DATE_MS, "acme")
    assert {row["fault"] for row in ended} == set(FAULTS.values())


@since("0002")
async def test_what_calls_came_to_is_summed_up(upgraded):
    spending = await usage.get_spending(upgraded.database, "acme", DATE_MS)
    assert (spending.ever, spending.day) == (2 * COST, 2 * COST)
    assert await usage.refund_total(upgraded.database, "acme") == 500_000
    details = await calls.get_call(upgraded.database, "acme", CALL_IDS["served"])
    assert {transfer["kind"] for transfer in details.transfers} >= {"hold", "usage", "refund_call"}
    assert wallet_paid("acme") not in {transfer["debit"] for transfer in details.transfers}


@since("0004")
async def test_a_stored_reply_is_given_again_and_a_webhook_keeps_its_secret(upgraded):
    claims = SqlClaims(upgraded.database, upgraded.peppers, upgraded.clock, "owner")
    again = call_named(
        "served", idempotency_key=IDEMPOTENCY_KEY, fingerprint="fingerprint", id="another"
    )
    reply = await SqlReplays(claims, upgraded.clock).claim(again)
    assert reply is not None
    assert (reply.call, reply.reply) == (CALL_IDS["replayed"], REPLY)

    outbox = SqlOutbox(upgraded.database, upgraded.peppers, upgraded.clock, "owner", set())
    deliveries = await outbox.claim()
    assert {delivery.kind for delivery in deliveries} == {"webhook.test", "balance.low"}
    assert {delivery.secret.reveal() for delivery in deliveries} == {WEBHOOK_SECRET}


@since("0007")
async def test_a_stored_provider_key_is_used_and_a_switch_holds(upgraded):
    read = await SqlCatalogOverrides(upgraded.database).read(DATE_MS)
    changes = changes_from_overrides(read, upgraded.peppers)
    providers = providers_from(provider_rows(), {}, {}, changes)
    assert [key.key.reveal() for key in providers["groq"].credentials] == [PROVIDER_KEY]
    assert "maintenance" in providers["mistral"].off


def test_every_schema_has_its_database():
    """`python -m tests.store.databases.make` makes the one of a new revision."""
    assert sorted(FILES) == sorted(MIGRATIONS)
    assert max(FILES) == REVISION
    assert [path.name for path in FILES.values() if path.stat().st_size > MAX_FILE_BYTES] == []


@pytest.mark.parametrize("revision", sorted(MIGRATIONS))
def test_a_migration_only_adds(revision):
    """Two versions run on one database while they are exchanged, so nothing goes that one uses.

    What a migration makes superfluous is taken away by a migration of a later version, which is
    named in `TAKEN_AWAY_LATER`.
    """
    tree = ast.parse(MIGRATIONS[revision].read_text())
    upgrades = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name != "downgrade"
    ]
    operations = {
        call.func.attr
        for function in upgrades
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "op"
    }
    assert operations
    if revision in TAKEN_AWAY_LATER:
        assert TAKEN_AWAY_LATER[revision] < revision
    else:
        assert operations <= ADDING
