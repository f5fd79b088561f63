"""Hearing a choice: what one `delta` or `message` says, as events, and what has to be mended in its source.

Providers differ in where reasoning stands, in tool calls without index or id, and in why they stopped; every
difference is mended here once, in the events and in the bytes that are sent on.
"""

import os
from typing import Any

from msgspec import Struct

from gatewayz.core.calls import CROCKFORD
from gatewayz.core.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Kind,
    Stop,
)
from gatewayz.dialects.base import Reading
from gatewayz.dialects.jsontext import encoded
from gatewayz.dialects.openai_chat.chunks import WireCall, WireChoice, WireDelta
from gatewayz.dialects.openai_chat.seals import sealed_details, tagged
from gatewayz.dialects.openai_chat.thinking import ThinkSplitter

STOPS = {
    "stop": Stop.END,
    "length": Stop.LENGTH,
    "tool_calls": Stop.TOOL,
    "function_call": Stop.TOOL,
    "content_filter": Stop.FILTER,
}
REASONS = {
    Stop.END: "stop",
    Stop.LENGTH: "length",
    Stop.TOOL: "tool_calls",
    Stop.FILTER: "content_filter",
    Stop.SEQUENCE: "stop",
}
FAILED_REASON = "error"
"""OpenRouter's and Mistral's word for an answer that failed."""

PROSE_FIELDS = {Kind.TEXT: "content", Kind.REASONING: "reasoning_content"}

REMOVE = object()
Mend = tuple[str, Any]
"""A field of the delta and its new value; `REMOVE` takes it out."""


class _ToolTrack(Struct):
    index: int
    block: int
    id: str
    named: bool


