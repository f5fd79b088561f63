"""Decoders of OpenAI Chat: a stream of chunks, or one body, as frames of events with their sources.

Terminal markers: `[DONE]`, or the end of the connection after every choice said why it stopped;
anything else is `upstream_cut`. Usage is the last report seen, wherever it stood; its source leaves
once, before the finish.
"""

from itertools import count
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
from gatewayz.core.usage import merge_reports, service_from_word
from gatewayz.dialects.kit.base import MAX_BODY_BYTES, DecodeOptions
from gatewayz.dialects.kit.decoder import BaseBodyDecoder, BaseStreamDecoder, failure_frame
from gatewayz.dialects.kit.jsontext import decode_json, encode_json
from gatewayz.dialects.kit.refusals import (
    BAD_GATEWAY,
    error_in_event,
    fault_from_error,
    fault_from_invalid_body,
    fault_from_upstream_error,
    has_error_code,
    upstream_error_from_response,
)
from gatewayz.dialects.kit.sse import DONE, SseEvent
from gatewayz.dialects.openai.chat.reader import ChoiceReader
from gatewayz.dialects.openai.chat.repairs import ChoiceRepairs, Repair, repair_source
from gatewayz.dialects.openai.chat.wire import (
    FAILED_REASON,
    NAME,
    ChatWireChoice,
    ChatWireChunk,
    ChatWireDelta,
    ChatWirePiece,
    chunk_from_bytes,
    piece_from_bytes,
)
from gatewayz.dialects.openai.usage import usage_from_wire, usage_to_wire

MAX_CHOICE_INDEX = 127


class _AnswerState:
    """What both decoders share: choices, usage, and the source to hand on."""

    def __init__(self, options: DecodeOptions) -> None:
        self.options = options
        self.numbers = count()
        self.choices: dict[int, ChoiceReader] = {}
        self.raw_usage: Any = None
        self.usage_event: UsageReported | None = None
        self.service = ""

    def choice_reader(self, wire: ChatWireChoice, position: int) -> ChoiceReader:
        """Which choice this is: its index is the client's where it is one that was asked for, and
        the next that is free where a provider counts from 1 or leaves it out.
        """
        on_wire = position if wire.index is None else wire.index
        reader = self.choices.get(on_wire)
        if reader is None and len(self.choices) > MAX_CHOICE_INDEX:
            return next(reversed(self.choices.values()))
        if reader is None:
            number = self._free_index(on_wire)
            reader = self.choices[on_wire] = ChoiceReader(number, self.numbers, self.options)
        return reader

    def _free_index(self, on_wire: int) -> int:
        taken = {reader.choice for reader in self.choices.values()}
        if 0 <= on_wire < self.options.choices and on_wire not in taken:
            return on_wire
        return next(number for number in count() if number not in taken)

    def has_failed(self, choice: ChatWireChoice) -> bool:
        """Whether the provider ends this choice with a word for an answer that failed."""
        reason = choice.finish_reason or ""
        return FAILED_REASON in {reason, self.options.stops.get(reason)}

    def read_usage(self, chunk: ChatWirePiece) -> UsageReported | None:
        """The usage in this chunk, from any of its places."""
        report = chunk.usage
        if report is None:
            report = chunk.x_groq.get("usage") if isinstance(chunk.x_groq, dict) else None
            for choice in chunk.choices or ():
                report = choice.usage if report is None else report
            if report is None:
                return None

        reported = usage_from_wire(report, reasoning_outside=self.options.reasoning_outside)
        if reported is not None:
            if isinstance(chunk, ChatWireChunk):
                self.service = _service_tier(chunk)
            if self.service:
                reported = replace(reported, usage=replace(reported.usage, service=self.service))
            reported = self._merge_report(report, reported)
        return reported

    def _merge_report(self, report: Any, reported: UsageReported) -> UsageReported:
        """The report together with the ones before it; its text goes on where it says it all."""
        before = self.usage_event
        usage = (
            merge_reports(before.usage, reported.usage) if before is not None else reported.usage
        )
        self.raw_usage = report if usage == reported.usage else usage_to_wire(usage)
        self.usage_event = replace(reported, usage=usage)
        return self.usage_event

    def client_usage(self) -> Any:
        """The report as the client may see it: the provider's own, unless it made no sense."""
        reported = self.usage_event
        if reported is not None and reported.usage.repaired:
            return usage_to_wire(reported.usage)
        return self.raw_usage

    def start_event(self, chunk: ChatWireChunk) -> Started:
        self.service = _service_tier(chunk)
        extra = _set_fields(chunk, "created", "service_tier", "system_fingerprint")
        return Started("" if chunk.id is None else str(chunk.id), chunk.model or "", extra)


