"""Server-sent events without I/O: bytes in, events out (html.spec.whatwg.org, 9.2.6).

Law: any cut of the bytes gives the same events. Lines end in LF, CRLF or CR; comments are skipped; an event that the
end of the stream cuts off is handed on by `close`, because some providers leave out the last blank line.
"""

from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.dialects.base import MAX_EVENT_BYTES

BOM = b"\xef\xbb\xbf"


class Sse(Struct, gc=False):
    """One event; `joined` when its data came in several lines and holds line feeds."""

    data: bytes
    event: str = ""
    joined: bool = False


class SseParser:
    """Collects lines into events. `feed` and `close` raise `upstream_broken` for an event above the limit."""

    def __init__(self, limit_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = ""
        self._fresh = True
        self._clean = False

    def feed(self, chunk: bytes) -> list[Sse]:
        if (
            self._clean
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.startswith(b"data: ")
            and self._whole(chunk)
        ):
            # What nearly every provider sends nearly always: one event in one line, whole.
            return [Sse(chunk[6:-2])]
        if self._clean and chunk.startswith(b"data: ") and self._whole_with_returns(chunk):
            return [Sse(chunk[6:-4])]
        events = self._parsed(chunk)
        self._clean = not (self._tail or self._data or self._event or self._fresh)
        return events

    def _whole(self, chunk: bytes) -> bool:
        return chunk.endswith(b"\n\n") and b"\r" not in chunk and len(chunk) <= self._limit_bytes

    def _whole_with_returns(self, chunk: bytes) -> bool:
        """The same with the line ends that Google sends."""
        end = len(chunk) - 4
        ends = (
            chunk.endswith(b"\r\n\r\n")
            and chunk.find(b"\r") == end
            and chunk.find(b"\n") == end + 1
        )
        return ends and len(chunk) <= self._limit_bytes

    def _parsed(self, chunk: bytes) -> list[Sse]:
        if b"\n" not in chunk and b"\r" not in chunk and not self._held_return():
            self._keep(chunk)
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
        self._keep(last)
        return self._events(lines)

    def close(self) -> list[Sse]:
        """What the end of the stream leaves: the unfinished line, and the event that it ends."""
        line = b"".join(self._tail).removesuffix(b"\r")
        self._tail, self._tail_bytes = [], 0
        return self._events([line, b""])

    def _held_return(self) -> bool:
        return bool(self._tail) and self._tail[-1].endswith(b"\r")

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._tail.append(piece)
            self._tail_bytes += len(piece)
            self._bounded(self._tail_bytes)

    def _bounded(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            message = f"the provider sent an event above {self._limit_bytes} bytes"
            raise Fault("upstream_broken", message)

    def _events(self, lines: list[bytes]) -> list[Sse]:
        found: list[Sse] = []
        for line in lines:
            if not line:
                if self._data:
                    found.append(self._event_done())
                self._event = ""
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(value)
                self._data_bytes += len(value)
                self._bounded(self._data_bytes)
            else:
                self._other(line)
        return found

    def _other(self, line: bytes) -> None:
        if self._fresh and line.startswith(BOM):
            self._fresh = False
            self._events([line[len(BOM) :]])
        elif line.startswith(b"event:"):
            self._event = line[6:].strip().decode(errors="replace")
        elif line == b"data":
            self._data.append(b"")

    def _event_done(self) -> Sse:
        data = self._data
        done = (
            Sse(data[0], self._event)
            if len(data) == 1
            else Sse(b"\n".join(data), self._event, joined=True)
        )
        self._data, self._data_bytes = [], 0
        self._fresh = False
        return done


def spelled(data: bytes, event: str = "") -> bytes:
    """One event on the wire; `data` must hold no line break."""
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + data + b"\n\n"
