"""The port to the replays: a call that its client named is made once, and its answer is given again to whoever asks."""

import hashlib
from typing import Protocol

from msgspec import Struct
from msgspec.json import encode

from gatewayz.core.calls import Call
from gatewayz.core.replies import Reply


class Kept(Struct, frozen=True, kw_only=True):
    """A whole answer as it was given: the call that it was made for, when that came in, and who served it.

    `source` is its body in the client's dialect, where the provider sent one that could be sent on.
    """

    call: str
    received_ms: int
    provider: str
    reply: Reply
    source: bytes | None = None


class Claim(Struct, frozen=True, kw_only=True):
    """A key that its client gave a request: `request` is that request's own id, `until_ms` when it is over at last."""

    account: str
    key: str
    fingerprint: str
    request: str
    until_ms: int

    @property
    def name(self) -> str:
        """What the request makes is called, so that whoever makes it twice finds it made."""
        return "once-" + hashlib.sha256(encode([self.account, self.key])).hexdigest()[:40]


class Replays(Protocol):
    """Idempotency keys of accounts. The answer itself is kept by the settlement, `Books.settle`."""

    async def claim(self, call: Call) -> Kept | None:
        """Takes the call's key for this call; or the answer that was given under it.

        Faults: `in_flight`, `replay_unavailable`, `other_request`, `unavailable`.
        """
        ...

    async def free(self, call: Call) -> None:
        """Gives the key back when nothing was delivered under it; one that cannot be given back frees itself later."""
        ...

    def sealed(self, call: Call, kept: Kept) -> bytes | None:
        """The answer as it is kept, which only its account can have again; nothing when it is too large."""
        ...
