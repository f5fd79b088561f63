"""The events of a stream and the whole message as typed values, and the words of this wire.

The types are generous, because imitators are not exact.
"""

from typing import Any

import msgspec
from msgspec import Struct

from gatewayz.core.events import Kind, Stop
from gatewayz.dialects.kit.jsontext import decode_or_salvage

NAME = "anthropic_messages"

WireBlock = dict[str, Any]
"""A content block as JSON; example: `{"type": "text", "text": "Hello"}`."""

KINDS = {
    "text": Kind.TEXT,
    "thinking": Kind.REASONING,
    "redacted_thinking": Kind.REASONING,
    "tool_use": Kind.TOOL,
}
"""Type of a content block → kind; every other type is opaque."""

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
"""`stop_reason` → why the model stopped."""

STOP_REASONS = {
    Stop.END: "end_turn",
    Stop.LENGTH: "max_tokens",
    Stop.TOOL: "tool_use",
    Stop.FILTER: "refusal",
    Stop.SEQUENCE: "stop_sequence",
}
"""Why the model stopped → `stop_reason`."""

CALL_EXTRAS = frozenset({"caller", "toolset_name"})
"""Fields of a `tool_use` block that only clients of this dialect are given."""


class MessagesWireDelta(Struct, gc=False):
    """A `delta`: of a block, or of the message."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    citation: Any = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None
    container: Any = None


class WireMessage(Struct, gc=False):
    """A message, whole or as it begins."""

    type: str = ""
    id: str | int | None = None
    model: str | None = None
    content: list[WireBlock] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None
    container: Any = None
    context_management: Any = None
    usage: Any = None
    error: Any = None


class WireEvent(Struct, gc=False):
    """One event of a stream, whatever its type."""

    type: str = ""
    index: int | None = None
    message: WireMessage | None = None
    content_block: WireBlock | None = None
    delta: MessagesWireDelta | None = None
    usage: Any = None
    context_management: Any = None
    error: Any = None


_decode_event = msgspec.json.Decoder(WireEvent).decode
_decode_message = msgspec.json.Decoder(WireMessage).decode


def event_from_bytes(source: bytes) -> tuple[WireEvent, bytes]:
    """The event, and the text that it was read from: another one where broken UTF-8 was replaced.

    Raises `ValueError` for what is no event.
    """
    return decode_or_salvage(source, _decode_event)


def message_from_bytes(source: bytes) -> tuple[WireMessage, bytes]:
    """The same for a whole body."""
    return decode_or_salvage(source, _decode_message)
