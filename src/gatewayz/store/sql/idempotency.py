"""Idempotency keys in the database: one row a key, claimed by one request, ended when that request is over.

A claim is running until its call is settled, or its change is committed; or until its owner has died or its time has
passed: then whoever asks next takes it over. Answers are kept for a day, encrypted.
"""

from typing import Any

from msgspec.msgpack import decode, encode
from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.calls import Call
from gatewayz.core.clock import Clock
from gatewayz.core.faults import Fault
from gatewayz.ports.replays import Claim, Kept
from gatewayz.store.memory.replays import check
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.checking import DEADLINE_GRACE_S, OWNER_SILENT_S
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.pagework import REPLAY_MS
from gatewayz.store.sql.tables import IDEMPOTENCY, OWNERS
from gatewayz.store.sql.vault import Vault

MAX_ANSWER_BYTES = 2**20


class SqlClaims:
    """Claims of any request. `owner` names this process in them, as in its holds."""

    def __init__(self, database: Database, peppers: Peppers, clock: Clock, owner: str) -> None:
        self._database = database
        self._vault = Vault(peppers, IDEMPOTENCY.name)
        self._clock = clock
        self._owner = owner

    async def take(self, claim: Claim) -> bytes | None:
        """Takes the key for this request; or the answer that was given under it.

        Faults: `in_flight`, `replay_unavailable`, `other_request`, `unavailable`.
        """
        row = self._row(claim)
        async with self._database.begin() as connection:
            taken = await connection.execute(upsert(self._database, IDEMPOTENCY, row))
            if taken.rowcount == 1:
                return None
            found = (await connection.execute(select(IDEMPOTENCY).where(_of(claim)))).first()
            if found is None or await self._over(connection, found):
                await self._take_over(connection, row, found)
                return None
        check(
            found.fingerprint,
            claim.fingerprint,
            running=found.state == "running",
            kept=found.state == "kept",
        )
        return self._vault.opened(found.answer, claim.key, claim.account)

    def _row(self, claim: Claim) -> dict[str, Any]:
        return {
            "account_id": claim.account,
            "key": claim.key,
            "fingerprint": claim.fingerprint,
            "call_id": claim.request,
            "owner": self._owner,
            "state": "running",
            "answer": None,
            "created_ms": self._clock.wall_ms(),
            "expires_ms": claim.until_ms + DEADLINE_GRACE_S * 1000,
        }

    async def _over(self, connection: AsyncConnection, found: Any) -> bool:
        """Whether the claim holds no more: its time has passed, or whoever runs it has died."""
        now = self._clock.wall_ms()
        if found.expires_ms < now:
            return True
        if found.state != "running":
            return False
        alive = select(OWNERS.c.id).where(
            OWNERS.c.id == found.owner, OWNERS.c.beat_ms > now - OWNER_SILENT_S * 1000
        )
        return (await connection.execute(alive)).first() is None

    async def _take_over(
        self, connection: AsyncConnection, row: dict[str, Any], found: Any
    ) -> None:
        """Faults: `in_flight` when somebody else was quicker."""
        if found is not None:
            same = IDEMPOTENCY.c.call_id == found.call_id
            mine = (IDEMPOTENCY.c.account_id == row["account_id"]) & (
                IDEMPOTENCY.c.key == row["key"]
            )
            taken = await connection.execute(update(IDEMPOTENCY).where(mine, same).values(**row))
            if taken.rowcount == 1:
                return
        raise Fault(
            "in_flight",
            "Another request with this Idempotency-Key has just begun.",
            retry_after_s=1.0,
        )

    async def free(self, claim: Claim) -> None:
        """Gives the key back when nothing was done under it; one that cannot be given back frees itself later."""
        held = (IDEMPOTENCY.c.call_id == claim.request) & (IDEMPOTENCY.c.state == "running")
        try:
            async with self._database.begin() as connection:
                await connection.execute(delete(IDEMPOTENCY).where(_of(claim), held))
        except Fault:
            # The store is away: the claim ends by itself when the request's time has passed.
            return

    async def keep(self, claim: Claim, plain: bytes) -> None:
        """Keeps the answer; when the store is away, what was done stays done and its answer is not kept."""
        answer = self.sealed(claim.key, claim.account, plain)
        ended = {"state": "not_kept" if answer is None else "kept", "answer": answer}
        own = update(IDEMPOTENCY).where(_of(claim), IDEMPOTENCY.c.call_id == claim.request)
        try:
            async with self._database.begin() as connection:
                await connection.execute(
                    own.values(**ended, expires_ms=self._clock.wall_ms() + REPLAY_MS)
                )
        except Fault:
            return

    def sealed(self, key: str, account: str, plain: bytes) -> bytes | None:
        """The answer as it is kept, which only its account can have again; nothing when it is too large."""
        return self._vault.closed(plain, key, account) if len(plain) <= MAX_ANSWER_BYTES else None


async def done_under(connection: AsyncConnection, claim: Claim, now_ms: int) -> None:
    """Says in a change's own transaction that it was made: after a crash its request is not made again.

    Faults: `in_flight` when the claim was lost to a later request, so that the change is not made.
    """
    running = update(IDEMPOTENCY).where(_of(claim), IDEMPOTENCY.c.call_id == claim.request)
    marked = await connection.execute(
        running.values(state="not_kept", expires_ms=now_ms + REPLAY_MS)
    )
    if not marked.rowcount:
        raise Fault(
            "in_flight",
            "Another request with this Idempotency-Key has taken over.",
            retry_after_s=1.0,
        )


def _of(claim: Claim) -> ColumnElement[bool]:
    return (IDEMPOTENCY.c.account_id == claim.account) & (IDEMPOTENCY.c.key == claim.key)


class SqlReplays:
    """The port `Replays`: claims of calls."""

    def __init__(self, claims: SqlClaims, clock: Clock) -> None:
        self._claims = claims
        self._clock = clock

    async def claim(self, call: Call) -> Kept | None:
        kept = await self._claims.take(self._claim(call))
        return decode(kept, type=Kept) if kept is not None else None

    async def free(self, call: Call) -> None:
        await self._claims.free(self._claim(call))

    def sealed(self, call: Call, kept: Kept) -> bytes | None:
        return self._claims.sealed(call.idempotency_key, call.principal.account, encode(kept))

    def _claim(self, call: Call) -> Claim:
        return Claim(
            account=call.principal.account,
            key=call.idempotency_key,
            fingerprint=call.fingerprint,
            request=call.id,
            until_ms=self._clock.wall_ms() + round((call.deadline - self._clock.now()) * 1000),
        )
