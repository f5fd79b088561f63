"""Reading a message: its blocks as events. A stream brings them in pieces, a body whole.

Thinking is closed with its signature as a seal, redacted thinking with its data. A block that only
this dialect knows (server tools and their results) stands whole in an event's `extra` once it is
complete.
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
from gatewayz.core.seal import seal
from gatewayz.dialects.anthropic.seals import REDACTED_PREFIX, tag_seals
from gatewayz.dialects.anthropic.wire import (
    CALL_EXTRAS,
    KINDS,
    STOPS,
    MessagesWireDelta,
    WireBlock,
    WireMessage,
)
from gatewayz.dialects.kit.base import DecodeOptions
from gatewayz.dialects.kit.jsontext import decode_json, encode_json


class OpenBlock(Struct):
    """A block under way.

    `opaque` collects one that only this dialect knows, without its JSON pieces.
    """

    number: int
    kind: Kind
    seal: str = ""
    input: Any = None
    has_text: bool = False
    opaque: WireBlock | None = None
    json_pieces: list[str] = []


class MessagesBlockReader:
    """Turns blocks into events, with numbers of our own."""

    def __init__(self, options: DecodeOptions) -> None:
        self._options = options
        self._number = -1

    def start_block(self, block: WireBlock, events: list[Event]) -> OpenBlock:
        """A block as it starts; imitators put into the start what belongs into deltas."""
        self._number += 1
        kind = KINDS.get(str(block.get("type")), Kind.OPAQUE)
        opened = OpenBlock(self._number, kind)
        if kind is Kind.TOOL:
            call_id, name = _string_field(block, "id"), _string_field(block, "name")
            name = self._options.tool_names.get(name, name)
            events.append(BlockStarted(opened.number, kind, call_id, name))
        else:
            events.append(BlockStarted(opened.number, kind))

        match kind:
            case Kind.TEXT:
                self._add_text(opened, _string_field(block, "text"), events)
                self._add_extra(opened, {"citations": block.get("citations")}, events)
            case Kind.REASONING:
                self._add_text(opened, _string_field(block, "thinking"), events)
                data = _string_field(block, "data")
                opened.seal = REDACTED_PREFIX + data if data else _string_field(block, "signature")
            case Kind.TOOL:
                opened.input = block.get("input")
                self._add_extra(opened, {name: block.get(name) for name in CALL_EXTRAS}, events)
            case _:
                opened.opaque = dict(block)
        return opened

    def add_delta(
        self, opened: OpenBlock, delta: MessagesWireDelta, source: bytes, events: list[Event]
    ) -> None:
        """A delta of a block."""
        if opened.opaque is not None:
            delta_fields = decode_json(source).get("delta") or {}
            _merge_delta(opened.opaque, opened.json_pieces, delta_fields)
            # Nothing of it can be told yet; an empty delta shows that the provider is at work.
            events.append(BlockDelta(opened.number, ""))
            return

        self._add_text(opened, delta.text or delta.thinking or delta.partial_json or "", events)
        if delta.signature:
            opened.seal = delta.signature
        if delta.citation is not None:
            self._add_extra(
                opened, {"citations": [tag_seals(delta.citation, self._options.provider)]}, events
            )

    def end_block(self, opened: OpenBlock, events: list[Event]) -> None:
        """The end of a block, with everything that had to wait for it."""
        provider = self._options.provider
        if opened.kind is Kind.TOOL and not opened.has_text:
            self._add_text(opened, encode_json(opened.input or {}).decode(), events)
        if opened.opaque is not None:
            block = _complete_block(opened.opaque, opened.json_pieces)
            events.append(BlockDelta(opened.number, "", {"block": tag_seals(block, provider)}))
        events.append(BlockEnded(opened.number, seal(provider, opened.seal) if opened.seal else ""))

    def add_refusal(self, message: WireMessage | MessagesWireDelta, events: list[Event]) -> None:
        """Why the model refused, as a block of its own for clients of dialects that have one."""
        details = message.stop_details
        why = details.get("explanation") if isinstance(details, dict) else None
        if self._options.echo or not isinstance(why, str) or not why:
            return
        self._number += 1
        events.append(BlockStarted(self._number, Kind.REFUSAL))
        events += [BlockDelta(self._number, why), BlockEnded(self._number)]

    def _add_text(self, opened: OpenBlock, text: str, events: list[Event]) -> None:
        if text:
            opened.has_text = True
            events.append(BlockDelta(opened.number, text))

    def _add_extra(self, opened: OpenBlock, extra: dict[str, Any], events: list[Event]) -> None:
        """Adds what only a client of this dialect is told."""
        present = {name: value for name, value in extra.items() if value}
        if present and self._options.echo:
            sealed = tag_seals(present, self._options.provider)
            events.append(BlockDelta(opened.number, "", sealed))


def choice_ended(
    message: WireMessage | MessagesWireDelta, context_management: Any, options: DecodeOptions
) -> ChoiceEnded:
    """Why the model stopped, and what else the end of the message says."""
    raw = message.stop_reason or ""
    stop = STOPS.get(options.stops.get(raw, raw), Stop.END)
    fields = {
        "stop_sequence": message.stop_sequence,
        "stop_details": message.stop_details,
        "container": message.container,
        "context_management": context_management,
    }
    extra = {name: value for name, value in fields.items() if value is not None}
    return ChoiceEnded(0, stop, raw, extra or None)


def _merge_delta(block: WireBlock, json_pieces: list[str], delta: dict[str, Any]) -> None:
    """Adds to an opaque block what a delta brings: texts grow, anything else is replaced."""
    for name, value in delta.items():
        if name == "partial_json" and isinstance(value, str):
            json_pieces.append(value)
        elif name != "type":
            before = block.get(name)
            if isinstance(before, str) and isinstance(value, str):
                block[name] = before + value
            else:
                block[name] = value


def _complete_block(block: WireBlock, json_pieces: list[str]) -> WireBlock:
    """The block with the input that came in pieces; without it where they are no JSON."""
    text = "".join(json_pieces)
    if not text:
        return block
    try:
        return {**block, "input": decode_json(text.encode())}
    except ValueError:
        return block


def _string_field(block: WireBlock, name: str) -> str:
    value = block.get(name)
    return value if isinstance(value, str) else ""
