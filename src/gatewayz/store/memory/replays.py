"""Idempotency keys in memory: for an installation that stores nothing.

Bounded: the oldest answers are dropped.
"""

from collections import OrderedDict

from msgspec import Struct
from msgspec.msgpack import decode, encode

from gatewayz.core.calls import Call
from gatewayz.ledger.values import REPLAY_MS
from gatewayz.ports.books import ReplayRecord
from gatewayz.ports.replays import StoredReply, check_claim

MAX_REPLAYS = 1_000


class _MemoryClaim(Struct):
    fingerprint: str
    call: str
    since_ms: int
    running: bool = True
    answer: bytes | None = None


class MemoryReplays:
    """The port `Replays` of one process."""

    def __init__(self) -> None:
        self._claims: OrderedDict[tuple[str, str], _MemoryClaim] = OrderedDict()

    async def claim(self, call: Call) -> StoredReply | None:
        name = call.principal.account, call.idempotency_key
        claim = self._claims.get(name)
        if claim is None or (not claim.running and claim.since_ms + REPLAY_MS < call.received_ms):
            self._claims[name] = _MemoryClaim(call.fingerprint, call.id, call.received_ms)
            while len(self._claims) > MAX_REPLAYS:
                self._claims.popitem(last=False)
            return None

        check_claim(
            claim.fingerprint,
            call.fingerprint,
            running=claim.running,
            kept=claim.answer is not None,
        )
        return decode(claim.answer or b"", type=StoredReply)

    async def release(self, call: Call) -> None:
        name = call.principal.account, call.idempotency_key
        claim = self._claims.get(name)
        if claim is not None and claim.call == call.id and claim.running:
            del self._claims[name]

    def encrypt_reply(self, call: Call, reply: StoredReply) -> bytes | None:
        # Encoded only: memory needs no cipher.
        return encode(reply)

    def store_reply(self, call: Call, replay: ReplayRecord) -> None:
        """Takes the answer from the settlement of the call."""
        claim = self._claims.get((call.principal.account, replay.key))
        if claim is not None and claim.call == call.id:
            claim.running, claim.answer = False, replay.answer
