"""Listening to an answer, whatever its dialect: by what it says it is, to its end or to where it breaks."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from gatewayz.core.events import Failed, Frame
from gatewayz.core.faults import Fault
from gatewayz.dialects.base import MAX_BODY_BYTES, Decoder, Reading
from gatewayz.dialects.sse import BOM, Sse, SseParser

WHOLE = frozenset({"application/json", "text/plain", "application/octet-stream", ""})


def kind_of(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def no_answer(content_type: str) -> Fault:
    """The fault of a content type that cannot be an answer."""
    return Fault(
        "upstream_broken",
        f"the provider answered with {kind_of(content_type) or 'no content type'}",
    )


def by_content_type(
    content_type: str,
    reading: Reading,
    stream: Callable[[Reading], Decoder],
    body: Callable[[Reading], Decoder],
) -> Decoder:
    """The decoder by what the answer says it is: some providers answer a streamed request with one body."""
    kind = kind_of(content_type)
    if kind == "text/event-stream":
        return stream(reading)
    if kind in WHOLE or kind.endswith("+json"):
        return body(reading)
    raise no_answer(content_type)


def failed(fault: Fault) -> Frame:
    return Frame((Failed(fault),))


class StreamListener(ABC):
    """Bytes of a stream, event by event; a dialect says what an event is (`_frames`) and what the end (`_ended`)."""

    def __init__(self) -> None:
        self._sse = SseParser()
        self._over = False

    def feed(self, chunk: bytes) -> list[Frame]:
        if self._over:
            return []
        try:
            events = self._sse.feed(chunk)
        except Fault as fault:
            return self._fail(fault)
        return self._frames(events)

    def close(self) -> list[Frame]:
        if self._over:
            return []
        try:
            frames = self._frames(self._sse.close(), last=True)
        except Fault as fault:
            return self._fail(fault)
        return frames if self._over else frames + self._ended()

    @abstractmethod
    def _frames(self, events: list[Sse], *, last: bool = False) -> list[Frame]:
        """What these events say; `last` when the bytes have ended and the last one may be half."""

    @abstractmethod
    def _ended(self) -> list[Frame]:
        """What the end of the bytes means, where no event was the end."""

    def _fail(self, fault: Fault) -> list[Frame]:
        self._over = True
        return [failed(fault)]

    def _cut(self) -> list[Frame]:
        return self._fail(
            Fault("upstream_cut", "the provider's stream ended before the answer was complete")
        )


class BodyListener(ABC):
    """One body, collected up to a limit; a dialect hears it whole (`_whole`)."""

    def __init__(self, limit_bytes: int = MAX_BODY_BYTES) -> None:
        self._pieces: list[bytes] = []
        self._room = limit_bytes

    def feed(self, chunk: bytes) -> list[Frame]:
        self._room -= len(chunk)
        if self._room >= 0:
            self._pieces.append(chunk)
        return []

    def close(self) -> list[Frame]:
        if self._room < 0:
            return [failed(Fault("upstream_broken", "the provider sent a body above the limit"))]
        # DeepSeek sends blank lines before the body while a call waits in its queue.
        return self._whole(b"".join(self._pieces).removeprefix(BOM).strip())

    @abstractmethod
    def _whole(self, body: bytes) -> list[Frame]:
        """What the body says."""
