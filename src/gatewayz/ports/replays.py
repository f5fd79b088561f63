"""The port to the replays: a call that its client named is made once; who repeats it is given the
same answer.
"""

import hashlib
from typing import Protocol

from msgspec import Struct
from msgspec.json import encode

from gatewayz.core.calls import Call
from gatewayz.core.faults import Fault
from gatewayz.core.replies import Reply

IN_FLIGHT_RETRY_S = 1.0
"""`Retry-After` while the first request under the same key is still under way."""


class StoredReply(Struct, frozen=True, kw_only=True):
    """A whole answer as it was given: the call that it was made for, when that came in, and who
    served it.

    `source` is its body in the client's dialect, where the provider sent one that could be sent on.

    Example: `StoredReply(call="01JX…", received_ms=1_764_000_000_000, provider="openai",
    reply=reply)`
    """

    call: str
    received_ms: int
    provider: str
    reply: Reply
    source: bytes | None = None


class Claim(Struct, frozen=True, kw_only=True):
    """A key that its client gave a request: `request` is that request's own id, `until_ms` its
    deadline.

    Example: `Claim(account="acme", key="order-17", fingerprint="9f2c…", request="01JX…",
    until_ms=1_764_000_600_000)`
    """

    account: str
    key: str
    fingerprint: str
    request: str
    until_ms: int

    @property
    def name(self) -> str:
        """The id of what the request creates, so that a second time it is found to exist."""
        return "once-" + hashlib.sha256(encode([self.account, self.key])).hexdigest()[:40]


class Replays(Protocol):
    """Idempotency keys of accounts.

    The answer itself is stored by the settlement, `Books.settle`.
    """

    async def claim(self, call: Call) -> StoredReply | None:
        """Takes the call's key for this call; or the answer that was given under it.

        Faults: `in_flight`, `replay_unavailable`, `idempotency_mismatch`, `unavailable`.
        """
        ...

    async def release(self, call: Call) -> None:
        """Gives the key back when nothing was delivered under it; one that cannot be given back
        frees itself later.
        """
        ...

    def encrypt_reply(self, call: Call, reply: StoredReply) -> bytes | None:
        """The answer, encrypted for its account; nothing when it is too large to be stored."""
        ...


def check_claim(stored: str, requested: str, *, running: bool, kept: bool) -> None:
    """Why a key that is taken cannot be answered from what is stored under it.

    `stored` and `requested` are fingerprints of requests; `kept` says whether there is an answer.
    Faults: `idempotency_mismatch`, `in_flight`, `replay_unavailable`.
    """
    if stored != requested:
        message = "This Idempotency-Key was used for another request; use a new one."
        raise Fault("idempotency_mismatch", message)

    if running:
        message = "The first request with this Idempotency-Key is still under way."
        raise Fault("in_flight", message, retry_after_s=IN_FLIGHT_RETRY_S)

    if not kept:
        message = (
            "The request with this Idempotency-Key has ended, and its answer was not kept; "
            "use a new key."
        )
        raise Fault("replay_unavailable", message)
