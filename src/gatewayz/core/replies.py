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
    """A finished block. Example: `Block(Kind.TEXT, "Hello there")`"""

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
    """A whole answer.

    `usage` is `None` where the provider reported none; `cost` is in nano-dollars, `None` for no
    price.

    Example: `Reply(id="x", model="gpt-4o", choices=(Choice((Block(Kind.TEXT, "Hi"),), Stop.END,
    "stop"),))`
    """

    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None = None
    cost_usd: str = ""
    cost: int | None = None
    extra: dict[str, Any] = {}


class _OpenBlock(Struct):
    start: BlockStarted
    pieces: list[str]
    extra: dict[str, Any] | None = None
    sealed: str = ""


class ReplyBuilder:
    """Collects events; `reply` is what they add up to so far. A `Failed` event raises its fault."""

    def __init__(self) -> None:
        self._head = Started()
        self._blocks: dict[int, _OpenBlock] = {}
        self._stops: dict[int, ChoiceEnded] = {}
        self._usage = UsageReported(Usage())
        self._has_usage = False

    def add(self, event: Event) -> None:
        match event:
            case BlockDelta(block=block, text=text, extra=extra):
                open_block = self._blocks[block]
                open_block.pieces.append(text)
                if extra:
                    open_block.extra = merge_extra(open_block.extra or {}, extra)
            case Started():
                self._head = event
            case BlockStarted(block=block):
                self._blocks[block] = _OpenBlock(event, [])
            case BlockEnded(block=block, sealed=sealed):
                self._blocks[block].sealed = sealed
            case ChoiceEnded(choice=choice):
                self._stops[choice] = event
            case UsageReported():
                self._usage, self._has_usage = event, True
            case Failed(fault=fault):
                raise fault
            case Finished():
                pass

    def reply(self) -> Reply:
        numbers = {*self._stops, *(block.start.choice for block in self._blocks.values())}
        return Reply(
            id=self._head.id,
            model=self._head.model,
            choices=tuple(self._choice(number) for number in sorted(numbers) or [0]),
            usage=self._usage.usage if self._has_usage else None,
            cost_usd=self._usage.cost_usd,
            cost=self._usage.cost,
            extra=self._head.extra,
        )

    def _choice(self, number: int) -> Choice:
        end = self._stops.get(number, ChoiceEnded(number, Stop.END))
        blocks = tuple(
            _build_block(block) for block in self._blocks.values() if block.start.choice == number
        )
        return Choice(blocks, end.stop, end.raw, end.extra)


def fold(events: Iterable[Event]) -> Reply:
    """A whole stream as one reply; raises the fault of a stream that failed."""
    builder = ReplyBuilder()
    for event in events:
        builder.add(event)
    return builder.reply()


def unfold(reply: Reply) -> Iterator[Event]:
    """A reply as a stream: this is how a JSON body joins the one path."""
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


def merge_extra(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """Two pieces of `extra` as one: objects merge, lists append, streamed texts join, otherwise the
    later one holds.
    """
    result = dict(left)
    for key, value in right.items():
        before = result.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            result[key] = merge_extra(before, value)
        elif _is_appended(key, before, value):
            result[key] = before + value
        else:
            result[key] = value
    return result


def _is_appended(key: str, before: Any, value: Any) -> bool:
    if isinstance(before, list):
        return isinstance(value, list)
    return key in CONCATENATED and isinstance(before, str) and isinstance(value, str)


def _build_block(block: _OpenBlock) -> Block:
    start, text = block.start, "".join(block.pieces)
    return Block(start.kind, text, start.id, start.name, block.sealed, block.extra)
