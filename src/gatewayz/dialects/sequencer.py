"""The sequencer: blocks that stream side by side, put one after the other, for dialects that know one at a time.

Law: every block keeps its events in their order, and the first block that starts is the first that ends. A tool call
whose arguments are a whole JSON object is complete when the next block starts, although its provider closes it later.
"""

import msgspec

from gatewayz.core.events import BlockDelta, BlockEnded, BlockStarted, Event, Kind
from gatewayz.core.faults import Fault
from gatewayz.dialects.jsontext import decoded

MAX_HELD_CHARACTERS = 32 * 2**20
"""Text of blocks that wait for their turn."""


class Sequencer:
    """Takes events as they come and hands them on in turn. Blocks of other choices than the first are left out."""

    def __init__(self) -> None:
        self._current: int | None = None
        self._tool: list[str] | None = None
        self._waiting: dict[int, list[Event]] = {}
        self._closed: set[int] = set()
        self._left_out: set[int] = set()
        self._late: list[Event] = []
        self._held = 0

    def feed(self, event: Event) -> list[Event]:
        """What may be said now. Faults: `upstream_broken` when too much waits."""
        match event:
            case BlockStarted(choice=choice, block=block):
                if choice:
                    self._left_out.add(block)
                    return []
                return self._started(event)
            case BlockDelta(block=block) | BlockEnded(block=block):
                return [] if block in self._left_out else self._more(event, block)
        return [*self._take_late(), event]

    def _started(self, event: BlockStarted) -> list[Event]:
        said: list[Event] = []
        if self._current is not None and self._complete():
            self._closed.add(self._current)
            said.append(BlockEnded(self._current))
            self._current = None
            said += self._next()
        if self._current is not None:
            self._waiting[event.block] = [event]
            return said
        self._begin(event)
        return [*said, event]

    def _begin(self, event: BlockStarted) -> None:
        self._current = event.block
        self._tool = [] if event.kind is Kind.TOOL else None

    def _complete(self) -> bool:
        """Whether the block under way is a tool call that needs nothing more."""
        text = "".join(self._tool or ()).strip()
        try:
            return (
                text.startswith("{")
                and text.endswith("}")
                and isinstance(decoded(text.encode()), dict)
            )
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return False

    def _more(self, event: BlockDelta | BlockEnded, block: int) -> list[Event]:
        if block == self._current:
            if isinstance(event, BlockEnded):
                self._current = None
                return [event, *self._next()]
            if self._tool is not None:
                self._tool.append(event.text)
            return [event]
        if block in self._closed:
            # Nothing can follow a whole object but blanks, and a seal that its provider gives at the end.
            self._late += [event] if isinstance(event, BlockEnded) and event.sealed else []
            return []
        self._waiting[block].append(event)
        self._held += len(event.text) if isinstance(event, BlockDelta) else 0
        if self._held > MAX_HELD_CHARACTERS:
            raise Fault(
                "upstream_broken",
                f"More than {MAX_HELD_CHARACTERS} characters of parallel blocks wait.",
            )
        return []

    def _next(self) -> list[Event]:
        """The blocks that waited, up to the first that has not ended."""
        said: list[Event] = []
        while self._waiting:
            events = self._waiting.pop(next(iter(self._waiting)))
            said += events
            self._held -= sum(len(event.text) for event in events if isinstance(event, BlockDelta))
            if not isinstance(events[-1], BlockEnded):
                first = events[0]
                if isinstance(first, BlockStarted):
                    self._begin(first)
                if self._tool is not None:
                    self._tool += [event.text for event in events if isinstance(event, BlockDelta)]
                break
        return said

    def _take_late(self) -> list[Event]:
        late, self._late = self._late, []
        return late
