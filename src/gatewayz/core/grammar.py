"""The grammar of a stream, as a table: what may follow what.

new → Started → (blocks, usage, ended choices)* → Finished or Failed. A block is used between its
start and its end, belongs to a choice that has not ended, and never opens twice. Every block is
closed before the stream finishes.
"""

from collections.abc import Iterable

from gatewayz.core.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Failed,
    Finished,
    Started,
    UsageReported,
)


class Grammar:
    """Follows a stream; `step` says what is wrong with the next event, or nothing."""

    def __init__(self) -> None:
        self.state = "new"
        self._open: dict[int, int] = {}
        self._seen: set[int] = set()
        self._ended: set[int] = set()

    def step(self, event: Event) -> str:
        """Why `event` may not come now; empty when it may."""
        if self.state == "done":
            return "an event after the end"
        if self.state == "new" and not isinstance(event, Started | Failed):
            return "an event before the start"
        return self._advance(event)

    def _advance(self, event: Event) -> str:
        match event:
            case Started():
                wrong = "a second start" if self.state == "running" else ""
                self.state = "running"
                return wrong
            case BlockStarted(block=block, choice=choice):
                return self._open_block(block, choice)
            case BlockDelta(block=block):
                return "" if block in self._open else "a delta of a block that is not open"
            case BlockEnded(block=block):
                return (
                    ""
                    if self._open.pop(block, None) is not None
                    else "an end of a block that is not open"
                )
            case ChoiceEnded(choice=choice):
                return self._end_choice(choice)
            case UsageReported():
                return ""
            case Finished():
                self.state = "done"
                return "a finish with open blocks" if self._open else ""
            case Failed():
                self.state = "done"
                return ""

    def _open_block(self, block: int, choice: int) -> str:
        if block in self._seen:
            return "a block opened twice"
        if choice in self._ended:
            return "a block of an ended choice"
        self._seen.add(block)
        self._open[block] = choice
        return ""

    def _end_choice(self, choice: int) -> str:
        if choice in self._ended:
            return "a choice ended twice"
        self._ended.add(choice)
        return "a choice ended with open blocks" if choice in self._open.values() else ""


def violation(events: Iterable[Event]) -> str:
    """The first thing wrong with a whole stream; empty when it is well formed and ends."""
    grammar = Grammar()
    for event in events:
        wrong = grammar.step(event)
        if wrong:
            return f"{wrong}: {event!r}"
    return "" if grammar.state == "done" else "no end"