class ChoiceTrack:
    """What is known of one choice so far. `numbers` hands out block numbers for the whole answer."""

    def __init__(self, choice: int, numbers: "Numbers", reading: Reading) -> None:
        self.choice = choice
        self.ended = False
        self._roled = False
        self._numbers = numbers
        self._reading = reading
        self._splitter = ThinkSplitter(inside=reading.think == "open") if reading.think else None
        self._prose: tuple[Kind, int] | None = None
        self._tools: list[_ToolTrack] = []
        self._bound: list[Any] = []

    def plain(self, wire: WireChoice) -> BlockDelta | None:
        """The event of the piece that most pieces are: more of the text that is open, and nothing else."""
        prose, delta = self._prose, wire.delta
        if (
            prose is None
            or delta is None
            or prose[0] is not Kind.TEXT
            or self._splitter is not None
            or self.ended
        ):
            return None
        text = delta.content
        if (
            type(text) is not str
            or not text
            or wire != WireChoice(wire.index, WireDelta(content=text))
        ):
            return None
        return BlockDelta(prose[1], text)

    def hear(self, wire: WireChoice, delta: WireDelta, mends: list[Mend]) -> list[Event]:
        """The events of one piece; `mends` receives what the source must say instead."""
        events: list[Event] = []
        if self.ended:
            return events
        self._hear_role(delta, mends)
        logprobs = {"logprobs": wire.logprobs} if wire.logprobs else None
        if delta.content or delta.reasoning_content or delta.reasoning or delta.reasoning_details:
            self._hear_prose(delta, mends, events, logprobs)
        elif logprobs:
            self._say(
                Kind.REFUSAL if delta.refusal else Kind.TEXT, delta.refusal or "", events, logprobs
            )
            delta.refusal = None
        if delta.refusal:
            self._say(Kind.REFUSAL, delta.refusal, events)
        if delta.annotations:
            self._say(Kind.TEXT, "", events, {"annotations": delta.annotations})
        if delta.audio:
            self._hear_audio(delta.audio, events)
        if delta.tool_calls:
            self._hear_tools(delta.tool_calls, mends, events)
        return events

    def _hear_role(self, delta: WireDelta, mends: list[Mend]) -> None:
        # Clients join the texts of repeated fields, so the role is said once: on the first piece, and only there.
        if not self._roled:
            self._roled = True
            if delta.role is None:
                mends.append(("role", "assistant"))
        elif delta.role is not None:
            mends.append(("role", REMOVE))

    def end(self, word: str, events: list[Event]) -> str:
        """Closes the choice with the provider's word; returns the word of the dialect, which may differ."""
        self.close_blocks(events)
        reason = self._reading.stops.get(word, word)
        if reason not in STOPS:
            reason = "stop"
        if self._tools and reason == "stop":
            reason = "tool_calls"
        elif reason == "tool_calls" and not self._tools:
            reason = "stop"
        self.ended = True
        events.append(ChoiceEnded(self.choice, STOPS[reason], word))
        return reason

    def close_blocks(self, events: list[Event]) -> None:
        self._close_prose(events)
        events.extend(BlockEnded(tool.block) for tool in self._tools)

    def _hear_prose(
        self, delta: WireDelta, mends: list[Mend], events: list[Event], extra: dict[str, Any] | None
    ) -> None:
        thought = delta.reasoning_content or _text_of(delta.reasoning)
        details = self._details(delta, mends)
        if details and not thought:
            thought = "".join(_text_of(item) for item in details if isinstance(item, dict))
        if thought or details:
            self._say(
                Kind.REASONING, thought, events, {"reasoning_details": details} if details else None
            )
            if thought != delta.reasoning_content:
                mends.append(("reasoning_content", thought))
            if delta.reasoning is not None:
                mends.append(("reasoning", REMOVE))
        if delta.content:
            self._hear_content(delta, mends, events, extra)

    def _details(self, delta: WireDelta, mends: list[Mend]) -> list[Any]:
        if not isinstance(delta.reasoning_details, list) or not delta.reasoning_details:
            return []
        if not self._reading.echo:
            self._bound += delta.reasoning_details
        details: list[Any] = tagged(delta.reasoning_details, self._reading.provider)
        if details != delta.reasoning_details:
            mends.append(("reasoning_details", details))
        return details

    def _hear_content(
        self, delta: WireDelta, mends: list[Mend], events: list[Event], extra: dict[str, Any] | None
    ) -> None:
        content = delta.content
        if isinstance(content, str) and self._splitter is None and delta.extra_content is None:
            self._say(Kind.TEXT, content, events, extra)
            return
        pieces = self._pieces(delta)
        texts = {
            kind: "".join(text for each, text in pieces if each is kind)
            for kind in (Kind.TEXT, Kind.REASONING)
        }
        for kind, text in pieces:
            self._say(kind, text, events, extra if kind is Kind.TEXT else None)
        if texts[Kind.TEXT] != content:
            mends.append(("content", texts[Kind.TEXT]))
        if texts[Kind.REASONING]:
            mends.append(("reasoning_content", texts[Kind.REASONING]))

    def _pieces(self, delta: WireDelta) -> list[tuple[Kind, str]]:
        content = delta.content
        if isinstance(content, list):
            return [_part_piece(part) for part in content if isinstance(part, dict)]
        match delta.extra_content:
            case {"google": {"thought": True}}:
                return [(Kind.REASONING, content or "")]
        return (
            self._splitter.feed(content or "")
            if self._splitter is not None
            else [(Kind.TEXT, content or "")]
        )

    def flush(self, events: list[Event]) -> dict[str, str]:
        """What was held back as the possible beginning of a tag, as events and as fields of a delta."""
        pieces = self._splitter.close() if self._splitter is not None and not self.ended else []
        for kind, text in pieces:
            self._say(kind, text, events)
        return {PROSE_FIELDS[kind]: text for kind, text in pieces}

    def _say(
        self, kind: Kind, text: str, events: list[Event], extra: dict[str, Any] | None = None
    ) -> None:
        if self._prose is None or self._prose[0] is not kind:
            self._close_prose(events)
            self._prose = (kind, self._numbers.next())
            events.append(BlockStarted(self._prose[1], kind, choice=self.choice))
        events.append(BlockDelta(self._prose[1], text, extra))

    def _hear_audio(self, audio: Any, events: list[Event]) -> None:
        if not isinstance(audio, dict):
            return
        rest = {name: value for name, value in audio.items() if name != "transcript"}
        self._say(
            Kind.AUDIO,
            str(audio.get("transcript") or ""),
            events,
            {"audio": rest} if rest else None,
        )

    def _close_prose(self, events: list[Event]) -> None:
        if self._prose is not None:
            thought = self._prose[0] is Kind.REASONING
            sealed = (
                sealed_details(self._bound, self._reading.provider)
                if thought and self._bound
                else ""
            )
            events.append(BlockEnded(self._prose[1], sealed))
            self._prose, self._bound = None, []

    def _hear_tools(self, calls: list[WireCall], mends: list[Mend], events: list[Event]) -> None:
        mended: dict[int, dict[str, Any]] = {}
        for position, call in enumerate(calls):
            mend = self._hear_tool(call, position, events)
            if mend:
                mended[position] = mend
        if mended:
            mends.append(("tool_calls", mended))

    def _hear_tool(self, call: WireCall, position: int, events: list[Event]) -> dict[str, Any]:
        name, arguments, mend = _spoken_call(call)
        tool = self._known(call, position, name)
        extra = self._sealed(call, mend)
        if tool is None:
            tool = self._opened(call, name, extra, events)
            if not call.id:
                mend["id"] = tool.id
            if call.type is None:
                mend["type"] = "function"
        else:
            mend |= {} if call.id is None else {"id": REMOVE}
            if extra:
                events.append(BlockDelta(tool.block, "", extra))
        if call.index != tool.index:
            mend["index"] = tool.index
        if arguments:
            events.append(BlockDelta(tool.block, arguments))
        return mend

    def _sealed(self, call: WireCall, mend: dict[str, Any]) -> dict[str, Any] | None:
        if not isinstance(call.extra_content, dict) or not call.extra_content:
            return None
        content = tagged(call.extra_content, self._reading.provider)
        mend["extra_content"] = content
        return {"extra_content": content}

    def _known(self, call: WireCall, position: int, name: str) -> _ToolTrack | None:
        same = [tool for tool in self._tools if call.id and tool.id == call.id]
        if same:
            return same[0]
        fresh = bool(call.id) or (bool(name) and call.index is None)
        if call.index is None:
            return None if fresh or not self._tools else self._tools[-1]
        at = [tool for tool in self._tools if tool.index == call.index]
        # Some surfaces number every parallel call 0: another id with a name of its own is another call.
        return None if not at or (call.id and name and at[0].named) else at[0]

    def _opened(
        self, call: WireCall, name: str, extra: dict[str, Any] | None, events: list[Event]
    ) -> _ToolTrack:
        self._close_prose(events)
        taken = {tool.index for tool in self._tools}
        index = (
            call.index if call.index is not None and call.index not in taken else len(self._tools)
        )
        tool = _ToolTrack(index, self._numbers.next(), call.id or new_call_id(), named=bool(name))
        self._tools.append(tool)
        events.append(BlockStarted(tool.block, Kind.TOOL, tool.id, name, self.choice))
        custom = {"type": "custom"} if call.custom is not None else {}
        if extra or custom:
            events.append(BlockDelta(tool.block, "", (extra or {}) | custom))
        return tool


