"""Decoders of Anthropic Messages: a stream of events, or one body, as frames with their sources.

The terminal marker is `message_stop`; a stream without it is `upstream_cut`. Usage comes twice: the input with
`message_start`, the output with `message_delta`.
"""

from typing import Any

from msgspec.structs import replace

from gatewayz.core.events import (
    FINISHED,
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Finished,
    Frame,
    Kind,
    Started,
    Stop,
    UsageReported,
)
from gatewayz.core.faults import Fault
from gatewayz.dialects.anthropic_messages.errors import STATUSES
from gatewayz.dialects.anthropic_messages.hear import Ear, OpenBlock, choice_ended
from gatewayz.dialects.anthropic_messages.loses import NAME
from gatewayz.dialects.anthropic_messages.seals import tagged
from gatewayz.dialects.anthropic_messages.usage import merged_report, searched, usage_from_wire
from gatewayz.dialects.anthropic_messages.wire import (
    WireDelta,
    WireEvent,
    WireMessage,
    event_from,
    message_from,
)
from gatewayz.dialects.base import MAX_BODY_BYTES, Reading
from gatewayz.dialects.jsontext import decoded, encoded
from gatewayz.dialects.listening import BodyListener, StreamListener, failed
from gatewayz.dialects.refusals import words_from, words_in_answer
from gatewayz.dialects.sse import Sse


def _said_no(error: Any, source: bytes) -> Fault:
    words = words_in_answer(NAME, error, source)
    words = replace(words, status=STATUSES.get(words.type, words.status))
    return Fault(
        "upstream_error",
        words.message or "the provider reported an error in its answer",
        upstream=words,
    )


