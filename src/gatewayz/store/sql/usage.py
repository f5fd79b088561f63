"""Usage: what calls came to, summed by what somebody wants to know. Read from the records; nothing is kept twice."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import ColumnElement, FromClause, Select, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB

from gatewayz.core.faults import Fault
from gatewayz.store.sql.calls import Whose, first_ulid
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.tables import CALLS, TRANSFERS

DAY_MS = 86_400_000
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
    ordered = grouped.order_by(name) if by == "day" else grouped.order_by(func.sum(CALLS.c.cost).desc(), name)
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(ordered)).all()
    return [Group(_shown(by, row[0]), *map(int, row[1:])) for row in rows]


async def total(database: Database, whose: Whose, since_ms: int = 0) -> int:
    """What calls have cost since a moment, in nano-dollars."""
    wanted = whose.of(select(func.coalesce(func.sum(CALLS.c.cost), 0)))
    if since_ms:
        wanted = wanted.where(CALLS.c.id >= first_ulid(since_ms))
    async with database.begin(reading=True) as connection:
        return int((await connection.execute(wanted)).scalar_one())


async def given_back(database: Database, account: str) -> int:
    """What was given back of the charges of calls, in nano-dollars."""
    back = select(func.coalesce(func.sum(TRANSFERS.c.amount), 0))
    own = back.where(TRANSFERS.c.account_id == account, TRANSFERS.c.kind == "refund_call")
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
        listed = func.jsonb_array_elements_text(cast(CALLS.c.tags, JSONB)).table_valued("value", name="tag")
        return listed.c.value, listed
    listed = func.json_each(CALLS.c.tags).table_valued("value", name="tag")
    return listed.c.value, listed


def _within(wanted: Select[Any], span: Span) -> Select[Any]:
    """By the names of calls, which tell when they began: the index that begins with the account ends with them."""
    return wanted.where(CALLS.c.id >= first_ulid(span.from_ms), CALLS.c.id < first_ulid(span.until_ms))


def _shown(by: By, name: Any) -> str:
    return f"{datetime.fromtimestamp(name * DAY_MS / 1000, UTC):%Y-%m-%d}" if by == "day" else str(name)
