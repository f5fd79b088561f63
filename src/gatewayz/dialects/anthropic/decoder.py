"""Decoders of Anthropic Messages: a stream of events, or one body, as frames with their sources.

The terminal marker is `message_stop`; a stream without it is `upstream_cut`. Usage comes twice: the
input with `message_start`, the output with `message_delta`.
"""

from typing import Any

from msgspec.structs import replace

from gatewayz.core.events import (
    FINISHED,
    ChoiceEnded,
    Event,
    Frame,
    Started,
    Stop,
    UsageReported,
)
from gatewayz.core.faults import Fault
from gatewayz.dialects.anthropic.echo import mend_block
from gatewayz.dialects.anthropic.errors import STATUSES, error_details
from gatewayz.dialects.anthropic.reader import MessagesBlockReader, OpenBlock, choice_ended
from gatewayz.dialects.anthropic.seals import tag_seals
from gatewayz.dialects.anthropic.usage import is_billed_search, merge_reports, usage_from_wire
from gatewayz.dialects.anthropic.wire import (
    NAME,
    MessagesWireDelta,
    WireBlock,
    WireEvent,
    WireMessage,
    event_from_bytes,
    message_from_bytes,
)
from gatewayz.dialects.kit.base import MAX_BODY_BYTES, DecodeOptions
from gatewayz.dialects.kit.decoder import BaseBodyDecoder, BaseStreamDecoder, failure_frame
from gatewayz.dialects.kit.jsontext import decode_json, encode_json
from gatewayz.dialects.kit.refusals import (
    BAD_GATEWAY,
    error_in_event,
    fault_from_upstream_error,
    upstream_error_from_body,
    upstream_error_from_response,
)
from gatewayz.dialects.kit.sse import SseEvent


def _fault_from_error(error: Any, source: bytes) -> Fault:
    """An error inside an answer; its type stands for the status that it should have had."""
    upstream = upstream_error_from_body(NAME, error, source)
    status = STATUSES.get(upstream.type, upstream.status)
    details = error_details({"error": error})
    return fault_from_upstream_error(replace(upstream, status=status, details=details))


def _fault_from_body(body: bytes) -> Fault:
    """A body that is no message: an error in another shape, or nothing that is known here."""
    upstream = upstream_error_from_response(NAME, BAD_GATEWAY, body, {})
    if upstream.code or upstream.type:
        return fault_from_upstream_error(upstream)
    return Fault("upstream_broken", "the provider's answer is not a message")


def _started(message: WireMessage) -> Started:
    return Started("" if message.id is None else str(message.id), message.model or "")


