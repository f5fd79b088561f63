"""Retention: records of calls and entries of the audit log are deleted when they are old enough.

What is deleted goes in slices, each a transaction of its own, so that bookings wait for none of
them long. Bookings, open holds and the sums of each day are never deleted. Before the first record
goes, the store says from which day on records are whole: checks of the books look no further back.
"""

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.control.audit import delete_first_entries
from gatewayz.core.calls import first_ulid
from gatewayz.core.clock import DAY_MS
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.revisions import FIRST_DAY, get_revision
from gatewayz.store.sql.tables import ATTEMPTS, CALLS, REVISIONS

SLICE_ROWS = 1_000
"""Rows that one transaction deletes: some ten milliseconds of SQLite's one writer."""
MAX_SLICES = 200
"""In a row; the next turn of the worker takes the others."""


async def delete_old_calls(
    database: Database, keep_days: int, now_ms: int, slice_rows: int = SLICE_ROWS
) -> int:
    """Deletes a slice of what is older than `keep_days` whole days; how many records it were.

    Faults: `unavailable`.
    """
    first_day = max(now_ms // DAY_MS - keep_days, 0)
    before = first_ulid(first_day * DAY_MS)
    async with database.begin() as connection:
        await _raise_first_day(connection, first_day)
        old = select(CALLS.c.id).where(CALLS.c.id < before).order_by(CALLS.c.id).limit(slice_rows)
        ids = list((await connection.execute(old)).scalars())
        if ids:
            # Attempts of older versions have rows of their own.
            own_attempts = ATTEMPTS.c.call_id.between(ids[0], ids[-1])
            await connection.execute(delete(ATTEMPTS).where(own_attempts))
            await connection.execute(delete(CALLS).where(CALLS.c.id.between(ids[0], ids[-1])))
        return len(ids)


async def _raise_first_day(connection: AsyncConnection, day: int) -> None:
    """The first day of which all records are there; it never goes back."""
    if day > await get_revision(connection, FIRST_DAY):
        row = {"subject": FIRST_DAY, "number": day}
        await connection.execute(upsert(connection, REVISIONS, row, ("number",)))


async def first_call_on_record(database: Database) -> str:
    """The least id of the days of which all records are there; empty where all are.

    Faults: `unavailable`.
    """
    async with database.begin(reading=True) as connection:
        first_day = await get_revision(connection, FIRST_DAY)
    return first_ulid(first_day * DAY_MS) if first_day else ""


async def delete_old_entries(
    database: Database, peppers: Peppers, keep_days: int, now_ms: int
) -> int:
    """Deletes a slice of the log that is older than `keep_days` whole days; how many entries.

    Faults: `unavailable`; `internal` for entries that were changed, which stay as they are.
    """
    before_ms = (now_ms // DAY_MS - keep_days) * DAY_MS
    async with database.begin() as connection:
        return await delete_first_entries(connection, peppers, before_ms, SLICE_ROWS)
