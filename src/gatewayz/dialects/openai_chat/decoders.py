"""Decoders of OpenAI Chat: a stream of chunks, or one body, as frames of events with their sources.

Terminal markers: `[DONE]`, or the end of the connection after every choice said why it stopped; anything else is
`upstream_cut`. Usage is the last report seen, wherever it stood; its source leaves once, before the finish.
"""

from typing import Any

from msgspec.structs import replace

from gatewayz.core.events import (
    FINISHED,
    Event,
    Frame,
    Started,
    UsageReported,
)
from gatewayz.core.faults import Fault
from gatewayz.core.usage import SERVICES
from gatewayz.dialects.base import MAX_BODY_BYTES, Reading
from gatewayz.dialects.jsontext import decoded, encoded
from gatewayz.dialects.listening import BodyListener, StreamListener, failed
from gatewayz.dialects.openai_chat.chunks import (
    WireChoice,
    WireChunk,
    WireDelta,
    WirePiece,
    chunk_from,
    piece_from,
)
from gatewayz.dialects.openai_chat.hear import FAILED_REASON, ChoiceTrack, Mend, Numbers
from gatewayz.dialects.openai_chat.mending import ChoiceMends, mended
from gatewayz.dialects.openai_chat.messages import NAME
from gatewayz.dialects.openai_usage import usage_from_wire, usage_to_wire
from gatewayz.dialects.refusals import says_no, words_from, words_in_answer
from gatewayz.dialects.sse import Sse

DONE = b"[DONE]"
MAX_CHOICE_INDEX = 127


def _words_fault(error: Any, body: bytes) -> Fault:
    words = words_in_answer(NAME, error, body)
    return Fault(
        "upstream_error",
        words.message or "the provider reported an error in its answer",
        upstream=words,
    )


def _said_no(body: bytes) -> Fault:
    words = words_from(NAME, 502, body, {})
    return Fault(
        "upstream_error", words.message or "the provider reported an error", upstream=words
    )


class _Hearing:
    """What both decoders share: choices, usage, and the source to hand on."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.numbers = Numbers()
        self.choices: dict[int, ChoiceTrack] = {}
        self.report: Any = None
        self.reported: UsageReported | None = None
        self.service = ""

    def track(self, wire: WireChoice, position: int) -> ChoiceTrack:
        number = position if wire.index is None else wire.index
        found = self.choices.get(number)
        if found is None:
            number = min(max(number, 0), MAX_CHOICE_INDEX)
            found = self.choices.setdefault(number, ChoiceTrack(number, self.numbers, self.reading))
        return found

    def usage(self, chunk: WirePiece) -> UsageReported | None:
        """The usage in this chunk, from any of its places."""
        report = chunk.usage
        if report is None:
            report = chunk.x_groq.get("usage") if isinstance(chunk.x_groq, dict) else None
            for choice in chunk.choices or ():
                report = choice.usage if report is None else report
            if report is None:
                return None
        found = usage_from_wire(report, reasoning_outside=self.reading.reasoning_outside)
        if found is not None:
            if isinstance(chunk, WireChunk):
                self.service = _service(chunk)
            if self.service:
                found = replace(found, usage=replace(found.usage, service=self.service))
            self.report, self.reported = report, found
        return found

    def told(self) -> Any:
        """The report as the client may see it: the provider's own, unless it made no sense."""
        repaired = self.reported is not None and self.reported.usage.repaired
        return (
            usage_to_wire(self.reported.usage)
            if repaired and self.reported is not None
            else self.report
        )

    def started(self, chunk: WireChunk) -> Started:
        self.service = _service(chunk)
        told = {"created": chunk.created, "service_tier": chunk.service_tier}
        told["system_fingerprint"] = chunk.system_fingerprint
        extra = {name: value for name, value in told.items() if value is not None}
        return Started("" if chunk.id is None else str(chunk.id), chunk.model or "", extra)


def _service(chunk: WireChunk) -> str:
    """The service tier that served, where it has a price of its own."""
    return chunk.service_tier if chunk.service_tier in SERVICES else ""


