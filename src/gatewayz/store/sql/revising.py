"""Revisions: counters of changes, so that a process notices what another one has changed."""

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.store.sql.tables import REVISIONS

KEYS = "keys"
"""Accounts, users, keys, budgets: whatever a principal is made of."""


async def bumped(connection: AsyncConnection, subject: str) -> int:
    """Counts one more and returns the number; whoever comes next waits until this transaction ends."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    counted = insert(REVISIONS).values(subject=subject, number=1)
    upsert = counted.on_conflict_do_update(
        index_elements=["subject"], set_={"number": REVISIONS.c.number + 1}
    ).returning(REVISIONS.c.number)
    return int((await connection.execute(upsert)).scalar_one())


async def number_of(connection: AsyncConnection, subject: str) -> int:
    found = await connection.execute(
        select(REVISIONS.c.number).where(REVISIONS.c.subject == subject)
    )
    return int(found.scalar() or 0)
