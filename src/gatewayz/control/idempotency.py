"""Idempotency keys in the database: a row a key, claimed by one request, ended when that is over.

A claim is running until its call is settled or its change is committed; or until its process has
died or its time has passed: then the next request takes it over. Answers are stored for a day,
encrypted.
"""

from typing import Any

from msgspec.msgpack import decode, encode
from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.calls import Call
from gatewayz.core.clock import Clock, SteadyClock
from gatewayz.core.faults import Fault
from gatewayz.ledger.values import DEADLINE_GRACE_S, REPLAY_MS
from gatewayz.ports.replays import IN_FLIGHT_RETRY_S, Claim, StoredReply, check_claim
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.tables import IDEMPOTENCY, OWNERS
from gatewayz.store.sql.vault import Vault

MAX_ANSWER_BYTES = 2**20


class SqlClaims:
    """Claims of any request, calls and changes alike. `owner` names this process in them."""

    def __init__(self, database: Database, peppers: Peppers, clock: Clock, owner: str) -> None:
        self._database = database
        # The name of the table is part of what answers are encrypted with.
        self._vault = Vault(peppers, IDEMPOTENCY.name)
        self._clock = clock
        self._steady = SteadyClock(clock)
        self._owner = owner

    async def acquire(self, claim: Claim) -> bytes | None:
        """Takes the key for this request, or returns the answer that was given under it.

        Faults: `in_flight`, `replay_unavailable`, `idempotency_mismatch`, `unavailable`.
        """
        row = self._row(claim)
        async with self._database.begin() as connection:
            inserted = await connection.execute(upsert(connection, IDEMPOTENCY, row))
            if inserted.rowcount == 1:
                return None
            stored = (
                await connection.execute(select(IDEMPOTENCY).where(_claim_clause(claim)))
            ).first()
            if stored is None or await self._has_lapsed(connection, stored):
                await self._take_over(connection, row, stored)
                return None

        check_claim(
            stored.fingerprint,
            claim.fingerprint,
            running=stored.state == "running",
            kept=stored.state == "kept",
        )
        answer = self._vault.decrypt(stored.answer, claim.key, claim.account)
        if answer is None:
            raise Fault(
                "replay_unavailable",
                "The stored answer cannot be decrypted any more; use a new Idempotency-Key.",
            )
        return answer

    def _row(self, claim: Claim) -> dict[str, Any]:
        now_ms = self._clock.wall_ms()
        left_ms = claim.until_ms - now_ms + DEADLINE_GRACE_S * 1000
        return {
            "account_id": claim.account,
            "key": claim.key,
            "fingerprint": claim.fingerprint,
            "call_id": claim.request,
            "owner": self._owner,
            "state": "running",
            "answer": None,
            "created_ms": now_ms,
            "expires_ms": self._steady.wall_ms() + left_ms,
        }

    async def _has_lapsed(self, connection: AsyncConnection, stored: Any) -> bool:
        """Whether the claim holds no more: its time has passed, or whoever runs it has died.

        While it runs, its time is told by the clock of its own process, and by no other's date.
        """
        if stored.state != "running":
            return bool(stored.expires_ms < self._clock.wall_ms())
        if stored.owner == self._owner and stored.expires_ms < self._steady.wall_ms():
            return True
        alive = select(OWNERS.c.id).where(OWNERS.c.id == stored.owner)
        return (await connection.execute(alive)).first() is None

    async def _take_over(
        self, connection: AsyncConnection, row: dict[str, Any], stored: Any
    ) -> None:
        """Puts this claim in the place of one that has lapsed. Faults: `in_flight`."""
        if stored is not None:
            # Of several that saw the lapsed claim, only the first still finds its request there.
            lapsed = (
                (IDEMPOTENCY.c.account_id == row["account_id"])
                & (IDEMPOTENCY.c.key == row["key"])
                & (IDEMPOTENCY.c.call_id == stored.call_id)
            )
            taken = await connection.execute(update(IDEMPOTENCY).where(lapsed).values(**row))
            if taken.rowcount == 1:
                return
        raise Fault(
            "in_flight",
            "Another request with this Idempotency-Key has just begun.",
            retry_after_s=IN_FLIGHT_RETRY_S,
        )

    async def release(self, claim: Claim) -> None:
        """Gives the key back when nothing was done under it; else it frees itself later."""
        running = (IDEMPOTENCY.c.call_id == claim.request) & (IDEMPOTENCY.c.state == "running")
        try:
            async with self._database.begin() as connection:
                await connection.execute(delete(IDEMPOTENCY).where(_claim_clause(claim), running))
        except Fault:
            # The store is away: the claim ends by itself when the request's time has passed.
            return

    async def complete(self, claim: Claim, plain: bytes) -> None:
        """Stores the answer; when the store is away, what was done stays done without it."""
        answer = self.encrypt_answer(claim.key, claim.account, plain)
        ended = {
            "state": "not_kept" if answer is None else "kept",
            "answer": answer,
            "expires_ms": self._clock.wall_ms() + REPLAY_MS,
        }
        own = update(IDEMPOTENCY).where(
            _claim_clause(claim), IDEMPOTENCY.c.call_id == claim.request
        )
        try:
            async with self._database.begin() as connection:
                await connection.execute(own.values(**ended))
        except Fault:
            return

    def encrypt_answer(self, key: str, account: str, plain: bytes) -> bytes | None:
        """The answer as it is stored, readable for its account alone; `None` if it is too large."""
        return self._vault.encrypt(plain, key, account) if len(plain) <= MAX_ANSWER_BYTES else None


async def mark_claim_done(connection: AsyncConnection, claim: Claim, now_ms: int) -> None:
    """Records in a change's own transaction that it was made: after a crash it is not made again.

    Faults: `in_flight` when the claim was lost to a later request, so that nothing is changed.
    """
    own = update(IDEMPOTENCY).where(_claim_clause(claim), IDEMPOTENCY.c.call_id == claim.request)
    marked = await connection.execute(own.values(state="not_kept", expires_ms=now_ms + REPLAY_MS))
    if not marked.rowcount:
        raise Fault(
            "in_flight",
            "Another request with this Idempotency-Key has taken over.",
            retry_after_s=IN_FLIGHT_RETRY_S,
        )


def _claim_clause(claim: Claim) -> ColumnElement[bool]:
    return (IDEMPOTENCY.c.account_id == claim.account) & (IDEMPOTENCY.c.key == claim.key)


class SqlReplays:
    """The port `Replays`: claims of calls."""

    def __init__(self, claims: SqlClaims, clock: Clock) -> None:
        self._claims = claims
        self._clock = clock

    async def claim(self, call: Call) -> StoredReply | None:
        answer = await self._claims.acquire(self._claim(call))
        return decode(answer, type=StoredReply) if answer is not None else None

    async def release(self, call: Call) -> None:
        await self._claims.release(self._claim(call))

    def encrypt_reply(self, call: Call, reply: StoredReply) -> bytes | None:
        return self._claims.encrypt_answer(
            call.idempotency_key, call.principal.account, encode(reply)
        )

    def _claim(self, call: Call) -> Claim:
        return Claim(
            account=call.principal.account,
            key=call.idempotency_key,
            fingerprint=call.fingerprint,
            request=call.id,
            until_ms=self._clock.wall_ms() + round((call.deadline - self._clock.now()) * 1000),
        )
