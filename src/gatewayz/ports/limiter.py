"""The port to the limits: how much a principal may ask for."""

from typing import Protocol

from msgspec import Struct

from gatewayz.core.calls import Principal


class Decision(Struct, frozen=True, kw_only=True):
    """A limit's answer.

    `limit`, `burst`, `remaining` and `reset_s` describe the tightest bucket: `burst` calls may come
    at once, `remaining` of them still. `lease` names the concurrency slot.

    Example: `Decision(allowed=False, rule="key_rpm", limit=60, retry_after_s=0.8)`
    """

    allowed: bool
    rule: str = ""
    limit: int = 0
    burst: int = 0
    remaining: int = 0
    reset_s: float = 0.0
    retry_after_s: float = 0.0
    lease: str = ""


class Limiter(Protocol):
    """Takes from all buckets of a call at once, or from none."""

    async def take(self, call_id: str, principal: Principal) -> Decision:
        """Takes one call from all buckets of the principal, and a concurrency slot."""
        ...

    def count_request(self, subject: str, account: str = "", units: int = 1) -> Decision:
        """Takes a request of so many units from the subject's bucket for what is no call, and from
        its account's if it has one.
        """
        ...

    def release(self, decision: Decision) -> None:
        """Frees the concurrency slot when the call ends; a second time does nothing."""
        ...
