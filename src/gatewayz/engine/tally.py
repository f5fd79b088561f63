"""The tally: what has been learnt of a call so far, enough to settle it whenever it ends."""

from collections.abc import Sequence

from gatewayz.core.calls import Attempt, Call, Outcome
from gatewayz.core.events import BlockDelta, BlockStarted, ChoiceEnded, Failed, Finished, Frame, Kind, UsageReported
from gatewayz.core.faults import FAULTS, Fault
from gatewayz.core.money import Nanos, cost
from gatewayz.core.usage import Usage
from gatewayz.ports.limiter import Decision
from gatewayz.routing.plan import Candidate, Plan


class Tally:
    """Watches the frames of one call. The web layer reads it for headers, the settlement for money."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.decision: Decision | None = None
        self.plan: Plan | None = None
        self.attempts: list[Attempt] = []
        self.candidate: Candidate | None = None
        self.cost: Nanos | None = None
        self.settled: Outcome | None = None
        self.dropped: tuple[str, ...] = ()
        self.first_event_at: float | None = None
        self.fault: Fault | None = None
        self.finished = False
        self._reported: UsageReported | None = None
        self._characters = 0
        self._thought = 0
        self._thoughts: set[int] = set()
        self._stop = ""

    @property
    def served(self) -> str:
        """The provider whose answer the client is given; empty while nothing is promised."""
        return self.candidate.provider.id if self.candidate is not None else ""

    def watch(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            for event in frame.events:
                if type(event) is not BlockDelta:
                    self._note(event)
                elif event.block in self._thoughts:
                    self._thought += len(event.text)
                else:
                    self._characters += len(event.text)

    def _note(self, event: object) -> None:
        match event:
            case BlockStarted(block=block, kind=kind, name=name):
                if kind is Kind.REASONING:
                    self._thoughts.add(block)
                self._characters += len(name)
            case UsageReported():
                self._reported = event
            case ChoiceEnded(raw=raw, stop=stop):
                self._stop = raw or str(stop)
            case Finished():
                self.finished = True
            case Failed(fault=fault):
                self.fault = fault

    def usage(self) -> Usage:
        """The provider's last report, or an estimate of what was delivered, marked as one."""
        if self.candidate is None:
            return Usage()
        reported = self._reported.usage if self._reported is not None else None
        if reported is not None and (self.finished or reported.completion):
            return reported
        return self.call.request.estimate(self._characters, self._thought)

    def outcome(self, now: float) -> Outcome:
        """All that came of the call, as of `now` (monotonic seconds)."""
        usage = self.usage()
        offer = self.candidate.offer if self.candidate is not None else None
        price = offer.price if offer is not None else None
        fault = self.fault
        return Outcome(
            served=self.served,
            upstream_id=offer.upstream_id if offer is not None else "",
            model=self.plan.model if self.plan is not None else "",
            usage=usage,
            price=price,
            cost=cost(usage, price, self.call.principal.markup_bp) if price is not None else Nanos(0),
            unpriced=offer is not None and price is None,
            upstream_cost_usd=self._reported.cost_usd if self._reported is not None else "",
            attempts=tuple(self.attempts),
            stop=self._stop,
            fault=fault.kind if fault is not None else "",
            message=fault.message if fault is not None else "",
            status=200 if fault is None or self.candidate is not None else FAULTS[fault.kind].status,
            first_event_ms=None if self.first_event_at is None else self.elapsed_ms(self.first_event_at),
            duration_ms=self.elapsed_ms(now),
            dropped=self.dropped,
            reasons=self._reasons(),
        )

    def _reasons(self) -> tuple[str, ...]:
        if self.plan is None:
            return ()
        return tuple(f"{one.provider}/{one.upstream_id}: {one.why}" for one in self.plan.reasons)

    def elapsed_ms(self, now: float) -> int:
        return round((now - self.call.received_at) * 1000)
