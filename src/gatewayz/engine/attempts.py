"""Attempts: candidates tried in the plan's order until one commits.

Nothing is promised before the first block (for a JSON client: before the whole reply), so a provider that says 200 and
dies is still a failover. After the commit a failure is the end: a `Failed` frame, never another provider's text.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NoReturn

from gatewayz.core.calls import Attempt, Call
from gatewayz.core.clock import Clock
from gatewayz.core.events import (
    FINISHED,
    BlockStarted,
    ChoiceEnded,
    Failed,
    Finished,
    Frame,
    Started,
    Stop,
    is_end,
)
from gatewayz.core.facts import AttemptEnded
from gatewayz.core.faults import Fault
from gatewayz.engine.attempt import Asker
from gatewayz.engine.errand import Heard
from gatewayz.engine.health import Health, Ticket
from gatewayz.engine.tally import Tally
from gatewayz.ports.facts import Bus
from gatewayz.providers.classify import classify
from gatewayz.routing.plan import Candidate, Plan
from gatewayz.routing.rules import RoutingRules
from gatewayz.routing.verdict import Tried, client_fault, named_parameter, verdict

MAX_HELD_FRAMES = 4_096
"""Frames without content before the commit; a provider that sends more is broken."""


class Pursuit:
    """What one call has tried so far."""

    def __init__(self, call: Call, tally: Tally) -> None:
        self.call = call
        self.tally = tally
        self.faults: list[Fault] = []
        self.counted = 0
        self.tried = 0
        self.without: tuple[str, ...] = ()
        self.larger_than = 0


class Attempts:
    """Tries candidates."""

    def __init__(
        self, asker: Asker, health: Health, rules: RoutingRules, clock: Clock, bus: Bus
    ) -> None:
        self._asker = asker
        self._health = health
        self._rules = rules
        self._clock = clock
        self._bus = bus

    async def answer(self, call: Call, tally: Tally) -> AsyncGenerator[list[Frame], None]:
        """Batches of the candidate that committed. Raises the fault for the client when none did."""
        pursuit = Pursuit(call, tally)
        plan = tally.plan or Plan(model=call.request.model, candidates=())
        queue = list(plan.candidates)
        if plan.last_resort is not None:
            queue = [plan.last_resort]
        while queue and not tally.left and not self._out_of_time(pursuit):
            candidate = queue.pop(0)
            if self._skipped(candidate, pursuit):
                continue
            ask = self._health.admit if plan.last_resort is None else self._health.last_resort
            ticket = ask(candidate, call.id)
            if ticket is None:
                continue
            async with aclosing(self._tried(candidate, ticket, pursuit)) as batches:
                async for frames in batches:
                    yield frames
            if tally.candidate is not None:
                return
            self._next(candidate, queue, pursuit)
        if pursuit.faults:
            raise client_fault(pursuit.faults)
        raise Fault(
            "unavailable",
            "Every provider of this model is out for now.",
            retry_after_s=plan.retry_after_s or 1.0,
        )

    def _out_of_time(self, pursuit: Pursuit) -> bool:
        late = self._clock.now() >= pursuit.call.deadline
        if late:
            pursuit.faults.append(Fault("upstream_timeout", "The call's time ran out."))
        return late

    def _skipped(self, candidate: Candidate, pursuit: Pursuit) -> bool:
        if pursuit.faults and not self._health.may_fail_over(pursuit.tried - 1):
            return True
        context = candidate.offer.context
        return bool(pursuit.larger_than) and (context is None or context <= pursuit.larger_than)

    def _next(self, candidate: Candidate, queue: list[Candidate], pursuit: Pursuit) -> None:
        """Decides what follows the fault that the last attempt ended in."""
        fault = pursuit.faults[-1]
        match verdict(fault, Tried(pursuit.counted, pursuit.without), self._rules.attempts):
            case "stop":
                queue.clear()
            case "again":
                pursuit.without = (named_parameter(fault),)
                queue.insert(0, candidate)
            case "larger":
                pursuit.larger_than = max(pursuit.larger_than, candidate.offer.context or 1)

    async def _tried(
        self, candidate: Candidate, ticket: Ticket, pursuit: Pursuit
    ) -> AsyncGenerator[list[Frame], None]:
        """One attempt; its fault, if nothing was promised, is left in the pursuit."""
        one = _Tried(candidate, ticket, self._clock.now())
        pursuit.tally.asked = candidate
        try:
            async with aclosing(self._committed(candidate, one.heard, pursuit)) as batches:
                async for frames in batches:
                    one.first_at = one.first_at if one.first_at is not None else self._clock.now()
                    if is_end(frames):
                        # The row stands before the settlement, which keeps it.
                        self._closed(one, pursuit, _ending(frames))
                    yield frames
        except Fault as fault:
            self._closed(one, pursuit, fault)
            if fault.kind == "filtered" and pursuit.call.request.stops:
                pursuit.tally.candidate = candidate
                yield _filtered()
            else:
                pursuit.faults.append(fault)
        finally:
            pursuit.tally.asked = None
            # An answer that we broke off was served as far as we wanted it.
            self._closed(
                one,
                pursuit,
                None if pursuit.tally.stopped else Fault("client_gone", "The client left."),
            )

    async def _committed(
        self, candidate: Candidate, heard: Heard, pursuit: Pursuit
    ) -> AsyncGenerator[list[Frame], None]:
        """Holds frames back until there is something to promise; afterwards a failure is a frame."""
        call, tally = pursuit.call, pursuit.tally
        held: list[Frame] = []
        try:
            async with aclosing(
                self._asker.answer(call, candidate, heard, pursuit.without)
            ) as batches:
                async for frames in batches:
                    fault = _failure(frames, candidate) if is_end(frames) else None
                    if tally.candidate is not None:
                        yield frames if fault is None else [*frames[:-1], Frame((Failed(fault),))]
                        continue
                    _unless_promised(fault, call, frames)
                    held += frames
                    if _promises(call, frames):
                        tally.candidate, tally.dropped = candidate, heard.dropped
                        tally.first_event_at = self._clock.now()
                        if fault is not None:
                            held[-1] = Frame((Failed(fault),))
                        yield held
                        held = []
                    elif call.request.streamed and len(held) > MAX_HELD_FRAMES:
                        _without_content(candidate)
        except Fault as fault:
            if tally.candidate is None or tally.finished:
                raise
            yield [Frame((Failed(fault),))]

    def _closed(self, one: "_Tried", pursuit: Pursuit, fault: Fault | None) -> None:
        """Tells health and writes the attempt's row, the first time it is called for an attempt."""
        if one.closed:
            return
        one.closed = True
        first_event_ms = None if one.first_at is None else (one.first_at - one.began) * 1000
        self._health.record(one.ticket, fault, first_event_ms, sent=bool(one.heard.status))
        tally, offer, held = pursuit.tally, one.candidate.offer, one.candidate.credential
        failover = pursuit.tried > 0
        pursuit.tried += 1
        pursuit.counted += fault is not None and not fault.rule.free
        row = Attempt(
            provider=one.candidate.provider.id,
            model=offer.model,
            upstream_id=offer.upstream_id,
            credential=held.id if held is not None else "",
            started_ms=tally.elapsed_ms(one.began),
            first_event_ms=None if first_event_ms is None else round(first_event_ms),
            ended_ms=tally.elapsed_ms(self._clock.now()),
            status=one.heard.status,
            fault=fault.kind if fault is not None else "",
            message=fault.message if fault is not None else "",
            upstream_request=one.heard.upstream_request,
        )
        tally.attempts.append(row)
        call = pursuit.call
        self._bus.emit(
            AttemptEnded(call=call.id, endpoint=call.endpoint, attempt=row, failover=failover)
        )


