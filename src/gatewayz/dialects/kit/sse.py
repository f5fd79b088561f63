"""Server-sent events without I/O: bytes in, events out (html.spec.whatwg.org, 9.2.6).

Law: any cut of the bytes gives the same events. Lines end in LF, CRLF or CR; comments are skipped;
an event that the end of the stream cuts off is handed on by `close`, because some providers leave
out the last blank line.
"""

from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.base import MAX_EVENT_BYTES

BOM = b"\xef\xbb\xbf"
DONE = b"[DONE]"
"""The data of the last event in OpenAI's streams, and in those that imitate them."""
DONE_EVENT = b"data: " + DONE + b"\n\n"


class SseEvent(Struct, gc=False):
    """One event; `multiline` when its data came in several lines and holds line feeds.

    Example: `SseEvent(b'{"type": "ping"}', "ping")`.
    """

    data: bytes
    event: str = ""
    multiline: bool = False


class SseParser:
    """Collects lines into events.

    `feed` and `close` raise the fault `upstream_broken` for an event above the limit.
    """

    def __init__(self, limit_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = ""
        self._at_start = True
        self._between_events = False

    def feed(self, chunk: bytes) -> list[SseEvent]:
        if (
            self._between_events
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.startswith(b"data: ")
            and self._is_one_event(chunk)
        ):
            # What nearly every provider sends nearly always: one event in one line, whole.
            return [SseEvent(chunk[6:-2])]
        if self._between_events and chunk.startswith(b"data: ") and self._is_one_crlf_event(chunk):
            return [SseEvent(chunk[6:-4])]
        events = self._parse(chunk)
        self._between_events = not (self._tail or self._data or self._event or self._at_start)
        return events

    def _is_one_event(self, chunk: bytes) -> bool:
        return chunk.endswith(b"\n\n") and b"\r" not in chunk and len(chunk) <= self._limit_bytes

    def _is_one_crlf_event(self, chunk: bytes) -> bool:
        """The same with the line ends that Google sends."""
        end = len(chunk) - 4
        ends = (
            chunk.endswith(b"\r\n\r\n")
            and chunk.find(b"\r") == end
            and chunk.find(b"\n") == end + 1
        )
        return ends and len(chunk) <= self._limit_bytes

    def _parse(self, chunk: bytes) -> list[SseEvent]:
        if b"\n" not in chunk and b"\r" not in chunk and not self._has_pending_cr():
            self._append_tail(chunk)
            return []
        if self._tail:
            chunk = b"".join(self._tail) + chunk
        rest = b""
        if b"\r" in chunk:
            if chunk.endswith(b"\r"):
                # The line feed that belongs to this carriage return may come with the next chunk.
                chunk, rest = chunk[:-1], b"\r"
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        last = lines.pop() + rest
        self._tail, self._tail_bytes = [], 0
        self._append_tail(last)
        return self._events_from_lines(lines)

    def close(self) -> list[SseEvent]:
        """What the end of the stream leaves: the unfinished line, and the event that it ends."""
        line = b"".join(self._tail).removesuffix(b"\r")
        self._tail, self._tail_bytes = [], 0
        return self._events_from_lines([line, b""])

    def _has_pending_cr(self) -> bool:
        return bool(self._tail) and self._tail[-1].endswith(b"\r")

    def _append_tail(self, piece: bytes) -> None:
        if piece:
            self._tail.append(piece)
            self._tail_bytes += len(piece)
            self._check_limit(self._tail_bytes)

    def _check_limit(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            message = f"the provider sent an event above {self._limit_bytes} bytes"
            raise Fault("upstream_broken", message)

    def _events_from_lines(self, lines: list[bytes]) -> list[SseEvent]:
        events: list[SseEvent] = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(self._finish_event())
                self._event = ""
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(value)
                self._data_bytes += len(value)
                self._check_limit(self._data_bytes)
            else:
                self._parse_field(line)
        return events

    def _parse_field(self, line: bytes) -> None:
        if self._at_start and line.startswith(BOM):
            self._at_start = False
            self._events_from_lines([line[len(BOM) :]])
        elif line.startswith(b"event:"):
            self._event = line[6:].strip().decode(errors="replace")
        elif line == b"data":
            self._data.append(b"")

    def _finish_event(self) -> SseEvent:
        data = self._data
        if len(data) == 1:
            event = SseEvent(data[0], self._event)
        else:
            event = SseEvent(b"\n".join(data), self._event, multiline=True)
        self._data, self._data_bytes = [], 0
        self._at_start = False
        return event


def encode_sse(data: bytes, event: str = "") -> bytes:
    """One event on the wire; `data` must hold no line break."""
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + data + b"\n\n"
