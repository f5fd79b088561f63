"""The port to the limits: how much a principal may ask for."""

from typing import Protocol

from msgspec import Struct

from gatewayz.core.calls import Principal


class Decision(Struct, frozen=True, kw_only=True):
    """A limit's answer. `remaining` and `reset_s` describe the tightest bucket; `lease` names the concurrency slot."""

    allowed: bool
    rule: str = ""
    limit: int = 0
    remaining: int = 0
    reset_s: float = 0.0
    retry_after_s: float = 0.0
    lease: str = ""


class Limiter(Protocol):
    """Takes from all buckets of a call at once, or from none."""

    async def take(self, call_id: str, principal: Principal) -> Decision: ...

    def page(self, subject: str) -> Decision:
        """Takes from the subject's bucket for what is no call."""
        ...

    def give_back(self, decision: Decision) -> None:
        """Frees the concurrency slot where the call ends."""
        ...
