"""The port to the books: what a call may cost is held before it, what it cost is settled once."""

from typing import Protocol

from msgspec import Struct

from gatewayz.core.calls import Call, Outcome
from gatewayz.core.money import Nanos


class Hold(Struct, frozen=True):
    """A reservation for one call; only `Books.hold` makes one."""

    call: str
    account: str
    amount: Nanos


class Books(Protocol):
    """Every hold has exactly one ending: `settle` writes the call record and moves the money, once per call."""

    async def hold(self, call: Call, ceiling: Nanos) -> Hold:
        """Reserves `ceiling`. Faults: `insufficient_credit`, `credit_held`, `unavailable`."""
        ...

    async def settle(self, call: Call, hold: Hold, outcome: Outcome) -> bool:
        """Ends the hold with the outcome's cost (zero releases it all); false when it had ended before."""
        ...
