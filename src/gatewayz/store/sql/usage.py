"""Usage: what calls came to, summed by what somebody wants to know: from their records, over a span of time.

What is asked for all the time, how much was spent ever, comes from the sums by key and day that are booked with them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import ColumnElement, FromClause, Select, cast, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB

from gatewayz.core.faults import Fault
from gatewayz.ledger.values import Period, period_start
from gatewayz.store.sql.calls import Whose, first_ulid
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.records import DAY_MS
from gatewayz.store.sql.tables import CALLS, TRANSFERS, USAGE_DAYS

MAX_DAYS = 366
MAX_GROUPS = 1_000

By = Literal["day", "model", "provider", "key", "end_user", "tag"]
COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "day": CALLS.c.received_ms // DAY_MS,
    "model": CALLS.c.model,
    "provider": CALLS.c.provider,
    "key": CALLS.c.key_id,
    "end_user": CALLS.c.end_user,
}


class Span(Struct, frozen=True):
    """From a moment on, and before another one, in milliseconds."""

    from_ms: int
    until_ms: int


class Group(Struct, frozen=True):
    """What the calls of one group came to. `cost` is in nano-dollars, `failed` counts those without an answer."""

    name: str
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: int


async def summed(database: Database, whose: Whose, by: By, span: Span) -> list[Group]:
    """The largest groups first, days in order. Faults: `bad_request`, `unavailable`."""
    if not 0 < span.until_ms - span.from_ms <= MAX_DAYS * DAY_MS:
        raise Fault("bad_request", f"A span ends after it begins and has at most {MAX_DAYS} days.")
    name, tags = _name(by, database.engine.dialect.name)
    wanted = whose.of(select(name.label("name"), *_sums()))
    if tags is not None:
        wanted = wanted.select_from(CALLS).join(tags, onclause=CALLS.c.id.is_not(None))
    grouped = _within(wanted, span).group_by(name).limit(MAX_GROUPS)
    ordered = (
        grouped.order_by(name)
        if by == "day"
        else grouped.order_by(func.sum(CALLS.c.cost).desc(), name)
    )
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(ordered)).all()
    return [Group(_shown(by, row[0]), *map(int, row[1:])) for row in rows]


class Spent(Struct, frozen=True):
    """What calls have cost in nano-dollars: ever, and since the day, week and month began."""

    ever: int
    day: int
    week: int
    month: int


async def spent(database: Database, account: str, now_ms: int, key: str = "") -> Spent:
    """What an account's calls, or those of one of its keys, have cost; a row a key and day is read, no call."""
    own = USAGE_DAYS.c.account_id == account
    since = [period_start(period, now_ms) // DAY_MS for period in PERIODS]
    sums = [
        func.coalesce(func.sum(USAGE_DAYS.c.cost).filter(USAGE_DAYS.c.day >= day), 0)
        for day in since
    ]
    wanted = (
        select(*sums).where(own, USAGE_DAYS.c.key_id == key) if key else select(*sums).where(own)
    )
    async with database.begin(reading=True) as connection:
        return Spent(*map(int, (await connection.execute(wanted)).one()))


PERIODS: tuple[Period, ...] = ("total", "day", "week", "month")


async def given_back(database: Database, account: str) -> int:
    """What was given back of the charges of calls, in nano-dollars."""
    back = select(func.coalesce(func.sum(TRANSFERS.c.amount), 0))
    # Spelled out, because an index of some rows serves only who asks for these in so many words.
    own = back.where(
        TRANSFERS.c.account_id == account, TRANSFERS.c.kind == literal_column("'refund_call'")
    )
    async with database.begin(reading=True) as connection:
        return int((await connection.execute(own)).scalar_one())


def _sums() -> tuple[ColumnElement[Any], ...]:
    return (
        func.count(),
        func.count().filter(CALLS.c.fault != ""),
        func.coalesce(func.sum(CALLS.c.input_tokens), 0),
        func.coalesce(func.sum(CALLS.c.output_tokens), 0),
        func.coalesce(func.sum(CALLS.c.cost), 0),
    )


def _name(by: By, dialect: str) -> tuple[ColumnElement[Any], FromClause | None]:
    """What to group by; tags are lists, of which each entry counts."""
    if by != "tag":
        return COLUMNS[by], None
    if dialect == "postgresql":
        listed = func.jsonb_array_elements_text(cast(CALLS.c.tags, JSONB)).table_valued(
            "value", name="tag"
        )
        return listed.c.value, listed
    listed = func.json_each(CALLS.c.tags).table_valued("value", name="tag")
    return listed.c.value, listed


def _within(wanted: Select[Any], span: Span) -> Select[Any]:
    """By the names of calls, which tell when they began: the index that begins with the account ends with them."""
    return wanted.where(
        CALLS.c.id >= first_ulid(span.from_ms), CALLS.c.id < first_ulid(span.until_ms)
    )


def _shown(by: By, name: Any) -> str:
    return (
        f"{datetime.fromtimestamp(name * DAY_MS / 1000, UTC):%Y-%m-%d}"
        if by == "day"
        else str(name)
    )