def _service_tier(chunk: ChatWireChunk) -> str:
    """The service tier that served, where it has a price of its own."""
    return service_from_word(chunk.service_tier)


def _set_fields(chunk: ChatWireChunk, *names: str) -> dict[str, Any]:
    values = {name: getattr(chunk, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _fault_of_failed_answer() -> Fault:
    return Fault("upstream_error", "the provider reported that its answer failed")


class ChatStreamDecoder(BaseStreamDecoder):
    """Server-sent chunks in, frames out."""

    def __init__(self, options: DecodeOptions) -> None:
        super().__init__()
        self._state = _AnswerState(options)
        self._head: ChatWireChunk | None = None

    def _is_answered(self) -> bool:
        """Whether every choice has said why it stopped."""
        readers = self._state.choices.values()
        is_complete = len(readers) >= self._state.options.choices
        return bool(readers) and is_complete and all(reader.ended for reader in readers)

    def _end_of_input(self) -> list[Frame]:
        if self._is_answered():
            return self._finish()
        if self._head is None:
            return self._fail(Fault("upstream_broken", "the provider sent an empty stream"))
        return self._cut()

    def _frames(self, events: list[SseEvent], *, last: bool = False) -> list[Frame]:
        frames: list[Frame] = []
        for event in events:
            if self._finished:
                break
            if event.data == DONE:
                frames += self._finish()
                break
            try:
                chunk, source = (
                    chunk_from_bytes(event.data)
                    if self._head is None
                    else piece_from_bytes(event.data)
                )
            except ValueError as error:
                if self._is_answered():
                    # Only usage may still come: what it is like ends no answer that was delivered.
                    continue
                failure = error_in_event(NAME, event.data)
                if failure is not None:
                    frames += self._fail(fault_from_upstream_error(failure))
                    break
                # The last event of a connection that broke is half an event.
                message = f"the provider sent an event that is not a chat chunk: {error}"
                frames += self._cut() if last else self._fail(Fault("upstream_broken", message))
                break
            frames += self._frames_from_chunk(chunk, source, event)
        return frames

    def _frames_from_chunk(
        self, chunk: ChatWirePiece, source: bytes, event: SseEvent
    ) -> list[Frame]:
        error = chunk.error
        if chunk.x_groq is not None and isinstance(chunk.x_groq, dict):
            error = error or chunk.x_groq.get("error")
        if error or event.event == "error":
            return self._fail(fault_from_error(NAME, error or decode_json(source), source))

        choices = chunk.choices
        usage = self._state.read_usage(chunk)
        if choices is None and usage is None:
            return self._frames_without_answer(source)
        events: list[Event] = []
        if self._head is None and isinstance(chunk, ChatWireChunk):
            self._head = chunk
            events.append(self._state.start_event(chunk))
        if not choices:
            if usage is not None:
                events.append(usage)
            return [Frame(tuple(events))] if events else []

        # Nearly every chunk is one choice with more text: it is not copied, and not repaired.
        if (
            usage is None
            and self._head is not None
            and len(choices) == 1
            and not event.multiline
            and not events
        ):
            more = self._state.choice_reader(choices[0], 0).plain_text_delta(choices[0])
            if more is not None:
                return [Frame((more,), self._echo_source(source))]
        return self._frames_from_choices(choices, source, events, usage, reencode=event.multiline)

    def _frames_without_answer(self, source: bytes) -> list[Frame]:
        """An event that is no chunk: an error in one of its many forms, or nothing."""
        if has_error_code(source, self._state.options.error_path):
            error = upstream_error_from_response(NAME, BAD_GATEWAY, source, {})
            return self._fail(fault_from_upstream_error(error))
        failure = error_in_event(NAME, source)
        return [] if failure is None else self._fail(fault_from_upstream_error(failure))

    def _frames_from_choices(
        self,
        choices: list[ChatWireChoice],
        source: bytes,
        events: list[Event],
        usage: UsageReported | None,
        *,
        reencode: bool,
    ) -> list[Frame]:
        flushed: list[Frame] = []
        repairs: list[ChoiceRepairs] = []
        for position, choice in enumerate(choices):
            reader = self._state.choice_reader(choice, position)
            delta_repairs: list[Repair] = []
            delta = choice.delta or choice.message
            if delta is not None:
                events += reader.read_delta(choice, delta, delta_repairs)
            reason = None
            if choice.finish_reason and not reader.ended:
                if self._state.has_failed(choice):
                    return self._fail(_fault_of_failed_answer())
                before = reader.flush_into(delta, delta_repairs, events)
                if before:
                    flushed.append(Frame((), self._chunk_source(reader.choice, before, None)))
                reason = reader.finish(choice.finish_reason, events)
            index = reader.choice if choice.index != reader.choice else None
            is_repaired = delta_repairs or index is not None or choice.delta is None
            if is_repaired or (reason is not None and reason != choice.finish_reason):
                repairs.append(ChoiceRepairs(position, delta_repairs, reason, index))

        if usage is not None:
            events.append(usage)
        if repairs or reencode or usage is not None:
            source = repair_source(source, "delta", repairs, strip_usage=usage is not None)
        return [*flushed, Frame(tuple(events), self._echo_source(source))]

    def _echo_source(self, source: bytes) -> bytes | None:
        return source if self._state.options.echo else None

    def _flush(self, reader: ChoiceReader) -> list[Frame]:
        events: list[Event] = []
        delta = reader.flush(events)
        if not delta:
            return []
        return [Frame(tuple(events), self._chunk_source(reader.choice, delta, None))]

    def _chunk_source(self, choice: int, delta: dict[str, Any], reason: str | None) -> bytes | None:
        """A chunk in the form of this stream, for what its provider left out."""
        item = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": reason}
        return self._echo_source(encode_json({**self._head_fields(), "choices": [item]}))

    def _head_fields(self) -> dict[str, Any]:
        head = self._head or ChatWireChunk()
        document = {
            "id": head.id,
            "object": "chat.completion.chunk",
            "created": head.created,
            "model": head.model,
        }
        return document | _set_fields(head, "service_tier", "system_fingerprint")

    def _finish(self) -> list[Frame]:
        """The end: choices that never said why they stopped, the usage once, and the finish."""
        if self._head is None:
            return self._fail(
                Fault("upstream_broken", "the provider sent a stream without an answer")
            )
        if not self._state.choices:
            return self._fail(
                Fault("upstream_broken", "the provider sent a stream without choices")
            )

        self._finished = True
        frames: list[Frame] = []
        for reader in self._state.choices.values():
            if not reader.ended:
                frames += self._flush(reader)
                events: list[Event] = []
                reason = reader.finish("stop", events)
                frames.append(Frame(tuple(events), self._chunk_source(reader.choice, {}, reason)))
        if self._state.usage_event is not None:
            usage = self._state.client_usage()
            source = encode_json({**self._head_fields(), "choices": [], "usage": usage})
            frames.append(Frame((self._state.usage_event,), self._echo_source(source)))
        return [*frames, FINISHED]


class ChatBodyDecoder(BaseBodyDecoder):
    """One JSON body in, its events out at the end."""

    def __init__(self, options: DecodeOptions, limit_bytes: int = MAX_BODY_BYTES) -> None:
        super().__init__(limit_bytes)
        self._state = _AnswerState(options)

    def _read_body(self, body: bytes) -> list[Frame]:
        try:
            chunk, source = chunk_from_bytes(body)
        except ValueError:
            return [failure_frame(_invalid_body_fault(body))]
        fault = self._fault_in_answer(chunk, body)
        if fault is not None:
            return [failure_frame(fault)]
        return [self._frame_from_chunk(chunk, source)]

    def _fault_in_answer(self, chunk: ChatWireChunk, body: bytes) -> Fault | None:
        if chunk.error:
            return fault_from_error(NAME, chunk.error, body)
        if has_error_code(body, self._state.options.error_path):
            return _invalid_body_fault(body)
        if not chunk.choices or any(choice.message is None for choice in chunk.choices):
            return _invalid_body_fault(body)
        if any(self._state.has_failed(choice) for choice in chunk.choices):
            return _fault_of_failed_answer()
        return None

    def _frame_from_chunk(self, chunk: ChatWireChunk, source: bytes) -> Frame:
        events: list[Event] = [self._state.start_event(chunk)]
        repairs: list[ChoiceRepairs] = []
        for position, choice in enumerate(chunk.choices or ()):
            message = choice.message or ChatWireDelta()
            reader = self._state.choice_reader(choice, position)
            message_repairs: list[Repair] = []
            events += reader.read_delta(choice, message, message_repairs)
            reader.flush_into(message, message_repairs, events)
            reason = reader.finish(choice.finish_reason or "stop", events)
            index = reader.choice if choice.index != reader.choice else None
            if message_repairs or index is not None or reason != choice.finish_reason:
                repairs.append(ChoiceRepairs(position, message_repairs, reason, index))

        usage = self._state.read_usage(chunk)
        if usage is not None:
            events.append(usage)
        if repairs or (usage is not None and (usage.usage.repaired or chunk.usage is None)):
            source = repair_source(
                source, "message", repairs, strip_usage=False, usage=self._state.client_usage()
            )
        finished = (*events, *FINISHED.events)
        return Frame(finished, source if self._state.options.echo else None, whole=True)


def _invalid_body_fault(body: bytes) -> Fault:
    return fault_from_invalid_body(NAME, body, "a chat completion")
