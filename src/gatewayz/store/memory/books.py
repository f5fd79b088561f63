"""The books in memory: for an installation that only uses its own keys. Every call is booked, nobody is refused.

Law: a hold ends once. What is kept is bounded: the last calls, and the totals.
"""

from collections import deque

from gatewayz.core.calls import Call, Outcome
from gatewayz.core.money import Nanos
from gatewayz.ports.books import Hold

MAX_RECORDS = 1_000


class MemoryBooks:
    """The port `Books` for house billing."""

    def __init__(self) -> None:
        self.open: dict[str, Hold] = {}
        self.records: deque[tuple[Call, Outcome]] = deque(maxlen=MAX_RECORDS)
        self.spent = Nanos(0)
        self.calls = 0

    async def hold(self, call: Call, ceiling: Nanos) -> Hold:
        hold = Hold(call.id, call.principal.account, ceiling)
        self.open[call.id] = hold
        return hold

    async def settle(self, call: Call, hold: Hold, outcome: Outcome) -> bool:
        if self.open.pop(hold.call, None) is None:
            return False
        self.records.append((call, outcome))
        self.spent = Nanos(self.spent + outcome.cost)
        self.calls += 1
        return True
