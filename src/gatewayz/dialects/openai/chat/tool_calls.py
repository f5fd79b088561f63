"""Tool calls of one choice: which call a piece belongs to, and what is repaired in it.

Providers leave out indexes and ids, number every parallel call 0 or from 1, give two calls one id,
and send arguments as objects. Law: clients get the indexes 0…n-1 in the order in which calls begin
("index: the index of the tool call in the array"), and no id twice, because results are matched by
it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from gatewayz.core.calls import CROCKFORD
from gatewayz.core.events import BlockDelta, BlockEnded, BlockStarted, Event, Kind
from gatewayz.dialects.kit.base import DecodeOptions
from gatewayz.dialects.kit.jsontext import decode_lenient, encode_json
from gatewayz.dialects.openai.chat.repairs import REMOVE
from gatewayz.dialects.openai.chat.seals import tag_seals
from gatewayz.dialects.openai.chat.wire import ChatWireCall

Fields = dict[str, Any]
NO_ARGUMENTS = "{}"
CloseProse = Callable[[list[Event]], None]


class _ToolCall(Struct):
    """A call under way: `index` and `id` are the client's, those `on_wire` the provider's."""

    index: int
    block: int
    id: str
    name: str
    index_on_wire: int | None
    id_on_wire: str
    pieces: list[str]
    """Its arguments so far, where only they tell whether the next piece begins another call."""
    place: int
    """Where it stands in the list that it began in."""
    is_empty: bool = True
    unnamed: list[Event] = []
    """Its events while nobody has said its name: other dialects begin a call with it."""

    def name_it(self, name: str, choice: int, events: list[Event]) -> None:
        """Begins its block, and tells what has come before its name."""
        self.name = name
        events.append(BlockStarted(self.block, Kind.TOOL, self.id, name, choice))
        events += self.unnamed
        self.unnamed = []

    def has_whole_arguments(self) -> bool:
        """Whether nothing can follow: the arguments are a whole JSON object."""
        text = "".join(self.pieces).strip()
        return text.endswith("}") and isinstance(decode_lenient(text.encode()), dict)


class ToolCallReader:
    """The tool calls of one choice so far.

    `numbers` gives the blocks of the answer their numbers.
    """

    def __init__(self, choice: int, numbers: Iterator[int], options: DecodeOptions) -> None:
        self._choice = choice
        self._numbers = numbers
        self._provider = options.provider
        self._client_names = options.tool_names
        self._calls: list[_ToolCall] = []
        self._opened_before = 0

    def has_calls(self) -> bool:
        return bool(self._calls)

    def read(
        self, pieces: Sequence[ChatWireCall], events: list[Event], close_prose: CloseProse
    ) -> dict[int, Fields]:
        """Adds the events of these pieces; returns what to repair in them, by position.

        `close_prose` ends the text under way: a new call's block comes after it.
        """
        repairs: dict[int, Fields] = {}
        opened_before = len(self._calls)
        for position, piece in enumerate(pieces):
            fields = self._read_piece(piece, events, close_prose, opened_before, position)
            if fields:
                repairs[position] = fields
        self._opened_before = opened_before
        return repairs

    def fill_empty(self, events: list[Event], repairs: dict[int, Fields] | None) -> list[Fields]:
        """Gives calls without arguments an empty object, because clients parse them.

        Of calls that began in the list that `repairs` are for, the arguments go there; the pieces
        that the others need are returned.
        """
        pieces: list[Fields] = []
        for call in self._calls:
            if not call.is_empty:
                continue
            call.is_empty = False
            self._events_of(call, events).append(BlockDelta(call.block, NO_ARGUMENTS))
            if repairs is not None and call.index >= self._opened_before:
                repairs.setdefault(call.place, {})["arguments"] = NO_ARGUMENTS
            else:
                pieces.append({"index": call.index, "function": {"arguments": NO_ARGUMENTS}})
        return pieces

    def close(self, events: list[Event]) -> None:
        for call in self._calls:
            if not call.name:
                call.name_it("", self._choice, events)
        events.extend(BlockEnded(call.block) for call in self._calls)

    def _read_piece(
        self,
        piece: ChatWireCall,
        events: list[Event],
        close_prose: CloseProse,
        opened_before: int,
        place: int,
    ) -> Fields:
        name, arguments, repair = _name_and_arguments(piece)
        if name in self._client_names:
            name = repair["name"] = self._client_names[name]
        call = self._find(piece, name, opened_before)
        extra = self._tag_extra_content(piece, repair)
        if call is None:
            close_prose(events)
            call = self._open(piece, name, extra, events, place)
            if call.id != piece.id:
                repair["id"] = call.id
            if piece.type is None:
                repair["type"] = "function"
        else:
            # An id is said once: clients join the texts of repeated fields.
            if piece.id is not None:
                repair["id"] = REMOVE
            self._continue(call, name, extra, events)

        if piece.index != call.index:
            repair["index"] = call.index
        if arguments:
            call.is_empty = False
            self._events_of(call, events).append(BlockDelta(call.block, arguments))
            if piece.index is None:
                call.pieces.append(arguments)
        return repair

    def _find(self, piece: ChatWireCall, name: str, opened_before: int) -> _ToolCall | None:
        """The call that this piece continues; nothing when it begins one.

        Its index says which; among those of one index, or without one, its id. Calls from
        `opened_before` on began in the same list, where every piece with a name is a call.
        """
        find = self._find_without_index if piece.index is None else self._find_at_index
        call = find(piece, name)
        is_next_in_list = call is not None and name and call.index >= opened_before
        return None if is_next_in_list else call

    def _find_at_index(self, piece: ChatWireCall, name: str) -> _ToolCall | None:
        at_index = [call for call in self._calls if call.index_on_wire == piece.index]
        same = [call for call in at_index if piece.id and call.id_on_wire == piece.id]
        if same:
            return same[-1]
        if not at_index:
            # Nothing begins without a name: an index that is wrong, on an id that is known.
            known = [call for call in self._calls if piece.id and call.id_on_wire == piece.id]
            return known[-1] if known and not name else None
        # Some surfaces number every parallel call 0: another id with a name is another call.
        return None if piece.id and name and at_index[-1].name else at_index[-1]

    def _find_without_index(self, piece: ChatWireCall, name: str) -> _ToolCall | None:
        if not self._calls or (name and not piece.id):
            return None
        if not piece.id:
            return self._calls[-1]
        same = [call for call in self._calls if call.id_on_wire == piece.id]
        if not same or (name and (name != same[-1].name or same[-1].has_whole_arguments())):
            return None
        return same[-1]

    def _open(
        self,
        piece: ChatWireCall,
        name: str,
        extra: Fields | None,
        events: list[Event],
        place: int,
    ) -> _ToolCall:
        index, wire_id = len(self._calls), piece.id or ""
        taken = {call.id for call in self._calls}
        call_id = wire_id or new_call_id()
        if call_id in taken:
            call_id = f"{wire_id}_{new_call_id()}"
        call = _ToolCall(index, next(self._numbers), call_id, name, piece.index, wire_id, [], place)
        # A custom tool takes a text, and an empty one is one.
        call.is_empty = piece.custom is None
        self._calls.append(call)

        if name:
            call.name_it(name, self._choice, events)
        custom = {"type": "custom"} if piece.custom is not None else {}
        if extra or custom:
            content = (extra or {}) | custom
            self._events_of(call, events).append(BlockDelta(call.block, "", content))
        return call

    def _continue(
        self, call: _ToolCall, name: str, extra: Fields | None, events: list[Event]
    ) -> None:
        if name and not call.name:
            call.name_it(name, self._choice, events)
        if extra:
            self._events_of(call, events).append(BlockDelta(call.block, "", extra))

    def _events_of(self, call: _ToolCall, events: list[Event]) -> list[Event]:
        return events if call.name else call.unnamed

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
