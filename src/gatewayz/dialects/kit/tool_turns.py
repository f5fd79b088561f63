"""Turns of tools, mended for dialects that are strict: ids that are unique, results in the order of
their calls.

Some providers begin their ids anew at every turn (Kimi: `get:0`), or give one to two calls of a
turn; some clients send results in the order in which they were done.
"""

from collections.abc import Container, Iterable, Sequence

from msgspec.structs import replace

from gatewayz.core.conversation import Message, Part, ToolCall, ToolResult
from gatewayz.core.requests import ChatRequest


def with_unique_ids(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages with each call under an id of its own, and its result under the same.

    A result belongs to the first call of its id in the turn before it that has none yet, otherwise
    to the last one of that id. The same messages where no id repeats.
    """
    ids = [part.id for message in messages for part in message.parts if isinstance(part, ToolCall)]
    if len(set(ids)) == len(ids):
        return messages
    renames = _Renames(set(ids))
    return [renames.apply(message) for message in messages]


class _Renames:
    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self._seen: set[str] = set()
        self._open: dict[str, list[str]] = {}
        self._last: dict[str, str] = {}

    def apply(self, message: Message) -> Message:
        if any(isinstance(part, ToolCall) for part in message.parts):
            # Whatever the turns before it left open is not answered any more.
            self._open = {}
        return replace(message, parts=tuple(self._part(part) for part in message.parts))

    def _part(self, part: Part) -> Part:
        match part:
            case ToolCall(id=call_id):
                return replace(part, id=self._open_call(call_id))
            case ToolResult(call_id=call_id) if call_id in self._last:
                waiting = self._open.get(call_id)
                return replace(part, call_id=waiting.pop(0) if waiting else self._last[call_id])
        return part

    def _open_call(self, call_id: str) -> str:
        own = call_id
        if call_id in self._seen:
            own = free_id(call_id, self._taken)
            self._taken.add(own)
        self._seen.add(call_id)
        self._open.setdefault(call_id, []).append(own)
        self._last[call_id] = own
        return own


def free_id(call_id: str, taken: Container[str]) -> str:
    """An id like this one that nobody has: `get_0` → `get_0_2`."""
    number = 2
    while f"{call_id}_{number}" in taken:
        number += 1
    return f"{call_id}_{number}"


class AnswerIds:
    """Ids of the calls in an answer, as a client is given them that takes each id once in a
    conversation.
    """

    def __init__(self, request: object) -> None:
        self._request = request
        self._taken: set[str] | None = None

    def unique(self, call_id: str) -> str:
        """The id, or one like it where a call before it has it; what comes without one stays so."""
        if self._taken is None:
            self._taken = _call_ids(self._request)
        own = free_id(call_id, self._taken) if call_id and call_id in self._taken else call_id
        self._taken.add(own)
        return own


def _call_ids(request: object) -> set[str]:
    if not isinstance(request, ChatRequest):
        return set()
    parts = (part for message in request.messages for part in message.parts)
    return {part.id for part in parts if isinstance(part, ToolCall)}


def with_results_in_order(messages: Iterable[Message]) -> list[Message]:
    """The messages with the results of each turn first, in the order of its calls."""
    ordered: list[Message] = []
    order: dict[str, int] = {}
    results: list[Message] = []
    others: list[Message] = []
    for message in messages:
        if message.role != "assistant":
            (results if message.role == "tool" else others).append(message)
            continue
        ordered += [*_sort_results(results, order), *others, message]
        results, others = [], []
        calls = [part.id for part in message.parts if isinstance(part, ToolCall)]
        order = {call_id: number for number, call_id in enumerate(calls)}
    return [*ordered, *_sort_results(results, order), *others]


def _sort_results(results: list[Message], order: dict[str, int]) -> list[Message]:
    """Results of calls that are not in the turn stay behind those that are."""
    return sorted(results, key=lambda message: _position(message, order))


def _position(message: Message, order: dict[str, int]) -> int:
    ids = [part.call_id for part in message.parts if isinstance(part, ToolResult)]
    return min((order.get(call_id, len(order)) for call_id in ids), default=len(order))
