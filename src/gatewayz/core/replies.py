"""Replies: a stream, folded. Law: `fold(unfold(reply)) == reply`."""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from gatewayz.core.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Failed,
    Finished,
    Kind,
    Started,
    Stop,
    UsageReported,
)
from gatewayz.core.usage import Usage


class Block(Struct, frozen=True):
    """A finished block."""

    kind: Kind
    text: str
    id: str = ""
    name: str = ""
    sealed: str = ""
    extra: dict[str, Any] | None = None


class Choice(Struct, frozen=True):
    """One of the alternative answers. `raw` is the provider's own word for why it stopped."""

    blocks: tuple[Block, ...]
    stop: Stop
    raw: str = ""
    extra: dict[str, Any] | None = None


class Reply(Struct, frozen=True, kw_only=True):
    """A whole answer; `usage` is `None` when the provider told nothing, `cost` in nano-dollars when it has no price."""

    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None = None
    cost_usd: str = ""
    cost: int | None = None
    extra: dict[str, Any] = {}


class _Open(Struct):
    start: BlockStarted
    pieces: list[str]
    extra: dict[str, Any] | None = None
    sealed: str = ""


class Folder:
    """Collects events; `reply` is what they add up to so far. A `Failed` event raises its fault."""

    def __init__(self) -> None:
        self._head = Started()
        self._blocks: dict[int, _Open] = {}
        self._stops: dict[int, ChoiceEnded] = {}
        self._usage = UsageReported(Usage())
        self._told = False

    def add(self, event: Event) -> None:
        match event:
            case BlockDelta(block=block, text=text, extra=extra):
                held = self._blocks[block]
                held.pieces.append(text)
                if extra:
                    held.extra = merged(held.extra or {}, extra)
            case Started():
                self._head = event
            case BlockStarted(block=block):
                self._blocks[block] = _Open(event, [])
            case BlockEnded(block=block, sealed=sealed):
                self._blocks[block].sealed = sealed
            case ChoiceEnded(choice=choice):
                self._stops[choice] = event
            case UsageReported():
                self._usage, self._told = event, True
            case Failed(fault=fault):
                raise fault
            case Finished():
                pass

    def reply(self) -> Reply:
        numbers = sorted(
            {*self._stops, *(held.start.choice for held in self._blocks.values())}
        ) or [0]
        return Reply(
            id=self._head.id,
            model=self._head.model,
            choices=tuple(self._choice(number) for number in numbers),
            usage=self._usage.usage if self._told else None,
            cost_usd=self._usage.cost_usd,
            cost=self._usage.cost,
            extra=self._head.extra,
        )

    def _choice(self, number: int) -> Choice:
        end = self._stops.get(number, ChoiceEnded(number, Stop.END))
        blocks = tuple(
            _finished(held) for held in self._blocks.values() if held.start.choice == number
        )
        return Choice(blocks, end.stop, end.raw, end.extra)


def fold(events: Iterable[Event]) -> Reply:
    """A whole stream as one reply; raises the fault of a stream that failed."""
    folder = Folder()
    for event in events:
        folder.add(event)
    return folder.reply()


def unfold(reply: Reply) -> Iterator[Event]:
    """A reply spelled as a stream: this is how a JSON body joins the one path."""
    yield Started(reply.id, reply.model, reply.extra)
    number = 0
    for index, choice in enumerate(reply.choices):
        for block in choice.blocks:
            yield BlockStarted(number, block.kind, block.id, block.name, index)
            if block.text or block.extra:
                yield BlockDelta(number, block.text, block.extra)
            yield BlockEnded(number, block.sealed)
            number += 1
        yield ChoiceEnded(index, choice.stop, choice.raw, choice.extra)
    if reply.usage is not None:
        yield UsageReported(reply.usage, reply.cost_usd, reply.cost)
    yield Finished()


CONCATENATED = frozenset({"data", "transcript", "text", "signature", "summary"})
"""Text fields of `extra` that stream in pieces; of the others the last one holds."""


def merged(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """Two pieces of `extra` as one: objects merge, lists append, streamed texts join, otherwise the later one holds."""
    result = dict(left)
    for key, value in right.items():
        have = result.get(key)
        if isinstance(have, dict) and isinstance(value, dict):
            result[key] = merged(have, value)
        elif _appends(key, have, value):
            result[key] = have + value
        else:
            result[key] = value
    return result


def _appends(key: str, have: Any, value: Any) -> bool:
    if isinstance(have, list):
        return isinstance(value, list)
    return key in CONCATENATED and isinstance(have, str) and isinstance(value, str)


def _finished(held: _Open) -> Block:
    start = held.start
    return Block(start.kind, "".join(held.pieces), start.id, start.name, held.sealed, held.extra)
