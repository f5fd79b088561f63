"""Tool calls of one choice: which call a piece belongs to, and what is repaired in it.

Providers leave out indexes and ids, number every parallel call 0, and send arguments as objects.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from gatewayz.core.calls import CROCKFORD
from gatewayz.core.events import BlockDelta, BlockEnded, BlockStarted, Event, Kind
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.dialects.openai.chat.repairs import REMOVE
from gatewayz.dialects.openai.chat.seals import tag_seals
from gatewayz.dialects.openai.chat.wire import ChatWireCall

Fields = dict[str, Any]
CloseProse = Callable[[list[Event]], None]


class _ToolCall(Struct):
    index: int
    block: int
    id: str
    has_name: bool


class ToolCallReader:
    """The tool calls of one choice so far.

    `numbers` gives the blocks of the answer their numbers; `provider` tags seals.
    """

    def __init__(self, choice: int, numbers: Iterator[int], provider: str) -> None:
        self._choice = choice
        self._numbers = numbers
        self._provider = provider
        self._calls: list[_ToolCall] = []

    def has_calls(self) -> bool:
        return bool(self._calls)

    def read(
        self, pieces: Sequence[ChatWireCall], events: list[Event], close_prose: CloseProse
    ) -> dict[int, Fields]:
        """Adds the events of these pieces; returns what to repair in them, by position.

        `close_prose` ends the text under way: a new call's block comes after it.
        """
        repairs: dict[int, Fields] = {}
        for position, piece in enumerate(pieces):
            fields = self._read_piece(piece, events, close_prose)
            if fields:
                repairs[position] = fields
        return repairs

    def close(self, events: list[Event]) -> None:
        events.extend(BlockEnded(call.block) for call in self._calls)

    def _read_piece(
        self, piece: ChatWireCall, events: list[Event], close_prose: CloseProse
    ) -> Fields:
        name, arguments, repair = _name_and_arguments(piece)
        call = self._find(piece, name)
        extra = self._tag_extra_content(piece, repair)
        if call is None:
            close_prose(events)
            call = self._open(piece, name, extra, events)
            if not piece.id:
                repair["id"] = call.id
            if piece.type is None:
                repair["type"] = "function"
        else:
            # An id is said once: clients join the texts of repeated fields.
            if piece.id is not None:
                repair["id"] = REMOVE
            if extra:
                events.append(BlockDelta(call.block, "", extra))

        if piece.index != call.index:
            repair["index"] = call.index
        if arguments:
            events.append(BlockDelta(call.block, arguments))
        return repair

    def _find(self, piece: ChatWireCall, name: str) -> _ToolCall | None:
        """The call that this piece continues; nothing when it begins one."""
        same = [call for call in self._calls if piece.id and call.id == piece.id]
        if same:
            return same[0]
        begins = bool(piece.id) or (bool(name) and piece.index is None)
        if piece.index is None:
            return None if begins or not self._calls else self._calls[-1]
        at_index = [call for call in self._calls if call.index == piece.index]
        # Some surfaces number every parallel call 0: another id with a name is another call.
        if not at_index or (piece.id and name and at_index[0].has_name):
            return None
        return at_index[0]

    def _open(
        self, piece: ChatWireCall, name: str, extra: Fields | None, events: list[Event]
    ) -> _ToolCall:
        taken = {call.index for call in self._calls}
        index = len(self._calls)
        if piece.index is not None and piece.index not in taken:
            index = piece.index
        call_id = piece.id or new_call_id()
        call = _ToolCall(index, next(self._numbers), call_id, has_name=bool(name))
        self._calls.append(call)

        events.append(BlockStarted(call.block, Kind.TOOL, call.id, name, self._choice))
        custom = {"type": "custom"} if piece.custom is not None else {}
        if extra or custom:
            events.append(BlockDelta(call.block, "", (extra or {}) | custom))
        return call

    def _tag_extra_content(self, piece: ChatWireCall, repair: Fields) -> Fields | None:
        if not isinstance(piece.extra_content, dict) or not piece.extra_content:
            return None
        content = tag_seals(piece.extra_content, self._provider)
        repair["extra_content"] = content
        return {"extra_content": content}


def new_call_id() -> str:
    """An id for a tool call that came without one."""
    return "call_" + "".join(CROCKFORD[byte & 31] for byte in os.urandom(20))


def _name_and_arguments(piece: ChatWireCall) -> tuple[str, str, Fields]:
    """Name, arguments as text, and the repair of arguments that came as an object or null."""
    if piece.custom is not None:
        return piece.custom.name or "", piece.custom.input or "", {}
    if piece.function is None:
        return "", "", {}
    name, arguments = piece.function.name or "", piece.function.arguments
    if isinstance(arguments, str):
        return name, arguments, {}
    text = "" if arguments is None else encode_json(arguments).decode()
    return name, text, {"arguments": text}