class Numbers:
    """Hands out block numbers."""

    def __init__(self) -> None:
        self._next = -1

    def next(self) -> int:
        self._next += 1
        return self._next


def new_call_id() -> str:
    """An id for a tool call that came without one."""
    return "call_" + "".join(CROCKFORD[byte & 31] for byte in os.urandom(20))


def _spoken_call(call: WireCall) -> tuple[str, str, dict[str, Any]]:
    """Name, arguments as text, and the mend for arguments that came as an object or null."""
    if call.custom is not None:
        return call.custom.name or "", call.custom.input or "", {}
    if call.function is None:
        return "", "", {}
    arguments = call.function.arguments
    if isinstance(arguments, str):
        return call.function.name or "", arguments, {}
    text = "" if arguments is None else encoded(arguments).decode()
    return call.function.name or "", text, {"arguments": text}


def _text_of(value: Any) -> str:
    """Reasoning as text, from a string or from an object that holds it."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    return next(
        (
            value[name]
            for name in ("text", "summary", "content")
            if isinstance(value.get(name), str)
        ),
        "",
    )


def _part_piece(part: dict[str, Any]) -> tuple[Kind, str]:
    """A part of a content list: Mistral's `thinking` parts hold parts of their own."""
    if part.get("type") != "thinking":
        return Kind.TEXT, _text_of(part)
    inner = part.get("thinking")
    if isinstance(inner, list):
        return Kind.REASONING, "".join(_text_of(item) for item in inner)
    return Kind.REASONING, _text_of(inner)
