"""What all decoders share: the choice by content type, the reading to the end or to the break."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from gatewayz.core.events import Failed, Frame
from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.base import MAX_BODY_BYTES, DecodeOptions, Decoder
from gatewayz.dialects.kit.sse import BOM, SseEvent, SseParser

BODY_TYPES = frozenset({"application/json", "text/plain", "application/octet-stream", ""})


def media_type(content_type: str) -> str:
    """The media type without parameters: `Text/HTML; charset=utf-8` → `text/html`."""
    return content_type.partition(";")[0].strip().lower()


def content_type_fault(content_type: str) -> Fault:
    """The fault of a content type that cannot be an answer."""
    return Fault(
        "upstream_broken",
        f"the provider answered with {media_type(content_type) or 'no content type'}",
    )


def decoder_from_content_type(
    content_type: str,
    options: DecodeOptions,
    stream: Callable[[DecodeOptions], Decoder],
    body: Callable[[DecodeOptions], Decoder],
) -> Decoder:
    """The decoder by what the answer says it is.

    Some providers answer a streamed request with one body, and the other way round. Faults:
    `upstream_broken` for a content type that cannot be an answer.
    """
    kind = media_type(content_type)
    if kind == "text/event-stream":
        return stream(options)
    if kind in BODY_TYPES or kind.endswith("+json"):
        return body(options)
    raise content_type_fault(content_type)


def failure_frame(fault: Fault) -> Frame:
    """The last frame of an answer that fails."""
    return Frame((Failed(fault),))


class BaseStreamDecoder(ABC):
    """Bytes of a stream, event by event, up to the one that ends the answer.

    A dialect says what an event means (`_frames`), and what the end of the bytes (`_end_of_input`).
    It sets `_finished`, or calls `_fail` or `_cut`, once; what comes after is not read.
    """

    def __init__(self) -> None:
        self._sse = SseParser()
        self._finished = False

    def feed(self, chunk: bytes) -> list[Frame]:
        if self._finished:
            return []
        try:
            events = self._sse.feed(chunk)
        except Fault as fault:
            return self._fail(fault)
        return self._frames(events)

    def close(self) -> list[Frame]:
        if self._finished:
            return []
        try:
            frames = self._frames(self._sse.close(), last=True)
        except Fault as fault:
            return self._fail(fault)
        return frames if self._finished else frames + self._end_of_input()

    @abstractmethod
    def _frames(self, events: list[SseEvent], *, last: bool = False) -> list[Frame]:
        """The frames of these events; `last`: the bytes have ended, the last event may be half."""

    @abstractmethod
    def _end_of_input(self) -> list[Frame]:
        """What the end of the bytes means, where no event was the end."""

    def _fail(self, fault: Fault) -> list[Frame]:
        self._finished = True
        return [failure_frame(fault)]

    def _cut(self) -> list[Frame]:
        return self._fail(
            Fault("upstream_cut", "the provider's stream ended before the answer was complete")
        )


class BaseBodyDecoder(ABC):
    """One body, collected up to a limit; a dialect reads it whole (`_read_body`)."""

    def __init__(self, limit_bytes: int = MAX_BODY_BYTES) -> None:
        self._pieces: list[bytes] = []
        self._remaining_bytes = limit_bytes

    def feed(self, chunk: bytes) -> list[Frame]:
        self._remaining_bytes -= len(chunk)
        # What is above the limit is counted and not kept.
        if self._remaining_bytes >= 0:
            self._pieces.append(chunk)
        return []

    def close(self) -> list[Frame]:
        if self._remaining_bytes < 0:
            return [
                failure_frame(Fault("upstream_broken", "the provider sent a body above the limit"))
            ]
        # DeepSeek sends blank lines before the body while a call waits in its queue.
        return self._read_body(b"".join(self._pieces).removeprefix(BOM).strip())

    @abstractmethod
    def _read_body(self, body: bytes) -> list[Frame]:
        """The frames of the body."""
