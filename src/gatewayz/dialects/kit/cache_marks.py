"""Marks of prompt caching: `cache_control` on a block says that the prompt up to it is to be cached.

A prompt may have `MAX_MARKS` of them, and "cache entries with longer TTL must appear before shorter
TTLs" (platform.claude.com/docs/en/build-with-claude/prompt-caching). With `caching: auto` the
gateway sets those that the client has left free: where the conversation ends, where the prompt of
the system and the tools end, and where it ended a turn ago, which the call before has written.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]
MARK = "cache_control"
MARKS = frozenset({MARK})
MAX_MARKS = 4
AUTOMATIC: Json = {"type": "ephemeral"}
LONG_TTL = "1h"
UNMARKED_TYPES = frozenset({"thinking", "redacted_thinking", "image_url", "input_audio", "file"})
"""Blocks that cannot be marked."""


class _Spot(NamedTuple):
    """Where a mark may stand: in what `holder[key]` ends with. `section` is its order in the prompt."""

    holder: Any
    key: Any
    section: int


def add_cache_marks(
    body: Json, turns: Sequence[Json], system: Json | None, system_key: str
) -> None:
    """Marks a body: where its turns end, its system's prompt (`system[system_key]`), its tools.

    `turns` are the messages that end a turn of the user, oldest first. What the client has marked
    stays, and counts.
    """
    if MARK in body:
        # The client has asked the provider to set the marks.
        return
    messages = body["messages"]
    order = {id(message): number for number, message in enumerate(messages, 2)}
    spots = [_Spot(turn, "content", order[id(turn)]) for turn in reversed(turns[-2:])]
    if system is not None:
        spots.insert(1, _Spot(system, system_key, order.get(id(system), 1)))
    if body.get("tools"):
        spots.append(_Spot(body, "tools", 0))

    sections = [list(_marks(body.get("tools"))), list(_marks(body.get("system")))]
    sections += [list(_marks(message)) for message in messages]
    room = MAX_MARKS - sum(map(len, sections))
    last_long = max(
        (
            number
            for number, marks in enumerate(sections)
            if any(mark.get("ttl") == LONG_TTL for mark in marks)
        ),
        default=-1,
    )
    for spot in spots:
        if room > 0 and spot.section > last_long:
            marked = _with_mark(spot.holder[spot.key])
            if marked is not None:
                spot.holder[spot.key] = marked
                room -= 1


def _marks(value: Any) -> Iterator[Json]:
    """The marks on blocks, and on those inside them."""
    if isinstance(value, list):
        for item in value:
            yield from _marks(item)
    elif isinstance(value, dict):
        mark = value.get(MARK)
        if isinstance(mark, dict):
            yield mark
        yield from _marks(value.get("content"))


def _with_mark(value: Any) -> Any:
    """A text, or a list of blocks or tools, with a mark at its end; nothing where there can be none.

    It is a copy: what a request holds is sent to other providers too.
    """
    if isinstance(value, str):
        return [{"type": "text", "text": value, MARK: AUTOMATIC}] if value.strip() else None
    if not isinstance(value, list) or not value:
        return None
    last = next((n for n in reversed(range(len(value))) if _is_markable(value[n])), None)
    if last is None or (last < len(value) - 1 and any(_marks(value[last:]))):
        return None
    return [*value[:last], {**value[last], MARK: AUTOMATIC}, *value[last + 1 :]]


def _is_markable(block: Any) -> bool:
    if not isinstance(block, dict) or MARK in block or block.get("defer_loading"):
        return False
    if block.get("type") == "text":
        return bool(str(block.get("text") or "").strip())
    return block.get("type") not in UNMARKED_TYPES


def mark_last_block(blocks: list[Json], mark: Any) -> None:
    """A mark that stands on a whole message, on the last of its blocks that can have one."""
    for number in reversed(range(len(blocks))):
        if _is_markable(blocks[number]):
            blocks[number] = {**blocks[number], MARK: mark}
            return


def take_marks(blocks: list[Json]) -> Any:
    """The last mark of these blocks, which are left without: it is for what they stand in."""
    marks = [block.pop(MARK) for block in blocks if MARK in block]
    return marks[-1] if marks else None
