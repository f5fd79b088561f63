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
from gatewayz.dialects.sse import BOM, Sse, SseParser


def _frames(events: list[Event]) -> list[Frame]:
    return [Frame(tuple(events))] if events else []


class StreamDecoder:
    """Server-sent responses in, frames out."""

    def __init__(self, reading: Reading) -> None:
        self._sse = SseParser()
        self._hearing = Hearing(reading)
        self._over = False

    def feed(self, chunk: bytes) -> list[Frame]:
        frames: list[Frame] = []
        if self._over:
            return frames
        try:
            self._heard(self._sse.feed(chunk), frames)
        except Fault as fault:
            self._fail(fault, frames)
        return frames

    def close(self) -> list[Frame]:
        frames: list[Frame] = []
        if self._over:
            return frames
        try:
            self._heard(self._sse.close(), frames, last=True)
            events: list[Event] = []
            self._hearing.end(events)
            frames += _frames(events)
        except Fault as fault:
            self._fail(fault, frames)
        self._over = True
        return frames

    def _fail(self, fault: Fault, frames: list[Frame]) -> None:
        self._over = True
        frames.append(Frame((Failed(fault),)))

    def _heard(self, received: list[Sse], frames: list[Frame], *, last: bool = False) -> None:
        for event in received:
            events: list[Event] = []
            try:
                for chunk in chunks_from(event.data):
                    self._hearing.chunk(chunk, event.data, events)
            except ValueError as wrong:
                # The last event of a connection that broke is half an event.
                kind = "upstream_cut" if last else "upstream_broken"
                raise Fault(kind, f"the provider sent an event that is no response: {wrong}") from wrong
            finally:
                frames += _frames(events)


class BodyDecoder:
    """One JSON body in, its events out at the end; a list of responses is a stream that was not asked for as one."""

    def __init__(self, reading: Reading, limit_bytes: int = MAX_BODY_BYTES) -> None:
        self._hearing = Hearing(reading)
        self._pieces: list[bytes] = []
        self._room = limit_bytes

    def feed(self, chunk: bytes) -> list[Frame]:
        self._room -= len(chunk)
        if self._room >= 0:
            self._pieces.append(chunk)
        return []

    def close(self) -> list[Frame]:
        events: list[Event] = []
        try:
            self._read(events)
        except Fault as fault:
            events.append(Failed(fault))
        return _frames(events)

    def _read(self, events: list[Event]) -> None:
        if self._room < 0:
            raise Fault("upstream_broken", "the provider sent a body above the limit")
        body = b"".join(self._pieces).removeprefix(BOM).strip()
        try:
            chunks = chunks_from(body)
        except ValueError as wrong:
            fault = said_no(body)
            told = words_from(502, body)
            raise (fault if told.type else Fault("upstream_broken", "the provider's answer is no response")) from wrong
        for chunk in chunks:
            self._hearing.chunk(chunk, body, events)
        self._hearing.end(events)