class MessagesStreamDecoder(BaseStreamDecoder):
    """Server-sent events in, frames out."""

    def __init__(self, options: DecodeOptions) -> None:
        super().__init__()
        self._options = options
        self._reader = MessagesBlockReader(options)
        self._open: dict[int, OpenBlock] = {}
        self._report: dict[str, Any] = {}
        self._has_placeholder = False
        self._searches = 0
        self._end: ChoiceEnded | None = None
        self._started = False

    def _end_of_input(self) -> list[Frame]:
        if not self._started:
            return self._fail(Fault("upstream_broken", "the provider sent an empty stream"))
        return self._cut()

    def _frames(self, events: list[SseEvent], *, last: bool = False) -> list[Frame]:
        frames: list[Frame] = []
        for sse_event in events:
            if self._finished:
                break
            try:
                event, source = event_from_bytes(sse_event.data)
            except ValueError as wrong:
                # The last event of a connection that broke is half an event.
                broken = Fault(
                    "upstream_broken",
                    f"the provider sent an event that is not one of a message: {wrong}",
                )
                frames += self._cut() if last else self._fail(broken)
                break
            # The echo is one line.
            if sse_event.multiline:
                source = encode_json(decode_json(source))
            frames += self._frames_from_event(event, source, event.type or sse_event.event)
        return frames

    def _frames_from_event(self, event: WireEvent, source: bytes, kind: str) -> list[Frame]:
        if kind == "error" or event.error:
            return self._fail(_fault_from_error(event.error or decode_json(source), source))
        failure = error_in_event(NAME, source) if not kind else None
        if failure is not None:
            return self._fail(fault_from_upstream_error(failure))
        if kind == "message_start" and event.message is not None and not self._started:
            return [Frame(tuple(self._message_start(event.message)), self._source_to_echo(source))]
        # Nothing of a message counts before it has started: pings, and what imitators send.
        if not self._started:
            return []

        events: list[Event] = []
        match kind:
            case "content_block_delta" if event.delta is not None:
                return self._block_delta(event, event.delta, source)
            case "content_block_start" if event.content_block is not None:
                source = self._block_start(event, event.content_block, source, events)
            case "content_block_stop":
                self._close_block(event.index, events)
            case "message_delta":
                source = self._message_delta(event, source, events)
            case "message_stop":
                self._finished = True
                events += [*self._closing_events(), *FINISHED.events]
        echo = self._source_to_echo(source)
        return [Frame(tuple(events), echo)] if events or echo is not None else []

    def _message_start(self, message: WireMessage) -> list[Event]:
        self._started = True
        events: list[Event] = [_started(message)]
        if message.usage and isinstance(message.usage, dict):
            self._report = message.usage
            # The output is counted as it is made: what the start says of it is a placeholder, and
            # may be more than a short answer has.
            self._has_placeholder = True
            events.append(UsageReported(usage_from_wire({**message.usage, "output_tokens": 0})))
        return events

    def _block_start(
        self, event: WireEvent, block: WireBlock, source: bytes, events: list[Event]
    ) -> bytes:
        """Adds the start of a block to `events`; returns the source with its seals."""
        index = event.index if event.index is not None else len(self._open)
        self._close_block(index, events)
        # After the reason to stop there are no more blocks.
        if self._end is not None:
            return source

        self._open[index] = self._reader.start_block(block, events)
        if is_billed_search(block):
            self._searches += 1
            events.append(UsageReported(usage_from_wire(self._interim_report())))
        sealed = mend_block(tag_seals(block, self._options.provider))
        if sealed == block:
            return source
        return encode_json({**decode_json(source), "content_block": sealed})

    def _interim_report(self) -> dict[str, Any]:
        """What is paid by a client that leaves now: the searches are known, the output is not."""
        return {
            **self._report,
            "output_tokens": 0,
            "server_tool_use": {"web_search_requests": self._searches},
        }

    def _block_delta(
        self, event: WireEvent, delta: MessagesWireDelta, source: bytes
    ) -> list[Frame]:
        opened = self._open.get(event.index or 0)
        if opened is None:
            return self._fail(
                Fault(
                    "upstream_broken",
                    "the provider sent a delta of a block that it had not started",
                )
            )

        events: list[Event] = []
        self._reader.add_delta(opened, delta, source, events)
        if delta.signature or delta.citation is not None:
            document = decode_json(source)
            sealed = tag_seals(document["delta"], self._options.provider)
            source = encode_json({**document, "delta": sealed})
        echo = self._source_to_echo(source)
        return [Frame(tuple(events), echo)] if events or echo is not None else []

    def _close_block(self, index: int | None, events: list[Event]) -> None:
        opened = self._open.pop(index or 0, None)
        if opened is not None:
            self._reader.end_block(opened, events)

    def _message_delta(self, event: WireEvent, source: bytes, events: list[Event]) -> bytes:
        """Adds what the event says to `events`; returns the source with the usage that holds."""
        report = event.usage
        if report and isinstance(report, dict):
            if self._has_placeholder and report.get("output_tokens"):
                self._report, self._has_placeholder = {**self._report, "output_tokens": 0}, False
            self._report = merge_reports(self._report, report)
            is_end = event.delta is not None and bool(event.delta.stop_reason)
            counts_all = is_end or self._end is not None
            events.append(UsageReported(usage_from_wire(self._report), counts_all=counts_all))

            # What says less than before says nothing, to the client too.
            held = {
                name: self._report[name]
                for name, value in report.items()
                if value is not None and self._report[name] != value
            }
            if held:
                source = encode_json({**decode_json(source), "usage": {**report, **held}})
        if event.delta is not None and event.delta.stop_reason:
            for index in list(self._open):
                self._close_block(index, events)
            self._reader.add_refusal(event.delta, events)
            self._end = choice_ended(event.delta, event.context_management, self._options)
        return source

    def _closing_events(self) -> list[Event]:
        """What ends with the message: blocks that were left open, and the choice."""
        events: list[Event] = []
        for index in list(self._open):
            self._close_block(index, events)
        return [*events, self._end if self._end is not None else ChoiceEnded(0, Stop.END)]

    def _source_to_echo(self, source: bytes) -> bytes | None:
        return source if self._options.echo else None


class MessagesBodyDecoder(BaseBodyDecoder):
    """One JSON body in, its events out at the end."""

    def __init__(self, options: DecodeOptions, limit_bytes: int = MAX_BODY_BYTES) -> None:
        super().__init__(limit_bytes)
        self._options = options

    def _read_body(self, body: bytes) -> list[Frame]:
        try:
            message, source = message_from_bytes(body)
        except ValueError:
            return [failure_frame(_fault_from_body(body))]

        if message.error or message.type == "error":
            return [failure_frame(_fault_from_error(message.error or decode_json(source), body))]
        if message.content is None:
            return [failure_frame(_fault_from_body(body))]
        return [self._message_frame(message, message.content, source)]

    def _message_frame(
        self, message: WireMessage, content: list[WireBlock], source: bytes
    ) -> Frame:
        reader = MessagesBlockReader(self._options)
        events: list[Event] = [_started(message)]
        for block in content:
            reader.end_block(reader.start_block(block, events), events)
        reader.add_refusal(message, events)
        if message.usage and isinstance(message.usage, dict):
            events.append(UsageReported(usage_from_wire(message.usage)))
        events += [
            choice_ended(message, message.context_management, self._options),
            *FINISHED.events,
        ]
        if not self._options.echo:
            return Frame(tuple(events), whole=True)

        sealed = tag_seals(content, self._options.provider)
        if sealed != content:
            source = encode_json({**decode_json(source), "content": sealed})
        return Frame(tuple(events), source, whole=True)