class StreamDecoder(StreamListener):
    """Server-sent events in, frames out."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self._reading = reading
        self._ear = Ear(reading)
        self._open: dict[int, OpenBlock] = {}
        self._report: dict[str, Any] = {}
        self._searches = 0
        self._end: ChoiceEnded | None = None
        self._begun = False

    def _ended(self) -> list[Frame]:
        if not self._begun:
            return self._fail(Fault("upstream_broken", "the provider sent an empty stream"))
        return self._cut()

    def _frames(self, events: list[Sse], *, last: bool = False) -> list[Frame]:
        frames: list[Frame] = []
        for one in events:
            if self._over:
                break
            try:
                event, source = event_from(one.data)
            except ValueError as wrong:
                # The last event of a connection that broke is half an event.
                broken = Fault(
                    "upstream_broken",
                    f"the provider sent an event that is none of a message: {wrong}",
                )
                frames += self._cut() if last else self._fail(broken)
                break
            if one.joined:
                source = encoded(decoded(source))
            frames += self._heard(event, source, event.type or one.event)
        return frames

    def _heard(self, event: WireEvent, source: bytes, kind: str) -> list[Frame]:
        if kind == "error" or event.error:
            return self._fail(_said_no(event.error or decoded(source), source))
        if kind == "message_start" and event.message is not None and not self._begun:
            return [Frame(tuple(self._start(event.message)), self._echoed(source))]
        if not self._begun:
            return []
        events: list[Event] = []
        match kind:
            case "content_block_delta" if event.delta is not None:
                return self._delta(event, event.delta, source)
            case "content_block_start" if event.content_block is not None:
                source = self._block(event, event.content_block, source, events)
            case "content_block_stop":
                self._close_block(event.index, events)
            case "message_delta":
                self._message_delta(event, events)
            case "message_stop":
                self._over = True
                events += [*self._closed(), *FINISHED.events]
        shown = self._echoed(source)
        return [Frame(tuple(events), shown)] if events or shown is not None else []

    def _start(self, message: WireMessage) -> list[Event]:
        self._begun = True
        events: list[Event] = [
            Started("" if message.id is None else str(message.id), message.model or "")
        ]
        if message.usage:
            self._report = message.usage
            # The output is counted as it is made: what the start says of it is a placeholder.
            events.append(UsageReported(usage_from_wire({**message.usage, "output_tokens": 0})))
        return events

    def _block(
        self, event: WireEvent, block: dict[str, Any], source: bytes, events: list[Event]
    ) -> bytes:
        index = event.index if event.index is not None else len(self._open)
        self._close_block(index, events)
        if self._end is not None:
            return source
        self._open[index] = self._ear.begin(block, events)
        if searched(block):
            self._searches += 1
            events.append(UsageReported(usage_from_wire(self._so_far())))
        shown = tagged(block, self._reading.provider)
        return source if shown == block else encoded({**decoded(source), "content_block": shown})

    def _so_far(self) -> dict[str, Any]:
        """The report before the end, which nobody may see who leaves now: the output is not known, the searches are."""
        return {
            **self._report,
            "output_tokens": 0,
            "server_tool_use": {"web_search_requests": self._searches},
        }

    def _delta(self, event: WireEvent, delta: WireDelta, source: bytes) -> list[Frame]:
        opened = self._open.get(event.index or 0)
        if opened is None:
            return self._fail(
                Fault(
                    "upstream_broken", "the provider sent a piece of a block that it had not begun"
                )
            )
        events: list[Event] = []
        self._ear.more(opened, delta, source, events)
        if delta.signature or delta.citation is not None:
            document = decoded(source)
            source = encoded(
                {**document, "delta": tagged(document["delta"], self._reading.provider)}
            )
        shown = self._echoed(source)
        return [Frame(tuple(events), shown)] if events or shown is not None else []

    def _close_block(self, index: int | None, events: list[Event]) -> None:
        opened = self._open.pop(index or 0, None)
        if opened is not None:
            self._ear.end(opened, events)

    def _message_delta(self, event: WireEvent, events: list[Event]) -> None:
        if event.usage:
            self._report = merged_report(self._report, event.usage)
            events.append(UsageReported(usage_from_wire(self._report)))
        if event.delta is not None and event.delta.stop_reason:
            self._end = choice_ended(event.delta, event.context_management, self._reading)

    def _closed(self) -> list[Event]:
        """What the end of the message ends: blocks that were left open, and the choice."""
        events: list[Event] = []
        for index in list(self._open):
            self._close_block(index, events)
        return [*events, self._end if self._end is not None else ChoiceEnded(0, Stop.END)]

    def _echoed(self, source: bytes) -> bytes | None:
        return source if self._reading.echo else None


class BodyDecoder(BodyListener):
    """One JSON body in, its events out at the end: a message, or a count of tokens."""

    def __init__(self, reading: Reading, limit_bytes: int = MAX_BODY_BYTES) -> None:
        super().__init__(limit_bytes)
        self._reading = reading

    def _whole(self, body: bytes) -> list[Frame]:
        try:
            message, source = message_from(body)
        except ValueError:
            return [failed(self._no_answer(body))]
        if message.error or message.type == "error":
            return [failed(_said_no(message.error or decoded(source), body))]
        if message.content is None:
            counted = message.input_tokens
            return [
                failed(self._no_answer(body)) if counted is None else self._count(counted, source)
            ]
        return [self._frame(message, message.content, source)]

    def _no_answer(self, body: bytes) -> Fault:
        words = words_from(NAME, 502, body, {})
        if words.code or words.type:
            return Fault(
                "upstream_error", words.message or "the provider reported an error", upstream=words
            )
        return Fault("upstream_broken", "the provider's answer is no message")

    def _count(self, tokens: int, source: bytes) -> Frame:
        block = (BlockStarted(0, Kind.COUNT), BlockDelta(0, str(tokens)), BlockEnded(0))
        events = (Started(), *block, ChoiceEnded(0, Stop.END), Finished())
        return Frame(events, source if self._reading.echo else None, whole=True)

    def _frame(self, message: WireMessage, content: list[dict[str, Any]], source: bytes) -> Frame:
        ear = Ear(self._reading)
        events: list[Event] = [
            Started("" if message.id is None else str(message.id), message.model or "")
        ]
        for block in content:
            ear.end(ear.begin(block, events), events)
        if message.usage:
            events.append(UsageReported(usage_from_wire(message.usage)))
        events += [
            choice_ended(message, message.context_management, self._reading),
            *FINISHED.events,
        ]
        if not self._reading.echo:
            return Frame(tuple(events), whole=True)
        shown = tagged(content, self._reading.provider)
        if shown != content:
            source = encoded({**decoded(source), "content": shown})
        return Frame(tuple(events), source, whole=True)
