"""Usage: what calls came to over a span of time, summed by day, model, provider, key and the like.

How much was spent ever, which is needed all the time, comes from the sums by key and day that are
booked with the calls.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import ColumnElement, FromClause, Select, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB

from gatewayz.control.access import OwnerFilter
from gatewayz.core.calls import first_ulid
from gatewayz.core.clock import DAY_MS
from gatewayz.core.faults import Fault
from gatewayz.ledger.values import Period, period_start_ms
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.tables import CALLS, TRANSFERS, USAGE_DAYS

MAX_DAYS = 366
MAX_GROUPS = 1_000

UsageGroupBy = Literal["day", "model", "provider", "key", "end_user", "tag"]
COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "day": CALLS.c.received_ms // DAY_MS,
    "model": CALLS.c.model,
    "provider": CALLS.c.provider,
    "key": CALLS.c.key_id,
    "end_user": CALLS.c.end_user,
}
PERIODS: tuple[Period, ...] = ("total", "day", "week", "month")
"""In the order of the fields of `Spending`."""


class TimeRange(Struct, frozen=True):
    """From a moment on, and before another one, in milliseconds since the epoch."""

    from_ms: int
    until_ms: int


class UsageGroup(Struct, frozen=True):
    """What the calls of one group came to.

    `cost` is in nano-dollars, `failed` counts the calls without an answer.
    Example: UsageGroup("2026-11-28", calls=3, failed=0, input_tokens=90, output_tokens=40,
    cost=1_200_000)
    """

    name: str
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: int


class Spending(Struct, frozen=True):
    """What calls have cost in nano-dollars: ever, and since the day, week and month began."""

    ever: int
    day: int
    week: int
    month: int


async def aggregate_usage(
    database: Database, owner: OwnerFilter, by: UsageGroupBy, span: TimeRange
) -> list[UsageGroup]:
    """The largest groups first, days in order. Faults: `bad_request`, `unavailable`."""
    if not 0 < span.until_ms - span.from_ms <= MAX_DAYS * DAY_MS:
        raise Fault("bad_request", f"A span ends after it begins and has at most {MAX_DAYS} days.")

    name, tags = _group_column(by, database.engine.dialect.name)
    sums = select(name.label("name"), *_sum_columns())
    statement = owner.restrict(sums, CALLS.c.account_id, CALLS.c.key_id)
    if tags is not None:
        # Each call with each of its tags: the condition only has to be one that always holds.
        statement = statement.select_from(CALLS).join(tags, onclause=CALLS.c.id.is_not(None))
    grouped = _within(statement, span).group_by(name).limit(MAX_GROUPS)
    order = (name,) if by == "day" else (func.sum(CALLS.c.cost).desc(), name)
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(grouped.order_by(*order))).all()
    return [_group_from_row(by, row) for row in rows]


def _group_from_row(by: UsageGroupBy, row: Any) -> UsageGroup:
    return UsageGroup(
        name=_group_name(by, row.name),
        calls=int(row.calls),
        failed=int(row.failed),
        input_tokens=int(row.input_tokens),
        output_tokens=int(row.output_tokens),
        cost=int(row.cost),
    )


async def get_spending(database: Database, account: str, now_ms: int, key: str = "") -> Spending:
    """What an account's calls, or those of one of its keys, have cost. Faults: `unavailable`.

    Reads a row for each key and day, and no call.
    """
    first_days = [period_start_ms(period, now_ms) // DAY_MS for period in PERIODS]
    sums = [
        func.coalesce(func.sum(USAGE_DAYS.c.cost).filter(USAGE_DAYS.c.day >= day), 0)
        for day in first_days
    ]
    statement = select(*sums).where(USAGE_DAYS.c.account_id == account)
    if key:
        statement = statement.where(USAGE_DAYS.c.key_id == key)
    async with database.begin(reading=True) as connection:
        return Spending(*map(int, (await connection.execute(statement)).one()))


async def refund_total(database: Database, account: str) -> int:
    """What was given back of the charges of calls, in nano-dollars. Faults: `unavailable`."""
    # The kind is spelled out, no parameter: a partial index serves only who asks in these words.
    total = select(func.coalesce(func.sum(TRANSFERS.c.amount), 0)).where(
        TRANSFERS.c.account_id == account, TRANSFERS.c.kind == literal_column("'refund_call'")
    )
    async with database.begin(reading=True) as connection:
        return int((await connection.execute(total)).scalar_one())


def _sum_columns() -> tuple[ColumnElement[Any], ...]:
    return (
        func.count().label("calls"),
        func.count().filter(CALLS.c.fault != "").label("failed"),
        func.coalesce(func.sum(CALLS.c.input_tokens), 0).label("input_tokens"),
        func.coalesce(func.sum(CALLS.c.output_tokens), 0).label("output_tokens"),
        func.coalesce(func.sum(CALLS.c.cost), 0).label("cost"),
    )


def _group_column(by: UsageGroupBy, dialect: str) -> tuple[ColumnElement[Any], FromClause | None]:
    """What to group by; tags are lists, of which each entry counts, as a table of its own."""
    if by != "tag":
        return COLUMNS[by], None
    entries = (
        func.jsonb_array_elements_text(cast(CALLS.c.tags, JSONB))
        if dialect == "postgresql"
        else func.json_each(CALLS.c.tags)
    )
    tags = entries.table_valued("value", name="tag")
    return tags.c.value, tags


def _within(statement: Select[Any], span: TimeRange) -> Select[Any]:
    """By the ids of calls, which begin with their time: the index on account and id answers."""
    return statement.where(
        CALLS.c.id >= first_ulid(span.from_ms), CALLS.c.id < first_ulid(span.until_ms)
    )


def _group_name(by: UsageGroupBy, name: Any) -> str:
    if by == "day":
        return f"{datetime.fromtimestamp(name * DAY_MS / 1000, UTC):%Y-%m-%d}"
    return str(name)
