"""The books in memory: for an installation that only uses its own keys.

Every call is booked, nobody is refused. Law: a hold ends once. Bounded: the last calls and the
totals.
"""

from collections import deque

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.calls import Call, Outcome
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.money import Nanos
from gatewayz.ports.books import Hold, ReplayRecord
from gatewayz.store.memory.replays import MemoryReplays

MAX_RECORDS = 1_000


class CallRecord(Struct, frozen=True):
    """What is stored of a call: never what was said in it."""

    id: str
    endpoint: str
    model: str
    account: str
    key: str
    outcome: Outcome


class MemoryBooks:
    """The port `Books` for house billing; it forgets at the end of the process."""

    def __init__(self) -> None:
        self.open: dict[str, Hold] = {}
        self.records: deque[CallRecord] = deque(maxlen=MAX_RECORDS)
        self.replays = MemoryReplays()
        self.spent = Nanos(0)
        self.calls = 0

    async def hold(self, call: Call, ceiling: Ceiling) -> Hold:
        hold = Hold(call.id, call.principal.account, ceiling.amount(None))
        self.open[call.id] = hold
        return hold

    async def extend(self, hold: Hold, amount: Nanos) -> Hold:
        self.open[hold.call] = replace(hold, amount=Nanos(hold.amount + amount))
        return self.open[hold.call]

    async def settle(
        self, call: Call, hold: Hold, outcome: Outcome, replay: ReplayRecord | None = None
    ) -> bool:
        if self.open.pop(hold.call, None) is None:
            return False
        self._record(call, outcome)
        if replay is not None:
            self.replays.store_reply(call, replay)
        return True

    async def record_refused_call(self, call: Call, outcome: Outcome) -> None:
        self._record(call, outcome)

    def _record(self, call: Call, outcome: Outcome) -> None:
        self.records.append(
            CallRecord(
                id=call.id,
                endpoint=call.endpoint,
                model=call.request.model,
                account=call.principal.account,
                key=call.principal.key,
                outcome=outcome,
            )
        )
        self.spent = Nanos(self.spent + outcome.cost)
        self.calls += 1

    async def finish(self) -> None:
        """Nothing waits here."""
