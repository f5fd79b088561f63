"""Idempotency keys in memory: for an installation that keeps nothing. Bounded: the oldest answers are forgotten."""

from collections import OrderedDict

from msgspec import Struct
from msgspec.msgpack import decode, encode

from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault
from gatewayz.ports.books import Replay
from gatewayz.ports.replays import Kept

MAX_REPLAYS = 1_000
KEPT_MS = 86_400_000
RETRY_S = 1.0


class _Claim(Struct):
    fingerprint: str
    call: str
    since_ms: int
    running: bool = True
    answer: bytes | None = None


class MemoryReplays:
    """The port `Replays` of one process."""

    def __init__(self) -> None:
        self._claims: OrderedDict[tuple[str, str], _Claim] = OrderedDict()

    async def claim(self, call: Call) -> Kept | None:
        name = call.principal.account, call.idempotency_key
        found = self._claims.get(name)
        if found is None or (not found.running and found.since_ms + KEPT_MS < call.received_ms):
            self._claims[name] = _Claim(call.fingerprint, call.id, call.received_ms)
            while len(self._claims) > MAX_REPLAYS:
                self._claims.popitem(last=False)
            return None
        check(
            found.fingerprint,
            call.fingerprint,
            running=found.running,
            kept=found.answer is not None,
        )
        return decode(found.answer or b"", type=Kept)

    async def free(self, call: Call) -> None:
        name = call.principal.account, call.idempotency_key
        found = self._claims.get(name)
        if found is not None and found.call == call.id and found.running:
            del self._claims[name]

    def sealed(self, call: Call, kept: Kept) -> bytes | None:
        return encode(kept)

    def keep(self, call: Call, replay: Replay) -> None:
        """What the settlement has of the answer."""
        found = self._claims.get((call.principal.account, replay.key))
        if found is not None and found.call == call.id:
            found.running, found.answer = False, replay.answer


def check(fingerprint: str, asked: str, *, running: bool, kept: bool) -> None:
    """Why a key that is taken cannot be answered from what is kept, as a fault. Both texts are fingerprints."""
    if fingerprint != asked:
        raise Fault(
            "other_request", "This Idempotency-Key was used for another request; use a new one."
        )
    if running:
        message = "The first request with this Idempotency-Key is still under way."
        raise Fault("in_flight", message, retry_after_s=RETRY_S)
    if not kept:
        message = "The request with this Idempotency-Key has ended, and its answer was not kept; use a new one."
        raise Fault("replay_unavailable", message)
