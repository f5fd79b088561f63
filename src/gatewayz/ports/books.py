"""The port to the books: what a call may cost is held before it, what it cost is settled once."""

from typing import Protocol

from msgspec import Struct

from gatewayz.core.calls import Call, Outcome
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.money import Nanos


class Hold(Struct, frozen=True):
    """A reservation for one call, in nano-dollars; only `Books.hold` makes one.

    `recorded`: the books know it, so it can be extended. A call that cannot be refused needs none:
    one that is free, or of an account for one's own use without a budget. `free` is the most that
    it could have held when it was made; `None` where nothing bounds it.

    Example: `Hold("01JX…", "acme", Nanos(40_960_000))`
    """

    call: str
    account: str
    amount: Nanos
    recorded: bool = True
    free: Nanos | None = None


class ReplayRecord(Struct, frozen=True):
    """What is stored of an idempotent answer: its key, and the encrypted answer; `None` when that
    was too large.

    Example: `ReplayRecord("order-17", b"…")`
    """

    key: str
    answer: bytes | None = None


class Books(Protocol):
    """Every hold has exactly one ending: `settle` writes the call record and moves the money, once
    per call.
    """

    async def hold(self, call: Call, ceiling: Ceiling) -> Hold:
        """Reserves what of the ceiling is free. Faults: `insufficient_credit`, `credit_held`, `unavailable`."""
        ...

    async def extend(self, hold: Hold, amount: Nanos) -> Hold:
        """Reserves as much more. Faults as for `hold`; the hold stands as it was then."""
        ...

    async def settle(
        self, call: Call, hold: Hold, outcome: Outcome, replay: ReplayRecord | None = None
    ) -> bool:
        """Ends the hold with the outcome's cost (zero releases it all); false when it had ended
        before.

        Returns when the money is safe: in the store, or in this machine's journal when the store is
        away. Faults: `unavailable` when neither can take it.
        """
        ...

    async def record_refused_call(self, call: Call, outcome: Outcome) -> None:
        """Records a call that ended before anything was held, unless the store is away."""
        ...
