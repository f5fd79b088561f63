"""Idempotency keys in the database: one row a key, claimed by one call, ended by that call's settlement.

A claim is running until its call is settled, or until its owner has died or its time has passed: then whoever asks next
takes it over. Answers are kept for a day, encrypted.
"""

from typing import Any

from msgspec.msgpack import decode, encode
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.calls import Call
from gatewayz.core.clock import Clock
from gatewayz.core.faults import Fault
from gatewayz.ports.replays import Kept
from gatewayz.store.memory.replays import check
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.checking import DEADLINE_GRACE_S, OWNER_SILENT_S
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.tables import IDEMPOTENCY, OWNERS
from gatewayz.store.sql.vault import Vault

MAX_ANSWER_BYTES = 2**20


class SqlReplays:
    """The port `Replays`. `owner` names this process in its claims, as in its holds."""

    def __init__(self, database: Database, peppers: Peppers, clock: Clock, owner: str) -> None:
        self._database = database
        self._vault = Vault(peppers, IDEMPOTENCY.name)
        self._clock = clock
        self._owner = owner

    async def claim(self, call: Call) -> Kept | None:
        row = self._row(call)
        async with self._database.begin() as connection:
            taken = await connection.execute(upsert(self._database, IDEMPOTENCY, row))
            if taken.rowcount == 1:
                return None
            found = await self._found(connection, call)
            if found is None or await self._over(connection, found):
                await self._take_over(connection, row, found)
                return None
        check(found.fingerprint, call, running=found.state == "running", kept=found.state == "kept")
        plain = self._vault.opened(found.answer, call.idempotency_key, call.principal.account)
        return decode(plain, type=Kept)

    def _row(self, call: Call) -> dict[str, Any]:
        now = self._clock.wall_ms()
        left_s = call.deadline - self._clock.now() + DEADLINE_GRACE_S
        return {
            "account_id": call.principal.account,
            "key": call.idempotency_key,
            "fingerprint": call.fingerprint,
            "call_id": call.id,
            "owner": self._owner,
            "state": "running",
            "answer": None,
            "created_ms": now,
            "expires_ms": now + round(left_s * 1000),
        }

    async def _found(self, connection: AsyncConnection, call: Call) -> Any:
        mine = (IDEMPOTENCY.c.account_id == call.principal.account) & (IDEMPOTENCY.c.key == call.idempotency_key)
        return (await connection.execute(select(IDEMPOTENCY).where(mine))).first()

    async def _over(self, connection: AsyncConnection, found: Any) -> bool:
        """Whether the claim holds no more: its time has passed, or whoever runs it has died."""
        now = self._clock.wall_ms()
        if found.expires_ms < now:
            return True
        if found.state != "running":
            return False
        alive = select(OWNERS.c.id).where(OWNERS.c.id == found.owner, OWNERS.c.beat_ms > now - OWNER_SILENT_S * 1000)
        return (await connection.execute(alive)).first() is None

    async def _take_over(self, connection: AsyncConnection, row: dict[str, Any], found: Any) -> None:
        """Faults: `in_flight` when somebody else was quicker."""
        if found is not None:
            same = IDEMPOTENCY.c.call_id == found.call_id
            mine = (IDEMPOTENCY.c.account_id == row["account_id"]) & (IDEMPOTENCY.c.key == row["key"])
            taken = await connection.execute(update(IDEMPOTENCY).where(mine, same).values(**row))
            if taken.rowcount == 1:
                return
        raise Fault("in_flight", "Another request with this Idempotency-Key has just begun.", retry_after_s=1.0)

    async def free(self, call: Call) -> None:
        mine = (IDEMPOTENCY.c.account_id == call.principal.account) & (IDEMPOTENCY.c.key == call.idempotency_key)
        held = (IDEMPOTENCY.c.call_id == call.id) & (IDEMPOTENCY.c.state == "running")
        try:
            async with self._database.begin() as connection:
                await connection.execute(delete(IDEMPOTENCY).where(mine, held))
        except Fault:
            # The store is away: the claim ends by itself when the call's time has passed.
            return

    def sealed(self, call: Call, kept: Kept) -> bytes | None:
        plain = encode(kept)
        if len(plain) > MAX_ANSWER_BYTES:
            return None
        return self._vault.closed(plain, call.idempotency_key, call.principal.account)
