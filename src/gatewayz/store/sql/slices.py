"""Slices of long lists: so many rows after a cursor, in the order of a key. What is added meanwhile moves nothing."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Select, literal, tuple_

from gatewayz.core.faults import Fault
from gatewayz.store.sql.database import Database

MAX_ROWS = 1_000
SEPARATOR = "~"


class Cut(Struct, frozen=True, kw_only=True):
    """Which slice: at most `limit` rows after the one that `after` names; from the beginning when it is empty."""

    after: str = ""
    limit: int = 100
    newest_first: bool = False


class Slice(Struct, frozen=True):
    """Rows, and the cursor of the last one if there are more."""

    rows: list[dict[str, Any]]
    next: str = ""


Keys = Sequence[ColumnElement[Any]]


async def sliced(database: Database, wanted: Select[Any], keys: Keys, cut: Cut) -> Slice:
    """A slice of what is wanted, ordered by `keys`, which name each row. Faults: `bad_request`, `unavailable`."""
    if cut.after:
        wanted = wanted.where(_beyond(keys, cut))
    limit = min(max(cut.limit, 1), MAX_ROWS)
    ordered = wanted.order_by(
        *((key.desc() if cut.newest_first else key.asc()) for key in keys)
    ).limit(limit + 1)
    async with database.begin(reading=True) as connection:
        rows = [dict(row) for row in (await connection.execute(ordered)).mappings().all()]
    if len(rows) <= limit:
        return Slice(rows)
    last = rows[limit - 1]
    return Slice(rows[:limit], SEPARATOR.join(str(last[str(key.key)]) for key in keys))


def _beyond(keys: Keys, cut: Cut) -> ColumnElement[bool]:
    parts = cut.after.split(SEPARATOR, len(keys) - 1)
    if len(parts) != len(keys):
        raise _no_cursor(cut.after)
    values = [
        literal(_value(key, part, cut), key.type) for key, part in zip(keys, parts, strict=True)
    ]
    place, end = tuple_(*keys), tuple_(*values)
    return place < end if cut.newest_first else place > end


def _value(key: ColumnElement[Any], part: str, cut: Cut) -> Any:
    if key.type.python_type is not int:
        return part
    if not part.isascii() or not part.isdecimal() or len(part) > 18:
        raise _no_cursor(cut.after)
    return int(part)


def _no_cursor(text: str) -> Fault:
    return Fault("bad_request", f"{text[:64]!r} is no cursor; take one from `next`.", param="after")
