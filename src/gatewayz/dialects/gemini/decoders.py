"""Decoders of Gemini: a stream of responses, or one body, as frames of events.

A stream has no marker of its own at the end: it is complete when every candidate said why it stopped and the bytes
end; anything else is `upstream_cut`. Usage comes in every chunk and is cumulative.
"""

from gatewayz.core.events import Event, Failed, Frame
from gatewayz.core.faults import Fault
from gatewayz.dialects.base import MAX_BODY_BYTES, Reading
from gatewayz.dialects.gemini.chunks import chunks_from
from gatewayz.dialects.gemini.errors import said_no, words_from
from gatewayz.dialects.gemini.hear import Hearing
from gatewayz.dialects.listening import BodyListener, StreamListener
from gatewayz.dialects.sse import Sse


def _framed(events: list[Event]) -> list[Frame]:
    return [Frame(tuple(events))] if events else []


class StreamDecoder(StreamListener):
    """Server-sent responses in, frames out."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self._hearing = Hearing(reading)

    def _frames(self, events: list[Sse], *, last: bool = False) -> list[Frame]:
        frames: list[Frame] = []
        try:
            for event in events:
                self._heard(event, frames, last=last)
        except Fault as fault:
            frames += self._fail(fault)
        return frames

    def _heard(self, event: Sse, frames: list[Frame], *, last: bool) -> None:
        heard: list[Event] = []
        try:
            for chunk in chunks_from(event.data):
                self._hearing.chunk(chunk, event.data, heard)
        except ValueError as wrong:
            # The last event of a connection that broke is half an event.
            kind = "upstream_cut" if last else "upstream_broken"
            raise Fault(kind, f"the provider sent an event that is no response: {wrong}") from wrong
        finally:
            frames += _framed(heard)

    def _ended(self) -> list[Frame]:
        heard: list[Event] = []
        try:
            self._hearing.end(heard)
        except Fault as fault:
            return self._fail(fault)
        self._over = True
        return _framed(heard)


class BodyDecoder(BodyListener):
    """One JSON body in, its events out at the end; a list of responses is a stream that was not asked for as one."""

    def __init__(self, reading: Reading, limit_bytes: int = MAX_BODY_BYTES) -> None:
        super().__init__(limit_bytes)
        self._hearing = Hearing(reading)

    def _whole(self, body: bytes) -> list[Frame]:
        events: list[Event] = []
        try:
            self._read(body, events)
        except Fault as fault:
            events.append(Failed(fault))
        return _framed(events)

    def _read(self, body: bytes, events: list[Event]) -> None:
        try:
            chunks = chunks_from(body)
        except ValueError as wrong:
            fault = said_no(body)
            told = words_from(502, body)
            raise (
                fault
                if told.type
                else Fault("upstream_broken", "the provider's answer is no response")
            ) from wrong
        for chunk in chunks:
            self._hearing.chunk(chunk, body, events)
        self._hearing.end(events)
