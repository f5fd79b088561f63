"""Digests under the current secret: a key made with an older one is rehashed when it is used."""

from collections.abc import Sequence

from sqlalchemy import update

from gatewayz.control.auth.principals import ActiveKey
from gatewayz.core.faults import Fault
from gatewayz.store.secret import Pepper
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.tables import API_KEYS


async def rehash_keys(
    database: Database, current: Pepper, digests: Sequence[tuple[ActiveKey, str]]
) -> None:
    """Replaces digests, each by what the key's digest is under the current secret.

    If the store cannot be written now, it will be another time: both secrets are known.
    """
    try:
        async with database.begin() as connection:
            for key, digest in digests:
                # Unless another process was quicker, or the key was changed meanwhile.
                same = update(API_KEYS).where(
                    API_KEYS.c.id == key.key_id, API_KEYS.c.digest == key.digest
                )
                await connection.execute(same.values(digest=digest, pepper_id=current.id))
    except Fault:
        return
