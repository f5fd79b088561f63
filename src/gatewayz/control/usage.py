"""Usage: what calls came to over some days, summed by account, key, model, provider and day.

That comes from the sums that are booked with the calls, so it costs what there are sums, and stays
when the records of calls are deleted. End users and tags are in the records alone: sums by these
read the calls of the days that are asked for.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from msgspec import Struct
from sqlalchemy import ColumnElement, Select, cast, desc, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import TableValuedAlias

from gatewayz.control.access import OwnerFilter
from gatewayz.core.calls import first_ulid
from gatewayz.core.clock import DAY_MS
from gatewayz.core.faults import Fault
from gatewayz.ledger.values import Period, period_start_ms
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.revisions import FIRST_DAY, get_revision
from gatewayz.store.sql.tables import CALLS, TRANSFERS, USAGE_MODELS

MAX_DAYS = 366
DEFAULT_DAYS = 30
DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
MAX_GROUPS = 10_000
"""Of one answer; what has more is asked for in fewer days, or by less."""

UsageDimension = Literal["day", "account", "key", "model", "provider", "end_user", "tag"]
DIMENSIONS: tuple[UsageDimension, ...] = get_args(UsageDimension)
SUM_COLUMNS: Mapping[UsageDimension, ColumnElement[Any]] = {
    "day": USAGE_MODELS.c.day,
    "account": USAGE_MODELS.c.account_id,
    "key": USAGE_MODELS.c.key_id,
    "model": USAGE_MODELS.c.model,
    "provider": USAGE_MODELS.c.provider,
}
CALL_COLUMNS: Mapping[UsageDimension, ColumnElement[Any]] = {
    "day": CALLS.c.received_ms // DAY_MS,
    "account": CALLS.c.account_id,
    "key": CALLS.c.key_id,
    "model": CALLS.c.model,
    "provider": CALLS.c.provider,
    "end_user": CALLS.c.end_user,
}
COUNTS = ("input_tokens", "output_tokens", "cost")
PERIODS: tuple[Period, ...] = ("total", "day", "week", "month")
"""In the order of the fields of `Spending`."""


class Days(Struct, frozen=True):
    """Days since 1970 in UTC, both included.

    Example: `Days(20_785, 20_785)` is the 2026-11-28.
    """

    first: int
    last: int


class UsageGroup(Struct, frozen=True):
    """What the calls of one group came to; `names` says which group, a day as a date.

    `cost` is in nano-dollars, `failed` counts the calls without an answer.
    Example: UsageGroup({"account": "acme", "day": "2026-11-28"}, calls=3, failed=0,
    input_tokens=90, output_tokens=40, cost=1_200_000)
    """

    names: dict[str, str]
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


def parse_dimensions(text: str) -> tuple[UsageDimension, ...]:
    """What to sum by, as it is written: `account,model,day`. Faults: `bad_request`."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    dimensions = tuple(each for each in DIMENSIONS if each in words)
    unknown = next((word for word in words if word not in DIMENSIONS), "")
    if unknown or not dimensions:
        raise Fault(
            "bad_request",
            f"by: {unknown[:64]!r} is nothing to sum by; known: {', '.join(DIMENSIONS)}, "
            "several with commas.",
            param="by",
        )
    return dimensions


def parse_days(first: str, last: str, now_ms: int) -> Days:
    """Dates, both included; without the last one until today, without the first one thirty days.

    Faults: `bad_request`.
    """
    end = _parse_day(last, "to") if last else now_ms // DAY_MS
    start = _parse_day(first, "from") if first else max(end - DEFAULT_DAYS + 1, 0)
    if not 0 <= end - start < MAX_DAYS:
        raise Fault(
            "bad_request",
            f"from {day_text(start)} to {day_text(end)}: the first day comes before the last, and "
            f"they are at most {MAX_DAYS} days.",
            param="from",
        )
    return Days(start, end)


