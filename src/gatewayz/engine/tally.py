"""The tally: what has been learnt of a call so far, enough to settle it whenever it ends."""

import asyncio

from msgspec.structs import replace

from gatewayz.core.calls import Attempt, Call, Outcome
from gatewayz.core.events import (
    FINISHED,
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Failed,
    Finished,
    Frame,
    Kind,
    Stop,
    UsageReported,
)
from gatewayz.core.faults import FAULTS, Fault
from gatewayz.core.money import Nanos, Price
from gatewayz.core.usage import Usage
from gatewayz.engine.charging import Allowance, charged, worth
from gatewayz.engine.keeping import Keeping
from gatewayz.ports.books import Hold
from gatewayz.ports.limiter import Decision
from gatewayz.ports.replays import Kept
from gatewayz.routing.plan import Candidate, Plan

WORDS = frozenset({Kind.TEXT, Kind.REFUSAL, Kind.TOOL, Kind.AUDIO})
"""Blocks whose text is output; an image's or a vector's is a spelling of something else."""


class Tally:
    """Watches the frames of one call. The web layer reads it for headers, the settlement for money.

    `heard` counts the bytes of output so far, `room` how many of them the hold covers before it is to be extended.
    `asked` is the candidate under way, `candidate` the one that committed. `stopped`: we broke the answer off;
    `left`: its client did, and it is only heard for what it costs. `replayed`: an answer from before is given again.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self.decision: Decision | None = None
        self.replayed: Kept | None = None
        self.keeping: Keeping | None = None
        self.claimed = False
        self.admitted = False
        self.plan: Plan | None = None
        self.hold: Hold | None = None
        self.allowance: Allowance | None = None
        self.attempts: list[Attempt] = []
        self.asked: Candidate | None = None
        self.candidate: Candidate | None = None
        self.ending: asyncio.Task[Fault | None] | None = None
        self.cost: Nanos | None = None
        self.settled: Outcome | None = None
        self.dropped: tuple[str, ...] = ()
        self.first_event_at: float | None = None
        self.fault: Fault | None = None
        self.finished = False
        self.stopped = False
        self.left = False
        self.heard = 0
        self.room = 0.0
        self._reported: UsageReported | None = None
        self._to_show = False
        self._spoke = False
        self._odd: dict[int, Kind] = {}
        self._thought = 0
        self._open: dict[int, int] = {}
        self._choices: dict[int, bool] = {}
        self._stop = ""

    @property
    def served(self) -> str:
        """The provider whose answer the client is given; empty while nothing is promised."""
        return self.candidate.provider.id if self.candidate is not None else ""

    def watch(self, frames: list[Frame]) -> list[Frame]:
        """Counts what the frames hold; returns them with our cost beside every usage."""
        odd = self._odd
        for frame in frames:
            for event in frame.events:
                if type(event) is not BlockDelta:
                    self._note(event, echoed=frame.source is not None)
                    continue
                text = event.text
                size = len(text) if text.isascii() else len(text.encode())
                if event.block not in odd:
                    self.heard += size
                elif odd[event.block] is Kind.REASONING:
                    self.heard += size
                    self._thought += size
        if self._to_show:
            frames = self._costed(frames)
        if self.keeping is not None:
            self.keeping.take(frames)
        return frames

    def _note(self, event: Event, *, echoed: bool) -> None:
        match event:
            case BlockStarted(block=block, kind=kind, name=name, choice=choice):
                if kind not in WORDS:
                    self._odd[block] = kind
                self._open[block] = choice
                self._choices[choice] = False
                self._spoke = True
                self.heard += len(name)
            case BlockEnded(block=block):
                self._open.pop(block, None)
            case UsageReported():
                # What is said again in our words shows its cost once, with the end.
                self._reported, self._to_show = event, self._to_show or echoed
            case ChoiceEnded(choice=choice, raw=raw, stop=stop):
                self._choices[choice] = True
                self._stop = raw or str(stop)
            case Finished():
                self.finished = self._to_show = True
            case Failed(fault=fault):
                self.fault, self._to_show = self.fault or fault, True

    def _costed(self, frames: list[Frame]) -> list[Frame]:
        """The frames with the cost in their reports; the last report of an answer that ends stands in its last frames.

        That of a finished answer is marked as final.
        """
        self._to_show = False
        heard = self._reported
        if heard is None or self.replayed is not None:
            return frames
        usage = self._whole(heard.usage)
        last = self._reported = replace(
            heard, usage=usage, cost=self._price_of(usage), final=self.finished
        )
        found: list[Frame] = []
        missing = self.finished or self.fault is not None
        # From the end, because a report may stand beside content and once more alone: the last one is shown.
        for frame in reversed(frames):
            if not any(type(event) is UsageReported for event in frame.events):
                found.append(frame)
                continue
            # What is said again in our words says it at the very end, after why each choice stopped.
            shown = missing and frame.source is not None
            report = last if shown else replace(last, final=False)
            missing = missing and not shown
            told = [report if type(event) is UsageReported else event for event in frame.events]
            found.append(replace(frame, events=tuple(told)))
        if missing:
            end = found[0]
            found[0] = replace(end, events=(*end.events[:-1], last, end.events[-1]))
        return found[::-1]

    def stop(self) -> list[Frame]:
        """The end of an answer that we break off, because nobody pays for more of it."""
        self.stopped = True
        self._reported = UsageReported(self.usage())
        ends: list[Event] = [BlockEnded(block) for block in self._open]
        ends += [
            ChoiceEnded(choice, Stop.LENGTH, "length")
            for choice, over in self._choices.items()
            if not over
        ]
        return [Frame(tuple(ends)), FINISHED]

    def usage(self) -> Usage:
        """The provider's last report, or an estimate of what was delivered, marked as one.

        Before the end a report may lag behind what it counts: then the output is estimated.
        """
        if self.candidate is None:
            return Usage()
        reported = self._reported.usage if self._reported is not None else None
        if reported is not None and self.finished:
            return reported
        guess = self._whole(self.call.request.estimate(self.heard - self._thought, self._thought))
        if reported is None:
            return guess
        reported = self._whole(reported)
        if reported.completion >= guess.completion:
            return reported
        return replace(reported, output=guess.output, reasoning=guess.reasoning, estimated=True)

    def _whole(self, usage: Usage) -> Usage:
        """The report with the request itself, which no provider counts, where that has a price."""
        price = self.candidate.offer.price if self.candidate is not None else None
        return (
            replace(usage, requests=1)
            if price is not None and price.requests and not usage.requests
            else usage
        )

    def _price_of(self, usage: Usage) -> Nanos | None:
        """What a whole answer of this usage costs; nothing when there is no price."""
        price = self.candidate.offer.price if self.candidate is not None else None
        if price is None:
            return None
        return worth(usage, price, self.call.principal.markup_bp, empty=not self._spoke)

    def _charged_at(self) -> Price | None:
        """The price with the markup that holds for this account, as the record keeps it."""
        price = self.candidate.offer.price if self.candidate is not None else None
        markup_bp = self.call.principal.markup_bp
        return price if price is None or markup_bp is None else replace(price, markup_bp=markup_bp)

    def _cost(self, usage: Usage, now: float) -> Nanos:
        whole = self._price_of(usage)
        return (
            Nanos(0)
            if whole is None
            else charged(whole, self.hold, self.fault, late=now >= self.call.deadline)
        )

    def outcome(self, now: float) -> Outcome:
        """All that came of the call, as of `now` (monotonic seconds)."""
        usage = self.usage()
        offer = self.candidate.offer if self.candidate is not None else None
        fault = self.fault
        return Outcome(
            served=self.served,
            upstream_id=offer.upstream_id if offer is not None else "",
            model=self.plan.model if self.plan is not None else "",
            usage=usage,
            price=self._charged_at(),
            cost=self._cost(usage, now),
            unpriced=offer is not None and offer.price is None,
            upstream_cost_usd=self._reported.cost_usd if self._reported is not None else "",
            attempts=tuple(self.attempts),
            stop=self._stop,
            fault=fault.kind if fault is not None else "",
            message=fault.message if fault is not None else "",
            status=200
            if fault is None or self.candidate is not None
            else FAULTS[fault.kind].status,
            first_event_ms=None
            if self.first_event_at is None
            else self.elapsed_ms(self.first_event_at),
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