class _Tried:
    """One attempt under way."""

    def __init__(self, candidate: Candidate, ticket: Ticket, began: float) -> None:
        self.candidate = candidate
        self.ticket = ticket
        self.began = began
        self.heard = Heard()
        self.first_at: float | None = None
        self.closed = False


def _ending(frames: list[Frame]) -> Fault | None:
    last = frames[-1].events[-1]
    return last.fault if isinstance(last, Failed) else None


def _failure(frames: list[Frame], candidate: Candidate) -> Fault | None:
    """The fault that the end of an answer is, with the provider's own words understood; nothing for success."""
    fault = _ending(frames)
    if fault is None:
        return None
    return classify(candidate.provider, fault.upstream) if fault.upstream is not None else fault


def _promises(call: Call, frames: list[Frame]) -> bool:
    """Whether these frames hold what commits the call: a block for a stream, the finish for a whole answer."""
    wanted = (BlockStarted, Finished) if call.request.streamed else (Finished,)
    return any(type(event) in wanted for frame in frames for event in frame.events)


def _unless_promised(fault: Fault | None, call: Call, frames: list[Frame]) -> None:
    """Raises the fault that a batch ends in, unless the batch also holds what commits the call."""
    if fault is not None and not _promises(call, frames[:-1]):
        raise fault


def _without_content(candidate: Candidate) -> NoReturn:
    raise Fault("upstream_broken", f"{candidate.provider.name} sent frames without content.")


def _filtered() -> list[Frame]:
    """The provider's filter stopped the answer before it began: the dialect's own way to say so."""
    return [Frame((Started(), ChoiceEnded(0, Stop.FILTER, "content_filter"))), FINISHED]
