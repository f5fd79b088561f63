"""Pages of rows: a statement with a cursor, so that a page costs the same wherever it lies."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, literal, tuple_

from gatewayz.core.faults import Fault
from gatewayz.core.pagination import Cursor, Page
from gatewayz.store.sql.database import Database

MAX_ROWS = 1_000
"""Of a page, and of the newest of something."""
MAX_LISTED = 10_000
"""Of what is read whole and has few rows: accounts, the people and keys of one, its budgets."""
SEPARATOR = "~"
MAX_DIGITS = 18
"""Of a number in a cursor: what a BIGINT surely holds."""

KeyColumns = Sequence[ColumnElement[Any]]


async def paginate(
    database: Database, statement: Select[Any], keys: KeyColumns, cursor: Cursor
) -> Page:
    """A page of what a statement selects, ordered by the columns `keys`, which name each row.

    Faults: `bad_request` for a cursor that is none, `unavailable`.
    """
    if cursor.after:
        statement = statement.where(_after_cursor(keys, cursor))
    limit = min(max(cursor.limit, 1), MAX_ROWS)
    order = [key.desc() if cursor.newest_first else key.asc() for key in keys]
    # One row more than the page says whether there is another page.
    ordered = statement.order_by(*order).limit(limit + 1)
    async with database.begin(reading=True) as connection:
        rows = [dict(row) for row in (await connection.execute(ordered)).mappings().all()]

    if len(rows) <= limit:
        return Page(rows)
    last = rows[limit - 1]
    return Page(rows[:limit], next=SEPARATOR.join(str(last[str(key.key)]) for key in keys))


def _after_cursor(keys: KeyColumns, cursor: Cursor) -> ColumnElement[bool]:
    parts = cursor.after.split(SEPARATOR, len(keys) - 1)
    if len(parts) != len(keys):
        raise _invalid_cursor(cursor)
    values = [
        literal(_cursor_value(key, part, cursor), key.type)
        for key, part in zip(keys, parts, strict=True)
    ]
    row, last = tuple_(*keys), tuple_(*values)
    return row < last if cursor.newest_first else row > last


def _cursor_value(key: ColumnElement[Any], part: str, cursor: Cursor) -> Any:
    if key.type.python_type is not int:
        return part
    if not part.isascii() or not part.isdecimal() or len(part) > MAX_DIGITS:
        raise _invalid_cursor(cursor)
    return int(part)


def _invalid_cursor(cursor: Cursor) -> Fault:
    return Fault(
        "bad_request",
        f"{cursor.after[:64]!r} is no cursor; take one from `next`.",
        param="after",
    )
