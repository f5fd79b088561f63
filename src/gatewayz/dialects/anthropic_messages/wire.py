"""The events of a stream and the whole message as typed values: generous, because imitators are not exact."""

from typing import Any

import msgspec
from msgspec import Struct

from gatewayz.dialects.jsontext import read_or_salvaged


class WireDelta(Struct, gc=False):
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
    """A message, whole or as it begins. `input_tokens` is the answer of counting, which has nothing else."""

    type: str = ""
    id: str | int | None = None
    model: str | None = None
    content: list[dict[str, Any]] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None
    container: Any = None
    context_management: Any = None
    usage: dict[str, Any] | None = None
    error: Any = None
    input_tokens: int | None = None


class WireEvent(Struct, gc=False):
    """One event of a stream, whatever its type."""

    type: str = ""
    index: int | None = None
    message: WireMessage | None = None
    content_block: dict[str, Any] | None = None
    delta: WireDelta | None = None
    usage: dict[str, Any] | None = None
    context_management: Any = None
    error: Any = None


_event = msgspec.json.Decoder(WireEvent).decode
_message = msgspec.json.Decoder(WireMessage).decode


def event_from(source: bytes) -> tuple[WireEvent, bytes]:
    """The typed event, and the text that it was read from, which differs when broken UTF-8 had to be replaced.

    Raises `ValueError` for what is no event.
    """
    return read_or_salvaged(source, _event)


def message_from(source: bytes) -> tuple[WireMessage, bytes]:
    """The same for a whole body."""
    return read_or_salvaged(source, _message)
