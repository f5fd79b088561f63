"""What calls sum to by key and day is booked with them, on both databases: exact whatever a batch holds, and asked without reading a call."""

import asyncio
import random
from importlib import import_module

import pytest
from msgspec.structs import replace
from sqlalchemy import event, select, text

from gatewayz.core.clock import SystemClock
from gatewayz.core.money import Nanos
from gatewayz.ledger.values import period_start
from gatewayz.store.sql import usage
from gatewayz.store.sql.checking import violations
from gatewayz.store.sql.tables import USAGE_DAYS
from tests.support.money import account, call_of, outcome_of

DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000


async def days(database):
    async with database.begin(reading=True) as connection:
        return [
            tuple(row)
            for row in (
                await connection.execute(select(USAGE_DAYS).order_by(*USAGE_DAYS.primary_key))
            ).all()
        ]


async def booked(store, calls):
    """Calls at once, so that a batch holds many: some settled twice, some refused."""

    async def one(call, cost, fault):
        outcome = replace(outcome_of(cost or 0), fault=fault)
        if cost is None:
            await store.books.refused(call, replace(outcome_of(0), fault="insufficient_credit"))
            return
        hold = await store.books.hold(call, Nanos(500))
        await store.books.settle(call, hold, outcome)
        await store.books.settle(call, hold, outcome)

    await asyncio.gather(*(one(*call) for call in calls))


@pytest.fixture
async def many(store, database):
    """Five hundred calls of two accounts with three keys over four days: (account, key, day, cost, failed)."""
    for name in ("one", "two"):
        await account(database, store.books, name, paid=10**9)
    dice, made, told = random.Random(7), [], []
    for _ in range(500):
        who, key, day = dice.choice(["one", "two"]), dice.choice("abc"), dice.randrange(4)
        cost, fault = (
            dice.choice([None, 0, dice.randrange(1, 400)]),
            dice.choice(["", "", "upstream_cut"]),
        )
        call = call_of(who)
        at = NOW_MS - day * DAY_MS - dice.randrange(DAY_MS // 2)
        call = replace(call, received_ms=at, principal=replace(call.principal, key=key))
        made.append((call, cost, fault))
        told.append((who, key, at // DAY_MS, cost or 0, cost is None or bool(fault)))
    await booked(store, made)
    return told


async def test_every_call_counts_once_on_its_day(many, database):
    sums = {}
    for who, key, day, cost, failed in many:
        found = sums.setdefault((who, key, day), [0, 0, 0])
        for place, amount in enumerate((1, failed, cost)):
            found[place] += amount
    assert {row[:3]: [row[3], row[4], row[7]] for row in await days(database)} == sums
    assert await violations(database, SystemClock().wall_ms()) == []


async def test_what_was_spent_is_told_without_reading_a_call(many, database):
    seen = []
    event.listen(
        database.engine.sync_engine,
        "before_cursor_execute",
        lambda _, __, statement, *rest: seen.append(statement),
    )
    for who, key in (("one", ""), ("one", "a"), ("two", "c"), ("nobody", "")):
        own = [
            (day, cost)
            for account, name, day, cost, _ in many
            if account == who and key in {"", name}
        ]
        found = await usage.spent(database, who, NOW_MS, key)
        since = [
            period_start(period, NOW_MS) // DAY_MS for period in ("total", "day", "week", "month")
        ]
        assert [found.ever, found.day, found.week, found.month] == [
            sum(cost for day, cost in own if day >= first) for first in since
        ]
    assert await usage.given_back(database, "one") == 0
    assert not [one for one in seen if "calls" in one.replace("usage_days.calls", "")]


async def test_refunds_are_found_by_an_index_of_their_own(database, kind):
    async with database.begin() as connection:
        if kind == "sqlite":
            plan = await connection.exec_driver_sql(
                "EXPLAIN QUERY PLAN SELECT SUM(amount) FROM transfers WHERE account_id = 'a' AND kind = 'refund_call'"
            )
        else:
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = await connection.exec_driver_sql(
                "EXPLAIN SELECT SUM(amount) FROM transfers WHERE account_id = 'a' AND kind = 'refund_call'"
            )
        assert "transfers_refunds" in str(plan.all())


async def test_the_migration_sums_up_the_calls_that_there_are(many, database):
    before = await days(database)
    migration = import_module("gatewayz.store.sql.migrations.versions.r0006_usage_days")
    async with database.begin() as connection:
        await connection.execute(text("DELETE FROM usage_days"))
        await connection.execute(text(migration.SUMS))
    assert await days(database) == before
    assert len(before) > 12
