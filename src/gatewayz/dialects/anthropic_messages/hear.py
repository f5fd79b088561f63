"""Hearing a message: what its blocks say, as events. A stream says them in pieces, a body whole.

Thinking is closed with its signature as a seal, redacted thinking with its data. A block that only this dialect knows
(server tools and their results) stands whole in an event's `extra` once it is complete.
"""

from typing import Any

from msgspec import Struct

from gatewayz.core.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Kind,
    Stop,
)
from gatewayz.core.seal import sealed
from gatewayz.dialects.anthropic_messages.blocks import Block
from gatewayz.dialects.anthropic_messages.seals import REDACTED, tagged
from gatewayz.dialects.anthropic_messages.wire import WireDelta, WireMessage
from gatewayz.dialects.base import Reading
from gatewayz.dialects.jsontext import decoded, encoded

KINDS = {
    "text": Kind.TEXT,
    "thinking": Kind.REASONING,
    "redacted_thinking": Kind.REASONING,
    "tool_use": Kind.TOOL,
}
STOPS = {
    "end_turn": Stop.END,
    "pause_turn": Stop.END,
    "compaction": Stop.END,
    "max_tokens": Stop.LENGTH,
    "model_context_window_exceeded": Stop.LENGTH,
    "tool_use": Stop.TOOL,
    "stop_sequence": Stop.SEQUENCE,
    "refusal": Stop.FILTER,
}
CALL_EXTRAS = frozenset({"caller", "toolset_name"})


class OpenBlock(Struct):
    """A block under way. `spoken`: something of it was said; `opaque` collects one that only this dialect knows."""

    number: int
    kind: Kind
    seal: str = ""
    given: Any = None
    spoken: bool = False
    opaque: Block | None = None
    pieces: list[str] = []


class Ear:
    """Turns blocks into events, with numbers of our own."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._number = -1

    def begin(self, block: Block, events: list[Event]) -> OpenBlock:
        """A block as it starts; imitators put into the start what belongs into deltas."""
        self._number += 1
        kind = KINDS.get(str(block.get("type")), Kind.OPAQUE)
        opened = OpenBlock(self._number, kind)
        name, call_id = (
            (_word(block, "name"), _word(block, "id")) if kind is Kind.TOOL else ("", "")
        )
        events.append(BlockStarted(opened.number, kind, call_id, name))
        match kind:
            case Kind.TEXT:
                self._say(opened, _word(block, "text"), events)
                self._own(opened, {"citations": block.get("citations")}, events)
            case Kind.REASONING:
                self._say(opened, _word(block, "thinking"), events)
                data = _word(block, "data")
                opened.seal = REDACTED + data if data else _word(block, "signature")
            case Kind.TOOL:
                opened.given = block.get("input")
                self._own(opened, {name: block.get(name) for name in CALL_EXTRAS}, events)
            case _:
                opened.opaque = dict(block)
        return opened

    def more(self, opened: OpenBlock, delta: WireDelta, source: bytes, events: list[Event]) -> None:
        """A delta of a block."""
        if opened.opaque is not None:
            _grow(opened, decoded(source).get("delta") or {})
            # Nothing of it can be told yet, but the provider is at work.
            events.append(BlockDelta(opened.number, ""))
            return
        self._say(opened, delta.text or delta.thinking or delta.partial_json or "", events)
        if delta.signature:
            opened.seal = delta.signature
        if delta.citation is not None:
            self._own(
                opened, {"citations": [tagged(delta.citation, self._reading.provider)]}, events
            )

    def end(self, opened: OpenBlock, events: list[Event]) -> None:
        """The end of a block, with everything that had to wait for it."""
        provider = self._reading.provider
        if opened.kind is Kind.TOOL and not opened.spoken:
            self._say(opened, encoded(opened.given or {}).decode(), events)
        if opened.opaque is not None:
            block = _completed(opened)
            events.append(BlockDelta(opened.number, "", {"block": tagged(block, provider)}))
        events.append(
            BlockEnded(opened.number, sealed(provider, opened.seal) if opened.seal else "")
        )

    def _say(self, opened: OpenBlock, text: str, events: list[Event]) -> None:
        if text:
            opened.spoken = True
            events.append(BlockDelta(opened.number, text))

    def _own(self, opened: OpenBlock, extra: dict[str, Any], events: list[Event]) -> None:
        """What only a client of this dialect is told."""
        kept = {name: value for name, value in extra.items() if value}
        if kept and self._reading.echo:
            events.append(BlockDelta(opened.number, "", tagged(kept, self._reading.provider)))


def choice_ended(
    message: WireMessage | WireDelta, context_management: Any, reading: Reading
) -> ChoiceEnded:
    """Why the model stopped."""
    raw = message.stop_reason or ""
    word = reading.stops.get(raw, raw)
    told = {
        "stop_sequence": message.stop_sequence,
        "stop_details": message.stop_details,
        "container": message.container,
        "context_management": context_management,
    }
    extra = {name: value for name, value in told.items() if value is not None}
    return ChoiceEnded(0, STOPS.get(word, Stop.END), raw, extra or None)


def _grow(opened: OpenBlock, delta: dict[str, Any]) -> None:
    block = opened.opaque
    for name, value in delta.items() if block is not None else ():
        if name == "partial_json" and isinstance(value, str):
            opened.pieces.append(value)
        elif name != "type" and block is not None:
            have = block.get(name)
            block[name] = (
                have + value if isinstance(have, str) and isinstance(value, str) else value
            )


def _completed(opened: OpenBlock) -> Block:
    block = opened.opaque or {}
    text = "".join(opened.pieces)
    if not text:
        return block
    try:
        return {**block, "input": decoded(text.encode())}
    except ValueError:
        return block


def _word(block: Block, name: str) -> str:
    value = block.get(name)
    return value if isinstance(value, str) else ""
