"""The usage meter: counts an answer while it passes, and puts our cost beside the usage that its
provider reports.

It knows frames and a price, and nothing of limits, holds or attempts; only the frames that pass
write it.
"""

import math

from msgspec.structs import replace

from gatewayz.catalog.offers import Offer
from gatewayz.catalog.pricing import complete_usage
from gatewayz.core.calls import Call
from gatewayz.core.estimates import TokenCounter
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
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.core.usage import COMPLETION_BUCKETS, PROMPT_BUCKETS, Usage, merge_reports
from gatewayz.engine.charge import answer_cost
from gatewayz.engine.media_output import MediaCounter, count_media, sound_format_of
from gatewayz.engine.usage_bounds import OutputBound, bound_usage

OUTPUT_KINDS = frozenset({Kind.TEXT, Kind.REFUSAL, Kind.TOOL, Kind.AUDIO})
"""Blocks whose text is output; an image's or a vector's is a spelling of something else."""


class UsageMeter:
    """The meter of one answer. `output_bytes`: UTF-8 bytes of output so far, thinking included.

    `finished` and `failure` say how the answer ended, if it has; `stop` is why the model stopped,
    in its provider's word. `beyond_bounds` says what of the provider's report cannot have been used
    and is not charged; empty for nothing. The offer that serves is an argument, because it is known only once a
    candidate has committed.

    Example: after `[Frame((BlockStarted(0, Kind.TEXT), BlockDelta(0, "Grüße")))]` it has
    `output_bytes` 7.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self.output_bytes = 0
        self.finished = False
        self.failure: Fault | None = None
        self.stop = ""
        self.beyond_bounds = ""
        self._output_bound: OutputBound | None = None
        self._reported: UsageReported | None = None
        self._charged: tuple[tuple[object, ...], Usage] | None = None
        self._cost_is_due = False
        self._has_output = False
        self._said, self._thought = TokenCounter(), TokenCounter()
        self._media = MediaCounter(sound_format_of(call.request.extra))
        self._other_kinds: dict[int, Kind] = {}
        self._open_blocks: dict[int, int] = {}
        self._ended_choices: dict[int, bool] = {}

    @property
    def output_tokens(self) -> int:
        """Tokens of the output so far: as reported, or as estimated where that is more."""
        reported = self._reported.usage.completion if self._reported is not None else 0
        return max(reported, round(self._said.tokens + self._thought.tokens))

    @property
    def upstream_cost_usd(self) -> str:
        """What the answer cost by the provider's own figure, in US dollars; empty for none."""
        return self._reported.cost_usd if self._reported is not None else ""

    @property
    def is_bounded(self) -> bool:
        """Whether it is known what the answer can have used."""
        return self._output_bound is not None

    def bound_output(self, bound: OutputBound | None) -> None:
        """Takes what the answer can have used where it is served."""
        self._output_bound = bound

    def watch(
        self, frames: list[Frame], offer: Offer | None, until_bytes: float = math.inf
    ) -> list[Frame]:
        """Counts what the frames hold; returns them with our cost beside every usage.

        It goes no further than the frame with which the output reaches `until_bytes`: those behind
        it are not counted and not returned. Without an offer the answer is a replay, which shows
        the cost that it was recorded with.
        """
        other_kinds = self._other_kinds
        for place, frame in enumerate(frames, 1):
            for event in frame.events:
                if type(event) is not BlockDelta:
                    self._note(event, echoed=frame.source is not None)
                    continue
                text = event.text
                if event.extra is not None:
                    self._media.add(event.extra)
                size = len(text) if text.isascii() else len(text.encode())
                if event.block not in other_kinds:
                    self.output_bytes += size
                    self._said.add(text)
                elif other_kinds[event.block] is Kind.REASONING:
                    self.output_bytes += size
                    self._thought.add(text)
            if self.output_bytes >= until_bytes:
                frames = frames[:place]
                break

        return self._add_cost(frames, offer) if self._cost_is_due else frames

    def _note(self, event: Event, *, echoed: bool) -> None:
        match event:
            case BlockStarted(block=block, kind=kind, name=name, choice=choice):
                if kind not in OUTPUT_KINDS:
                    self._other_kinds[block] = kind
                self._open_blocks[block] = choice
                self._ended_choices[choice] = False
                self._has_output = True
                self.output_bytes += len(name)
                self._said.add(name)
            case BlockEnded(block=block):
                self._open_blocks.pop(block, None)
            case UsageReported():
                # An echo shows each report where it stands; what is encoded in our words shows its
                # cost once, with the end.
                ended = self._ended_choices.values()
                if ended and all(ended) and not event.counts_all:
                    event = replace(event, counts_all=True)
                self._reported = _cumulative(self._reported, event)
                self._cost_is_due = self._cost_is_due or echoed
            case ChoiceEnded(choice=choice, raw=raw, stop=stop):
                self._ended_choices[choice] = True
                self.stop = raw or str(stop)
            case Finished():
                self.finished = self._cost_is_due = True
            case Failed(fault=fault):
                self.failure, self._cost_is_due = self.failure or fault, True

    def _add_cost(self, frames: list[Frame], offer: Offer | None) -> list[Frame]:
        """The frames with the cost in their reports; an answer's last report stands in its last
        frames.

        That of a finished answer is marked as final.
        """
        self._cost_is_due = False
        if offer is None or (self._reported is None and not self.finished):
            return frames

        # An answer whose provider reports nothing shows the estimate that it is charged by.
        reported = self._reported or UsageReported(self._estimate(offer))
        if self._reported is None and not self._has_output:
            return frames
        usage = self._charged_usage(reported.usage, offer)
        last = replace(
            reported, usage=usage, cost=self.full_cost(usage, offer), final=self.finished
        )
        result: list[Frame] = []
        missing = self.finished or self.failure is not None

        # From the end, because a report may stand beside content and once more alone: the last one
        # is shown.
        for frame in reversed(frames):
            if not any(type(event) is UsageReported for event in frame.events):
                result.append(frame)
                continue
            # What is encoded in our words says it at the very end, after why each choice stopped.
            shown = missing and frame.source is not None
            report = last if shown else replace(last, final=False)
            missing = missing and not shown
            events = [report if type(event) is UsageReported else event for event in frame.events]
            result.append(replace(frame, events=tuple(events)))

        if missing:
            end = result[0]
            result[0] = replace(end, events=(*end.events[:-1], last, end.events[-1]))
        return result[::-1]

    def break_off(self, offer: Offer | None) -> list[Frame]:
        """The frames that end an answer which we break off, with the reason `length`."""
        self._reported = UsageReported(replace(self.usage(offer), out_of_credit=True))
        ends: list[Event] = [BlockEnded(block) for block in self._open_blocks]
        ends += [
            ChoiceEnded(choice, Stop.LENGTH, "length")
            for choice, ended in self._ended_choices.items()
            if not ended
        ]
        return [Frame(tuple(ends)), FINISHED]

    def usage(self, offer: Offer | None) -> Usage:
        """The provider's last report, or an estimate of what was delivered, marked as one.

        Before the end a report may lag behind what it counts: then the output is estimated.
        """
        if offer is None:
            return Usage()
        if self._reported is None:
            return self._estimate(offer)
        return self._charged_usage(self._reported.usage, offer)

    def _charged_usage(self, reported: Usage, offer: Offer) -> Usage:
        """A report as it is charged: completed, within what the call can have used, and estimated
        where it says nothing of what was sent or delivered.

        Before the end a report may lag behind what it counts; from the reason to stop on only a
        zero does.
        """
        # What is shown with the end is charged right after it: the same of the same answer.
        state = (
            reported, self._reported, offer, self.output_bytes, self._has_output, self.finished
        )  # fmt: skip
        if self._charged is None or self._charged[0] != state:
            self._charged = state, self._complete_report(reported, offer)
        return self._charged[1]

    def _complete_report(self, reported: Usage, offer: Offer) -> Usage:
        complete = complete_usage(reported, self._call.request, offer.price)
        if self._media:
            complete = self._count_media(complete, offer)
        usage, beyond = self._bound(complete, offer)
        self.beyond_bounds = beyond or self.beyond_bounds
        if not self._has_output:
            return usage

        estimate = self._estimate(offer)
        is_image = self._call.request.surface == "image"
        # A prompt that cannot have been, or that is none, is the one that we sent.
        if usage.prompt < complete.prompt:
            nothing = dict.fromkeys(PROMPT_BUCKETS, 0)
            usage = replace(usage, **nothing | {"input": estimate.input}, estimated=True)
        elif not usage.prompt and estimate.prompt and (usage.completion or not is_image):
            usage = replace(usage, input=estimate.input, estimated=True)
        if is_image and usage.completion < complete.completion:
            # Nor can an image have had so many tokens: it is charged as one of its quality.
            nothing = dict.fromkeys(COMPLETION_BUCKETS, 0)
            made = {"image_output": estimate.image_output}
            usage = replace(usage, **nothing | made, estimated=True)
        lags = usage.completion < estimate.completion
        counts_all = self.finished or (self._reported is not None and self._reported.counts_all)
        if lags and not (counts_all and reported.completion) and not is_image:
            # What is reported of sound and images stays; the text is estimated.
            usage = replace(
                usage, output=estimate.output, reasoning=estimate.reasoning, estimated=True
            )
        return self._within_bounds(usage, offer) if usage.estimated else usage

    def _estimate(self, offer: Offer) -> Usage:
        """What was used by the bytes that were sent and delivered, marked as an estimate."""
        request = self._call.request
        images = sum(kind is Kind.IMAGE for kind in self._other_kinds.values())
        estimate = request.estimate_usage(self._said.tokens, self._thought.tokens, images)
        if self._media:
            prompt = estimate.input or request.prompt_tokens()
            estimate = self._count_media(replace(estimate, input=prompt), offer)
        return self._within_bounds(complete_usage(estimate, request, offer.price), offer)

    def _count_media(self, usage: Usage, offer: Offer) -> Usage:
        return count_media(usage, self._media, round(self._said.tokens), offer.price)

    def _within_bounds(self, estimate: Usage, offer: Offer) -> Usage:
        """An estimate that is not more than can have been used; that is no fault of the provider."""
        bounded, beyond = self._bound(estimate, offer)
        return replace(bounded, repaired=estimate.repaired) if beyond else estimate

    def _bound(self, usage: Usage, offer: Offer) -> tuple[Usage, str]:
        request, bound = self._call.request, self._output_bound
        completion = bound and bound.within(self.output_bytes, request.choices)
        return bound_usage(usage, request, offer, completion)

    def full_cost(self, usage: Usage, offer: Offer | None) -> Nanos | None:
        """What a whole answer of this usage costs; nothing when there is no price."""
        if offer is None or offer.price is None:
            return None
        markup_bp = self._call.principal.markup_bp
        return answer_cost(usage, offer.price, markup_bp, empty=not self._has_output)


def _cumulative(before: UsageReported | None, report: UsageReported) -> UsageReported:
    """The report that holds after another one came: reports of one answer are cumulative, and some
    providers end with zeros.
    """
    if before is None:
        return report
    usage = merge_reports(before.usage, report.usage)
    return replace(report, usage=usage, cost_usd=report.cost_usd or before.cost_usd)