def _parse_day(text: str, param: str) -> int:
    if DATE.fullmatch(text) is None:
        raise Fault("bad_request", _no_date(text, param), param=param)
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise Fault("bad_request", _no_date(text, param), param=param) from None
    return max(int(moment.timestamp() * 1000) // DAY_MS, 0)


def _no_date(text: str, param: str) -> str:
    return f"{param}: {text[:64]!r} is no date such as 2026-11-28."


def day_text(day: int) -> str:
    """A day as a date. Example: `day_text(20_785)` is `2026-11-28`"""
    return f"{datetime.fromtimestamp(day * DAY_MS / 1000, UTC):%Y-%m-%d}"


async def aggregate_usage(
    database: Database, owner: OwnerFilter, by: Sequence[UsageDimension], days: Days
) -> list[UsageGroup]:
    """Days in order, and the largest groups first. Faults: `bad_request`, `unavailable`."""
    booked = all(dimension in SUM_COLUMNS for dimension in by)
    build = _select_sums if booked else _select_calls
    statement = build(database.engine.dialect.name, owner, by, days)
    # By the names of the columns that are selected.
    first = ("day",) if "day" in by else ()
    order = (*first, desc("cost"), *by)
    async with database.begin(reading=True) as connection:
        if not booked:
            _check_not_deleted(await get_revision(connection, FIRST_DAY), days)
        rows = (
            (await connection.execute(statement.order_by(*order).limit(MAX_GROUPS + 1)))
            .mappings()
            .all()
        )
    if len(rows) > MAX_GROUPS:
        raise Fault(
            "bad_request",
            f"These are more than {MAX_GROUPS} groups: ask for fewer days, or sum by less.",
            param="by",
        )
    return [_group_from_row(by, row) for row in rows]


def _check_not_deleted(first_day: int, days: Days) -> None:
    """Faults: `bad_request` for days whose records are deleted: half an answer would look whole."""
    if days.first < first_day:
        raise Fault(
            "bad_request",
            f"Calls before {day_text(first_day)} are deleted, and with them their end users and "
            f"tags: ask from that day on, or by {', '.join(SUM_COLUMNS)}.",
            param="from",
        )


def _group_from_row(by: Sequence[UsageDimension], row: Mapping[str, Any]) -> UsageGroup:
    return UsageGroup(
        names={name: day_text(row[name]) if name == "day" else str(row[name]) for name in by},
        calls=int(row["calls"]),
        failed=int(row["failed"]),
        input_tokens=int(row["input_tokens"]),
        output_tokens=int(row["output_tokens"]),
        cost=int(row["cost"]),
    )


def _select_sums(
    dialect: str, owner: OwnerFilter, by: Sequence[UsageDimension], days: Days
) -> Select[Any]:
    """The sums that are booked."""
    names = [SUM_COLUMNS[dimension].label(dimension) for dimension in by]
    counts = [
        func.coalesce(func.sum(USAGE_MODELS.c[name]), 0).label(name)
        for name in ("calls", "failed", *COUNTS)
    ]
    statement = select(*names, *counts).where(
        USAGE_MODELS.c.day >= days.first, USAGE_MODELS.c.day <= days.last
    )
    statement = owner.restrict(statement, USAGE_MODELS.c.account_id, USAGE_MODELS.c.key_id)
    return statement.group_by(*(SUM_COLUMNS[dimension] for dimension in by))


def _select_calls(
    dialect: str, owner: OwnerFilter, by: Sequence[UsageDimension], days: Days
) -> Select[Any]:
    """The calls of these days, found by their ids, which begin with their time."""
    entries = _tag_entries(dialect)
    columns = {**CALL_COLUMNS, "tag": entries.c.value}
    counts = [
        func.count().label("calls"),
        func.count().filter(CALLS.c.fault != "").label("failed"),
        *(func.coalesce(func.sum(CALLS.c[name]), 0).label(name) for name in COUNTS),
    ]
    names = [columns[dimension].label(dimension) for dimension in by]
    statement = owner.restrict(select(*names, *counts), CALLS.c.account_id, CALLS.c.key_id)
    if "tag" in by:
        # Each call with each of its tags: the condition only has to be one that always holds.
        statement = statement.select_from(CALLS).join(entries, onclause=CALLS.c.id.is_not(None))
    within = statement.where(
        CALLS.c.id >= first_ulid(days.first * DAY_MS),
        CALLS.c.id < first_ulid((days.last + 1) * DAY_MS),
    )
    return within.group_by(*(columns[dimension] for dimension in by))


def _tag_entries(dialect: str) -> TableValuedAlias:
    """Tags are lists, of which each entry counts, as a table of its own."""
    listed = (
        func.jsonb_array_elements_text(cast(CALLS.c.tags, JSONB))
        if dialect == "postgresql"
        else func.json_each(CALLS.c.tags)
    )
    return listed.table_valued("value", name="tag")


async def get_spending(database: Database, account: str, now_ms: int, key: str = "") -> Spending:
    """What an account's calls, or those of one of its keys, have cost. Faults: `unavailable`.

    Reads a row for each day, key and model, and no call.
    """
    first_days = [period_start_ms(period, now_ms) // DAY_MS for period in PERIODS]
    sums = [
        func.coalesce(func.sum(USAGE_MODELS.c.cost).filter(USAGE_MODELS.c.day >= day), 0)
        for day in first_days
    ]
    statement = select(*sums).where(USAGE_MODELS.c.account_id == account)
    if key:
        statement = statement.where(USAGE_MODELS.c.key_id == key)
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
