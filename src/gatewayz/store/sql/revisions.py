"""Revisions: counters of changes, so that a process notices what another one has changed."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.store.sql.database import insert_into
from gatewayz.store.sql.tables import REVISIONS

CATALOG = "catalog"
"""The subject for models, offers, prices, and keys and switches of providers."""
FIRST_DAY = "first_day"
"""Counts nothing: the first day, since 1970, of which the records of calls are still there."""
KEYS = "keys"
"""The subject for accounts, users, keys, budgets: whatever a principal is made of."""


async def increment_revision(connection: AsyncConnection, subject: str) -> int:
    """Counts one more; the new number. Whoever comes next waits until this transaction ends."""
    first = insert_into(connection, REVISIONS).values(subject=subject, number=1)
    counted = first.on_conflict_do_update(
        index_elements=["subject"], set_={"number": REVISIONS.c.number + 1}
    )
    returned = await connection.execute(counted.returning(REVISIONS.c.number))
    return int(returned.scalar_one())


async def get_revision(connection: AsyncConnection, subject: str) -> int:
    """The number of a subject; 0 before its first change."""
    number = select(REVISIONS.c.number).where(REVISIONS.c.subject == subject)
    return int((await connection.execute(number)).scalar() or 0)
