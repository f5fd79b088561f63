"""Digests under the current secret: a key that was made with an older one is kept anew when it is used."""

from collections.abc import Sequence

from sqlalchemy import update

from gatewayz.core.faults import Fault
from gatewayz.store.secret import Pepper
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.principals import Kept
from gatewayz.store.sql.tables import API_KEYS


async def repeppered(database: Database, current: Pepper, old: Sequence[tuple[Kept, str]]) -> None:
    """Replaces digests, each with what the key's digest is now; if the store cannot now, it will another time."""
    try:
        async with database.begin() as connection:
            for kept, digest in old:
                same = update(API_KEYS).where(
                    API_KEYS.c.id == kept.key_id, API_KEYS.c.digest == kept.digest
                )
                await connection.execute(same.values(digest=digest, pepper_id=current.id))
    except Fault:
        return
