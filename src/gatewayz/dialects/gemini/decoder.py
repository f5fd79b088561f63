"""Decoders of Gemini: a stream of responses, or one body, as frames of events.

A stream has no marker of its own at the end: it is complete when every candidate said why it
stopped and the bytes end; anything else is `upstream_cut`. Usage comes in every chunk and is
cumulative.
"""

from gatewayz.core.events import Event, Failed, Frame
from gatewayz.core.faults import Fault
from gatewayz.dialects.gemini.errors import fault_from_body
from gatewayz.dialects.gemini.reader import GeminiResponseReader
from gatewayz.dialects.gemini.wire import chunks_from_bytes
from gatewayz.dialects.kit.base import MAX_BODY_BYTES, DecodeOptions
from gatewayz.dialects.kit.decoder import BaseBodyDecoder, BaseStreamDecoder
from gatewayz.dialects.kit.sse import SseEvent


def _frames_from_events(events: list[Event]) -> list[Frame]:
    return [Frame(tuple(events))] if events else []


class GeminiStreamDecoder(BaseStreamDecoder):
    """Server-sent responses in, frames out."""

    def __init__(self, options: DecodeOptions) -> None:
        super().__init__()
        self._reader = GeminiResponseReader(options)

    def _frames(self, events: list[SseEvent], *, last: bool = False) -> list[Frame]:
        frames: list[Frame] = []
        try:
            for event in events:
                self._read_event(event, frames, last=last)
        except Fault as fault:
            frames += self._fail(fault)
        return frames

    def _read_event(self, event: SseEvent, frames: list[Frame], *, last: bool) -> None:
        events: list[Event] = []
        try:
            for chunk in chunks_from_bytes(event.data):
                self._reader.read_chunk(chunk, event.data, events)
        except ValueError as wrong:
            # The last event of a connection that broke is half an event.
            kind = "upstream_cut" if last else "upstream_broken"
            raise Fault(
                kind, f"the provider sent an event that is not a response: {wrong}"
            ) from wrong
        finally:
            # What came before a fault is the client's.
            frames += _frames_from_events(events)

    def _end_of_input(self) -> list[Frame]:
        events: list[Event] = []
        try:
            self._reader.finish(events)
        except Fault as fault:
            return self._fail(fault)
        self._finished = True
        return _frames_from_events(events)


class GeminiBodyDecoder(BaseBodyDecoder):
    """One JSON body in, its events out at the end.

    A list of responses is what a streamed request without `alt=sse` is answered with.
    """

    def __init__(self, options: DecodeOptions, limit_bytes: int = MAX_BODY_BYTES) -> None:
        super().__init__(limit_bytes)
        self._reader = GeminiResponseReader(options)

    def _read_body(self, body: bytes) -> list[Frame]:
        events: list[Event] = []
        try:
            self._read_chunks(body, events)
        except Fault as fault:
            events.append(Failed(fault))
        return _frames_from_events(events)

    def _read_chunks(self, body: bytes, events: list[Event]) -> None:
        try:
            chunks = chunks_from_bytes(body)
        except ValueError as wrong:
            fault = fault_from_body(body)
            if fault.upstream is None or not fault.upstream.type:
                fault = Fault("upstream_broken", "the provider's answer is not a response")
            raise fault from wrong

        for chunk in chunks:
            self._reader.read_chunk(chunk, body, events)
        self._reader.finish(events)
