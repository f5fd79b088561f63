"""Blocks that stream side by side, put one after the other for dialects that know one at a time.

Law: every block keeps its events in their order, and the first block that starts is the first that
ends. A tool call whose arguments are a whole JSON object is complete when the next block starts,
although its provider closes it later.
"""

import msgspec

from gatewayz.core.events import BlockDelta, BlockEnded, BlockStarted, Event, Kind
from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.jsontext import decode_json

MAX_WAITING_CHARACTERS = 32 * 2**20
"""Text of blocks that wait for their turn."""


class Sequencer:
    """Takes events as they come and hands them on in turn; all but the first choice is dropped."""

    def __init__(self) -> None:
        self._current: int | None = None
        self._tool: list[str] | None = None
        self._waiting: dict[int, list[Event]] = {}
        self._closed: set[int] = set()
        self._dropped: set[int] = set()
        self._late_seals: list[Event] = []
        self._waiting_characters = 0

    def feed(self, event: Event) -> list[Event]:
        """The events whose turn it is. Faults: `upstream_broken` when too much waits."""
        match event:
            case BlockStarted(choice=choice, block=block):
                if choice:
                    self._dropped.add(block)
                    return []
                return self._start_block(event)
            case BlockDelta(block=block) | BlockEnded(block=block):
                return [] if block in self._dropped else self._continue_block(event, block)
        return [*self._take_late(), event]

    def _start_block(self, event: BlockStarted) -> list[Event]:
        ready: list[Event] = []
        if self._current is not None and self._is_tool_call_complete():
            self._closed.add(self._current)
            ready.append(BlockEnded(self._current))
            self._current = None
            ready += self._release_waiting()
        if self._current is not None:
            self._waiting[event.block] = [event]
            return ready
        self._set_current(event)
        return [*ready, event]

    def _set_current(self, event: BlockStarted) -> None:
        self._current = event.block
        self._tool = [] if event.kind is Kind.TOOL else None

    def _is_tool_call_complete(self) -> bool:
        """Whether the block under way is a tool call that needs nothing more."""
        text = "".join(self._tool or ()).strip()
        try:
            return (
                text.startswith("{")
                and text.endswith("}")
                and isinstance(decode_json(text.encode()), dict)
            )
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return False

    def _continue_block(self, event: BlockDelta | BlockEnded, block: int) -> list[Event]:
        if block == self._current:
            if isinstance(event, BlockEnded):
                self._current = None
                return [event, *self._release_waiting()]
            if self._tool is not None:
                self._tool.append(event.text)
            return [event]
        if block in self._closed:
            # Nothing can follow a whole object but blanks, and a seal that comes at the end.
            self._late_seals += [event] if isinstance(event, BlockEnded) and event.sealed else []
            return []
        self._waiting[block].append(event)
        self._waiting_characters += len(event.text) if isinstance(event, BlockDelta) else 0
        if self._waiting_characters > MAX_WAITING_CHARACTERS:
            raise Fault(
                "upstream_broken",
                f"More than {MAX_WAITING_CHARACTERS} characters of parallel blocks wait.",
            )
        return []

    def _release_waiting(self) -> list[Event]:
        """The blocks that waited, up to the first that has not ended."""
        ready: list[Event] = []
        while self._waiting:
            events = self._waiting.pop(next(iter(self._waiting)))
            ready += events
            texts = [event.text for event in events if isinstance(event, BlockDelta)]
            self._waiting_characters -= sum(map(len, texts))
            if not isinstance(events[-1], BlockEnded):
                first = events[0]
                if isinstance(first, BlockStarted):
                    self._set_current(first)
                if self._tool is not None:
                    self._tool += texts
                break
        return ready

    def _take_late(self) -> list[Event]:
        late, self._late_seals = self._late_seals, []
        return late
