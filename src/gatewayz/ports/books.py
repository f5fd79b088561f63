"""The port to the books: what a call may cost is held before it, what it cost is settled once."""

from typing import Protocol

from msgspec import Struct

from gatewayz.core.calls import Call, Outcome
from gatewayz.core.money import Nanos


class Hold(Struct, frozen=True):
    """A reservation for one call; only `Books.hold` makes one. `kept`: the books hold it, so it can be extended.

    A call that cannot be refused needs none: one that is free, or an account for one's own use without a budget.
    """

    call: str
    account: str
    amount: Nanos
    kept: bool = True


class Replay(Struct, frozen=True):
    """What an idempotent answer is kept under, and its events, encoded; `None` when they were too many to keep."""

    key: str
    answer: bytes | None = None


class Books(Protocol):
    """Every hold has exactly one ending: `settle` writes the call record and moves the money, once per call."""

    async def hold(self, call: Call, ceiling: Nanos) -> Hold:
        """Reserves `ceiling`. Faults: `insufficient_credit`, `credit_held`, `unavailable`."""
        ...

    async def extend(self, hold: Hold, amount: Nanos) -> Hold:
        """Reserves as much more. Faults as for `hold`; the hold stands as it was then."""
        ...

    async def settle(
        self, call: Call, hold: Hold, outcome: Outcome, replay: Replay | None = None
    ) -> bool:
        """Ends the hold with the outcome's cost (zero releases it all); false when it had ended before.

        Returns when the money is safe: in the store, or in this machine's journal when the store is away. Faults:
        `unavailable` when neither can take it.
        """
        ...

    async def refused(self, call: Call, outcome: Outcome) -> None:
        """Keeps the record of a call that ended before anything was held; a store that is away goes without it."""
        ...