class StreamDecoder(StreamListener):
    """Server-sent chunks in, frames out."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self._hearing = _Hearing(reading)
        self._head: WireChunk | None = None

    def _ended(self) -> list[Frame]:
        ended = [track for track in self._hearing.choices.values() if track.ended]
        if ended and len(ended) == len(self._hearing.choices) >= self._hearing.reading.choices:
            return self._finish()
        if self._head is None:
            return self._fail(Fault("upstream_broken", "the provider sent an empty stream"))
        return self._cut()

    def _frames(self, events: list[Sse], *, last: bool = False) -> list[Frame]:
        frames: list[Frame] = []
        for event in events:
            if self._over:
                break
            if event.data == DONE:
                frames += self._finish()
                break
            try:
                chunk, source = (
                    chunk_from(event.data) if self._head is None else piece_from(event.data)
                )
            except ValueError as wrong:
                # The last event of a connection that broke is half an event.
                broken = Fault(
                    "upstream_broken", f"the provider sent an event that is no chat chunk: {wrong}"
                )
                frames += self._cut() if last else self._fail(broken)
                break
            frames += self._chunk(chunk, source, event)
        return frames

    def _chunk(self, chunk: WirePiece, source: bytes, event: Sse) -> list[Frame]:
        error = chunk.error
        if chunk.x_groq is not None and isinstance(chunk.x_groq, dict):
            error = error or chunk.x_groq.get("error")
        if error or event.event == "error":
            return self._fail(_words_fault(error or decoded(source), source))
        events: list[Event] = []
        choices = chunk.choices
        usage = self._hearing.usage(chunk)
        if choices is None and usage is None:
            no = says_no(source, self._hearing.reading.error_path)
            return self._fail(_said_no(source)) if no else []
        if self._head is None and isinstance(chunk, WireChunk):
            self._head = chunk
            events.append(self._hearing.started(chunk))
        if not choices:
            if usage is not None:
                events.append(usage)
            return [Frame(tuple(events))] if events else []
        if (
            usage is None
            and self._head is not None
            and len(choices) == 1
            and not event.joined
            and not events
        ):
            more = self._hearing.track(choices[0], 0).plain(choices[0])
            if more is not None:
                return [Frame((more,), self._echoed(source))]
        return self._choices(choices, source, events, usage, resay=event.joined)

    def _choices(
        self,
        choices: list[WireChoice],
        source: bytes,
        events: list[Event],
        usage: UsageReported | None,
        *,
        resay: bool,
    ) -> list[Frame]:
        flushed: list[Frame] = []
        mends: list[ChoiceMends] = []
        for position, choice in enumerate(choices):
            track = self._hearing.track(choice, position)
            made: list[Mend] = []
            delta = choice.delta or choice.message
            if delta is not None:
                events += track.hear(choice, delta, made)
            reason = None
            if choice.finish_reason and not track.ended:
                if choice.finish_reason in {FAILED_REASON, *self._failing()}:
                    return self._fail(
                        Fault("upstream_error", "the provider reported that its answer failed")
                    )
                flushed += self._flush(track)
                reason = track.end(choice.finish_reason, events)
            if made or (reason is not None and reason != choice.finish_reason):
                mends.append(ChoiceMends(position, made, reason))
        if usage is not None:
            events.append(usage)
        if mends or resay or usage is not None:
            source = mended(source, "delta", mends, strip_usage=usage is not None)
        return [*flushed, Frame(tuple(events), self._echoed(source))]

    def _failing(self) -> list[str]:
        return [
            word for word, means in self._hearing.reading.stops.items() if means == FAILED_REASON
        ]

    def _echoed(self, source: bytes) -> bytes | None:
        return source if self._hearing.reading.echo else None

    def _flush(self, track: ChoiceTrack) -> list[Frame]:
        events: list[Event] = []
        delta = track.flush(events)
        return [Frame(tuple(events), self._said(track.choice, delta, None))] if delta else []

    def _said(self, choice: int, delta: dict[str, Any], reason: str | None) -> bytes | None:
        """A chunk in the words of this stream, for what its provider left unsaid."""
        said = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": reason}
        return self._echoed(encoded({**self._own_head(), "choices": [said]}))

    def _own_head(self) -> dict[str, Any]:
        head = self._head or WireChunk()
        document = {
            "id": head.id,
            "object": "chat.completion.chunk",
            "created": head.created,
            "model": head.model,
        }
        told = {"service_tier": head.service_tier, "system_fingerprint": head.system_fingerprint}
        return document | {name: value for name, value in told.items() if value is not None}

    def _finish(self) -> list[Frame]:
        """The end: choices that never said why they stopped, the usage once, and the finish."""
        self._over = True
        if self._head is None:
            return [
                failed(Fault("upstream_broken", "the provider sent a stream without an answer"))
            ]
        frames: list[Frame] = []
        for track in self._hearing.choices.values():
            if not track.ended:
                frames += self._flush(track)
                events: list[Event] = []
                reason = track.end("stop", events)
                frames.append(Frame(tuple(events), self._said(track.choice, {}, reason)))
        if not self._hearing.choices:
            return [failed(Fault("upstream_broken", "the provider sent a stream without choices"))]
        if self._hearing.reported is not None:
            told = {**self._own_head(), "choices": [], "usage": self._hearing.told()}
            frames.append(Frame((self._hearing.reported,), self._echoed(encoded(told))))
        return [*frames, FINISHED]


class BodyDecoder(BodyListener):
    """One JSON body in, its events out at the end."""

    def __init__(self, reading: Reading, limit_bytes: int = MAX_BODY_BYTES) -> None:
        super().__init__(limit_bytes)
        self._hearing = _Hearing(reading)

    def _whole(self, body: bytes) -> list[Frame]:
        try:
            chunk, source = chunk_from(body)
        except ValueError:
            return [failed(self._no_answer(body))]
        fault = self._refused(chunk, body)
        return [failed(fault)] if fault is not None else [self._frame(chunk, source)]

    def _no_answer(self, body: bytes) -> Fault:
        fault = _said_no(body)
        if fault.upstream is not None and (fault.upstream.code or fault.upstream.type):
            return fault
        return Fault("upstream_broken", "the provider's answer is no chat completion")

    def _refused(self, chunk: WireChunk, body: bytes) -> Fault | None:
        if chunk.error:
            return _words_fault(chunk.error, body)
        if says_no(body, self._hearing.reading.error_path):
            return self._no_answer(body)
        if not chunk.choices or any(choice.message is None for choice in chunk.choices):
            return self._no_answer(body)
        failing = {
            FAILED_REASON,
            *(w for w, means in self._hearing.reading.stops.items() if means == FAILED_REASON),
        }
        if any(choice.finish_reason in failing for choice in chunk.choices):
            return Fault("upstream_error", "the provider reported that its answer failed")
        return None

    def _frame(self, chunk: WireChunk, source: bytes) -> Frame:
        events: list[Event] = [self._hearing.started(chunk)]
        mends: list[ChoiceMends] = []
        for position, choice in enumerate(chunk.choices or ()):
            message = choice.message or WireDelta()
            track = self._hearing.track(choice, position)
            made: list[Mend] = []
            events += track.hear(choice, message, made)
            left = track.flush(events)
            made += [(name, _joined(made, message, name, text)) for name, text in left.items()]
            reason = track.end(choice.finish_reason or "stop", events)
            if made or reason != choice.finish_reason:
                mends.append(ChoiceMends(position, made, reason))
        usage = self._hearing.usage(chunk)
        if usage is not None:
            events.append(usage)
        if mends or (usage is not None and (usage.usage.repaired or chunk.usage is None)):
            source = mended(source, "message", mends, strip_usage=False, usage=self._hearing.told())
        finished = (*events, *FINISHED.events)
        return Frame(finished, source if self._hearing.reading.echo else None, whole=True)


def _joined(made: list[Mend], message: WireDelta, name: str, text: str) -> str:
    """The text that is already there, and what the splitter had held back."""
    said = next((value for field, value in made if field == name), None)
    return (said if said is not None else getattr(message, name) or "") + text
