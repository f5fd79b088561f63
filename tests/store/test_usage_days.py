"""What calls sum to by key and day is booked with them, on both databases.

Exact whatever a batch holds, and answered without reading a call.
"""

import asyncio
import random
from importlib import import_module

import pytest
from msgspec.structs import replace
from sqlalchemy import event, select, text

from gatewayz.control import usage
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import DAY_MS, SystemClock
from gatewayz.core.money import Nanos
from gatewayz.ledger.values import period_start_ms
from gatewayz.store.sql.ledger.reconcile import violations
from gatewayz.store.sql.tables import USAGE_DAYS
from tests.support.money import call_of, open_account, outcome_of

NOW_MS = 1_800_000_000_000


async def days(database):
    async with database.begin(reading=True) as connection:
        return [
            tuple(row)
            for row in (
                await connection.execute(select(USAGE_DAYS).order_by(*USAGE_DAYS.primary_key))
            ).all()
        ]


async def book_calls(store, calls):
    """Calls at once, so that a batch holds many: some settled twice, some refused."""

    async def book(call, cost, fault):
        outcome = replace(outcome_of(cost or 0), fault=fault)
        if cost is None:
            refused = replace(outcome_of(0), fault="insufficient_credit")
            await store.books.record_refused_call(call, refused)
            return
        hold = await store.books.hold(call, Ceiling(Nanos(500)))
        await store.books.settle(call, hold, outcome)
        await store.books.settle(call, hold, outcome)

    await asyncio.gather(*(book(*call) for call in calls))


@pytest.fixture
async def sample_calls(store, database):
    """Five hundred calls of two accounts with three keys over four days.

    As (account, key, day, cost, failed).
    """
    for name in ("one", "two"):
        await open_account(database, store.books, name, paid=10**9)
    rng, calls, expected = random.Random(7), [], []
    for _ in range(500):
        who, key, day = rng.choice(["one", "two"]), rng.choice("abc"), rng.randrange(4)
        cost, fault = (
            rng.choice([None, 0, rng.randrange(1, 400)]),
            rng.choice(["", "", "upstream_cut"]),
        )
        call = call_of(who)
        at = NOW_MS - day * DAY_MS - rng.randrange(DAY_MS // 2)
        call = replace(call, received_ms=at, principal=replace(call.principal, key=key))
        calls.append((call, cost, fault))
        expected.append((who, key, at // DAY_MS, cost or 0, cost is None or bool(fault)))
    await book_calls(store, calls)
    return expected


async def test_every_call_counts_once_on_its_day(sample_calls, database):
    sums: dict[tuple[str, str, int], list[int]] = {}
    for who, key, day, cost, failed in sample_calls:
        totals = sums.setdefault((who, key, day), [0, 0, 0])
        for place, amount in enumerate((1, failed, cost)):
            totals[place] += amount
    assert {row[:3]: [row[3], row[4], row[7]] for row in await days(database)} == sums
    assert await violations(database, SystemClock().wall_ms()) == []


async def test_what_was_spent_is_answered_without_reading_a_call(sample_calls, database):
    statements = []
    event.listen(
        database.engine.sync_engine,
        "before_cursor_execute",
        lambda _, __, statement, *rest: statements.append(statement),
    )
    for who, key in (("one", ""), ("one", "a"), ("two", "c"), ("nobody", "")):
        own = [
            (day, cost)
            for account, name, day, cost, _ in sample_calls
            if account == who and key in {"", name}
        ]
        spending = await usage.get_spending(database, who, NOW_MS, key)
        since = [
            period_start_ms(period, NOW_MS) // DAY_MS
            for period in ("total", "day", "week", "month")
        ]
        assert [spending.ever, spending.day, spending.week, spending.month] == [
            sum(cost for day, cost in own if day >= first) for first in since
        ]
    assert await usage.refund_total(database, "one") == 0
    assert not [text for text in statements if "calls" in text.replace("usage_days.calls", "")]


async def test_refunds_are_found_by_an_index_of_their_own(database, kind):
    statement = "SELECT SUM(amount) FROM transfers WHERE account_id = 'a' AND kind = 'refund_call'"
    async with database.begin() as connection:
        if kind == "sqlite":
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
        else:
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = await connection.exec_driver_sql(f"EXPLAIN {statement}")
        assert "transfers_refunds" in str(plan.all())


async def test_the_migration_sums_up_the_calls_that_there_are(sample_calls, database):
    before = await days(database)
    migration = import_module("gatewayz.store.sql.migrations.versions.r0006_usage_days")
    async with database.begin() as connection:
        await connection.execute(text("DELETE FROM usage_days"))
        await connection.execute(text(migration.SUMS))
    assert await days(database) == before
    assert len(before) > 12
