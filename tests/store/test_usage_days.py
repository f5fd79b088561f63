"""What calls sum to by account, day, key, model and provider is booked with them, on both databases.

Exact whatever a batch holds, and answered without reading a call.
"""

import asyncio
import random
from importlib import import_module

import pytest
from msgspec.structs import replace
from sqlalchemy import event, select, text, update

from gatewayz.control import usage
from gatewayz.control.access import OwnerFilter
from gatewayz.core.calls import Call, first_ulid
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import DAY_MS, SystemClock
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.ledger.values import period_start_ms
from gatewayz.store.sql.ledger.reconcile import violations
from gatewayz.store.sql.tables import CALLS, USAGE_MODELS
from tests.support.money import call_of, open_account, outcome_of

NOW_MS = 1_800_000_000_000


async def days(database):
    async with database.begin(reading=True) as connection:
        return [
            tuple(row)
            for row in (
                await connection.execute(select(USAGE_MODELS).order_by(*USAGE_MODELS.primary_key))
            ).all()
        ]


async def book_calls(store, calls):
    """Calls at once, so that a batch holds many: some settled twice, some refused."""

    async def book(call, cost, fault, model):
        outcome = replace(outcome_of(cost or 0), fault=fault, model=model)
        if cost is None:
            refused = replace(outcome_of(0), fault="insufficient_credit", model=model)
            await store.books.record_refused_call(call, refused)
            return
        hold = await store.books.hold(call, Ceiling(Nanos(500)))
        await store.books.settle(call, hold, outcome)
        await store.books.settle(call, hold, outcome)

    await asyncio.gather(*(book(*call) for call in calls))


@pytest.fixture
async def sample_calls(store, database):
    """Five hundred calls of two accounts with three keys and three models over four days.

    As (account, day, key, model, cost, failed).
    """
    for name in ("one", "two"):
        await open_account(database, store.books, name, paid=10**9)
    rng = random.Random(7)
    calls: list[tuple[Call, int | None, str, str]] = []
    expected: list[tuple[str, int, str, str, int, bool]] = []
    for _ in range(500):
        who, key, day = rng.choice(["one", "two"]), rng.choice("abc"), rng.randrange(4)
        cost, fault = (
            rng.choice([None, 0, rng.randrange(1, 400)]),
            rng.choice(["", "", "upstream_cut"]),
        )
        call = call_of(who)
        at = NOW_MS - day * DAY_MS - rng.randrange(DAY_MS // 2)
        call = replace(call, received_ms=at, principal=replace(call.principal, key=key))
        model = rng.choice(["one/model", "two/model", ""])
        calls.append((call, cost, fault, model))
        failed = cost is None or bool(fault)
        expected.append((who, at // DAY_MS, key, model, cost or 0, failed))
    await book_calls(store, calls)
    return expected


async def test_every_call_counts_once_on_its_day(sample_calls, database):
    sums: dict[tuple[str, int, str, str], list[int]] = {}
    for *name, cost, failed in sample_calls:
        totals = sums.setdefault(tuple(name), [0, 0, 0])
        for place, amount in enumerate((1, failed, cost)):
            totals[place] += amount
    booked = {row[:4]: [row[5], row[6], row[9]] for row in await days(database)}
    assert booked == sums
    assert await violations(database, SystemClock().wall_ms()) == []


@pytest.fixture
def statements(database):
    """The statements that are sent from now on."""
    sent: list[str] = []
    event.listen(
        database.engine.sync_engine,
        "before_cursor_execute",
        lambda _, __, statement, *rest: sent.append(statement),
    )
    return sent


async def test_what_was_spent_is_answered_without_reading_a_call(
    sample_calls, database, statements
):
    for who, key in (("one", ""), ("one", "a"), ("two", "c"), ("nobody", "")):
        own = [
            (day, cost)
            for account, day, name, _, cost, _ in sample_calls
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
    assert not [text for text in statements if "FROM calls" in text]


@pytest.mark.parametrize(
    "by", ["day", "account", "key", "model", "provider", "account,model,day", "key, day", "day,tag"]
)
async def test_usage_is_summed_by_what_is_asked_and_reads_sums_where_there_are(
    sample_calls, database, statements, by
):
    dimensions = usage.parse_dimensions(by)
    first = NOW_MS // DAY_MS - 2
    span = usage.Days(first, NOW_MS // DAY_MS)
    groups = await usage.aggregate_usage(database, OwnerFilter(""), dimensions, span)

    expected: dict[tuple[str, ...], list[int]] = {}
    for account, day, key, model, cost, failed in sample_calls:
        if day < first or "tag" in dimensions:
            continue
        names = {
            "account": account,
            "day": usage.day_text(day),
            "key": key,
            "model": model,
            "provider": "provider",
        }
        totals = expected.setdefault(tuple(names[name] for name in dimensions), [0, 0, 0])
        for place, amount in enumerate((1, failed, cost)):
            totals[place] += amount
    assert {
        tuple(group.names[name] for name in dimensions): [group.calls, group.failed, group.cost]
        for group in groups
    } == expected
    assert bool([text for text in statements if "FROM calls" in text]) == ("tag" in dimensions)


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        ("2027-01-15", "2027-01-15", (20_833, 20_833)),
        ("2027-01-01", "", (20_819, NOW_MS // DAY_MS)),
        ("", "", (NOW_MS // DAY_MS - 29, NOW_MS // DAY_MS)),
        ("", "2027-01-10", (20_799, 20_828)),
        ("1970-01-01", "1970-01-02", (0, 1)),
    ],
)
def test_days_are_dates_with_both_ends(first, last, days):
    span = usage.parse_days(first, last, NOW_MS)
    assert (span.first, span.last) == days


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [
        ("2027-02-30", "", "from: '2027-02-30' is no date"),
        ("1795559244228", "", "no date such as"),
        ("2027-01-10T00:00:00Z", "", "no date such as"),
        ("", "tomorrow", "to: 'tomorrow'"),
        ("2027-01-10", "2027-01-09", "comes before"),
        ("2020-01-01", "2027-01-09", "at most 366"),
        ("２０２７-01-01", "", "no date"),
    ],
)
def test_what_is_no_span_of_days_is_refused_by_name(first, last, says):
    with pytest.raises(Fault, match=says):
        usage.parse_days(first, last, NOW_MS)


def test_what_nothing_is_summed_by_is_refused_with_what_there_is():
    assert usage.parse_dimensions(" model,account,model ") == ("account", "model")
    for wrong in ("", ",", "modell", "day,cost"):
        with pytest.raises(Fault, match=r"known: day, account, key"):
            usage.parse_dimensions(wrong)


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
    migration = import_module("gatewayz.store.sql.migrations.versions.r0009_usage_by_model")
    async with database.begin() as connection:
        # A call's id is of the moment that it was made: here they were all made just now.
        rows = (await connection.execute(select(CALLS.c.id, CALLS.c.received_ms))).all()
        for row in rows:
            own = first_ulid(row.received_ms)[:10] + row.id[10:]
            await connection.execute(update(CALLS).where(CALLS.c.id == row.id).values(id=own))
        await connection.execute(text("DELETE FROM usage_models"))
        await connection.run_sync(migration.fill)
    assert await days(database) == before
    assert len(before) > 12
