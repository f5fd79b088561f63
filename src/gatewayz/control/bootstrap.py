"""The bootstrap key: the operator's first key, for an installation that has none yet."""

from sqlalchemy import false, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.control.keys import (
    KeySpec,
    generate_key,
    insert_key,
    key_event,
    key_from_row,
)
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.access import HOUSE, SCOPES
from gatewayz.store.sql.pagination import MAX_LISTED
from gatewayz.store.sql.tables import API_KEYS


async def create_bootstrap_key(
    transaction: ControlTransaction, *, only_first: bool, ends_foreign: bool = False
) -> str:
    """A new operator's key, in the place of the bootstrap key before it; the key itself.

    `only_first`: only while no operator's key works. Of several processes that start at once one
    makes it then; for the others nothing is made and the answer is empty. `ends_foreign`: keys that
    were made with a secret that is not here end too, whoever's they are.
    """
    spec = KeySpec(account=HOUSE, name="bootstrap", scopes=SCOPES, bootstrap=True)
    secret_text, key = generate_key(transaction, spec)
    async with transaction.begin_locked() as connection:
        if only_first and await _has_operator_key(connection, transaction):
            return ""
        known = [pepper.id for pepper in transaction.peppers.all]
        foreign = API_KEYS.c.pepper_id.not_in(known) if ends_foreign else false()
        ended = or_(API_KEYS.c.bootstrap.is_(True), foreign)
        old = update(API_KEYS).where(ended, API_KEYS.c.revoked_ms.is_(None))
        await connection.execute(old.values(revoked_ms=transaction.clock.wall_ms()))
        await insert_key(connection, key, transaction.peppers.current.digest(secret_text))
        await transaction.append_event(connection, key_event("key.make", key))
    return secret_text


async def _has_operator_key(connection: AsyncConnection, transaction: ControlTransaction) -> bool:
    """Whether an operator's key works here: made with a secret that is known, and active."""
    secrets = [pepper.id for pepper in transaction.peppers.all]
    usable = select(*API_KEYS.c).where(
        API_KEYS.c.account_id == HOUSE, API_KEYS.c.pepper_id.in_(secrets)
    )
    rows = (await connection.execute(usable.limit(MAX_LISTED))).mappings().all()
    now_ms = transaction.clock.wall_ms()
    keys = [key_from_row(dict(row)) for row in rows]
    return any("operator" in key.scopes and key.state(now_ms) == "active" for key in keys)
