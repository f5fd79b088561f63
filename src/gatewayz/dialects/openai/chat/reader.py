"""One choice of an answer: the events of a `delta` or `message`, and the repairs of its source.

Providers differ in where reasoning stands, in roles that are repeated or left out, and in why they
stopped; every difference is repaired here once, in the events and in the bytes that are sent on.
"""

from collections.abc import Iterator
from typing import Any

from gatewayz.core.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Kind,
)
from gatewayz.dialects.kit.base import DecodeOptions
from gatewayz.dialects.openai.chat.repairs import REMOVE, Repair
from gatewayz.dialects.openai.chat.seals import seal_details, tag_seals
from gatewayz.dialects.openai.chat.think_tags import ThinkSplitter
from gatewayz.dialects.openai.chat.tool_calls import ToolCallReader
from gatewayz.dialects.openai.chat.wire import STOPS, ChatWireChoice, ChatWireDelta

PROSE_FIELDS = {Kind.TEXT: "content", Kind.REASONING: "reasoning_content"}


class ChoiceReader:
    """What is known of one choice; `numbers` gives the blocks of the answer their numbers."""

    def __init__(self, choice: int, numbers: Iterator[int], options: DecodeOptions) -> None:
        self.choice = choice
        self.ended = False
        self._has_role = False
        self._numbers = numbers
        self._options = options
        self._splitter = ThinkSplitter(inside=options.think == "open") if options.think else None
        self._prose: tuple[Kind, int] | None = None
        self._tools = ToolCallReader(choice, numbers, options)
        self._bound_details: list[Any] = []

    def plain_text_delta(self, wire: ChatWireChoice) -> BlockDelta | None:
        """The event of what most chunks are: more of the text under way, and nothing else."""
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
            or wire != ChatWireChoice(self.choice, ChatWireDelta(content=text))
        ):
            return None
        return BlockDelta(prose[1], text)

    def read_delta(
        self, wire: ChatWireChoice, delta: ChatWireDelta, repairs: list[Repair]
    ) -> list[Event]:
        """The events of one chunk; `repairs` receives what its source must say instead."""
        events: list[Event] = []
        if self.ended:
            return events
        self._read_role(delta, repairs)
        logprobs = {"logprobs": wire.logprobs} if wire.logprobs else None
        refusal = delta.refusal
        if delta.content or delta.reasoning_content or delta.reasoning or delta.reasoning_details:
            self._read_prose(delta, repairs, events, logprobs)
        elif logprobs:
            kind = Kind.REFUSAL if refusal else Kind.TEXT
            self._emit(kind, refusal or "", events, logprobs)
            refusal = None
        if refusal:
            self._emit(Kind.REFUSAL, refusal, events)
        if delta.annotations:
            self._emit(Kind.TEXT, "", events, {"annotations": delta.annotations})
        if isinstance(delta.images, list) and delta.images:
            self._emit(Kind.TEXT, "", events, {"images": delta.images})
        if delta.audio:
            self._read_audio(delta.audio, events)
        if delta.tool_calls:
            call_repairs = self._tools.read(delta.tool_calls, events, self._close_prose)
            if call_repairs:
                repairs.append(("tool_calls", call_repairs))
        return events

    def _read_role(self, delta: ChatWireDelta, repairs: list[Repair]) -> None:
        # Clients join the texts of repeated fields: the role is said once, on the first chunk.
        if not self._has_role:
            self._has_role = True
            if delta.role is None:
                repairs.append(("role", "assistant"))
        elif delta.role is not None:
            repairs.append(("role", REMOVE))

    def finish(self, word: str, events: list[Event]) -> str:
        """Closes the choice for the provider's word; returns the dialect's, which may differ."""
        self._close_prose(events)
        self._tools.close(events)
        reason = self._options.stops.get(word, word)
        if reason not in STOPS:
            reason = "stop"
        # Some providers say "stop" after calls, others "tool_calls" without any.
        if self._tools.has_calls() and reason == "stop":
            reason = "tool_calls"
        elif reason == "tool_calls" and not self._tools.has_calls():
            reason = "stop"
        self.ended = True
        events.append(ChoiceEnded(self.choice, STOPS[reason], word))
        return reason

    def flush(self, events: list[Event]) -> dict[str, Any]:
        """What waited for the end, as events and as fields of a delta of its own."""
        if self.ended:
            return {}
        fields: dict[str, Any] = self._flush_prose(events)
        calls = self._tools.fill_empty(events, None)
        return fields | ({"tool_calls": calls} if calls else {})

    def flush_into(
        self, delta: ChatWireDelta | None, repairs: list[Repair], events: list[Event]
    ) -> dict[str, Any]:
        """The same, as far as it belongs into this last delta; returns what must go before it."""
        for name, text in self._flush_prose(events).items():
            repaired = next((value for field, value in repairs if field == name), None)
            before = repaired if repaired is not None else getattr(delta, name, None)
            repairs.append((name, (before or "") + text))
        call_repairs: dict[int, dict[str, Any]] = next(
            (value for field, value in repairs if field == "tool_calls"), {}
        )
        in_delta = call_repairs if delta is not None and delta.tool_calls else None
        calls = self._tools.fill_empty(events, in_delta)
        if call_repairs and not any(field == "tool_calls" for field, _ in repairs):
            repairs.append(("tool_calls", call_repairs))
        return {"tool_calls": calls} if calls else {}

    def _flush_prose(self, events: list[Event]) -> dict[str, str]:
        """What waited as the possible beginning of a tag."""
        pieces = self._splitter.close() if self._splitter is not None else []
        for kind, text in pieces:
            self._emit(kind, text, events)
        return {PROSE_FIELDS[kind]: text for kind, text in pieces}

    def _read_prose(
        self,
        delta: ChatWireDelta,
        repairs: list[Repair],
        events: list[Event],
        extra: dict[str, Any] | None,
    ) -> None:
        thought = delta.reasoning_content or _reasoning_text(delta.reasoning)
        details = self._read_details(delta, repairs)
        if details and not thought:
            thought = "".join(_reasoning_text(item) for item in details if isinstance(item, dict))
        if thought or details:
            carried = {"reasoning_details": details} if details else None
            self._emit(Kind.REASONING, thought, events, carried)
            if thought != delta.reasoning_content:
                repairs.append(("reasoning_content", thought))
            if delta.reasoning is not None:
                repairs.append(("reasoning", REMOVE))
        if delta.content:
            self._read_content(delta, repairs, events, extra)

    def _read_details(self, delta: ChatWireDelta, repairs: list[Repair]) -> list[Any]:
        if not isinstance(delta.reasoning_details, list) or not delta.reasoning_details:
            return []
        if not self._options.echo:
            self._bound_details += delta.reasoning_details
        details: list[Any] = tag_seals(delta.reasoning_details, self._options.provider)
        if details != delta.reasoning_details:
            repairs.append(("reasoning_details", details))
        return details

    def _read_content(
        self,
        delta: ChatWireDelta,
        repairs: list[Repair],
        events: list[Event],
        extra: dict[str, Any] | None,
    ) -> None:
        content = delta.content
        if isinstance(content, str) and self._splitter is None and delta.extra_content is None:
            self._emit(Kind.TEXT, content, events, extra)
            return

        pieces = self._split_content(delta)
        for kind, text in pieces:
            self._emit(kind, text, events, extra if kind is Kind.TEXT else None)
        answer = "".join(text for kind, text in pieces if kind is Kind.TEXT)
        thought = "".join(text for kind, text in pieces if kind is Kind.REASONING)
        if answer != content:
            repairs.append(("content", answer))
        if thought:
            repairs.append(("reasoning_content", thought))

    def _split_content(self, delta: ChatWireDelta) -> list[tuple[Kind, str]]:
        content = delta.content
        if isinstance(content, list):
            return [_piece_from_part(part) for part in content if isinstance(part, dict)]
        text = content or ""
        match delta.extra_content:
            case {"google": {"thought": True}}:
                return [(Kind.REASONING, text)]
        return self._splitter.feed(text) if self._splitter is not None else [(Kind.TEXT, text)]

    def _read_audio(self, audio: Any, events: list[Event]) -> None:
        if not isinstance(audio, dict):
            return
        rest = {name: value for name, value in audio.items() if name != "transcript"}
        transcript = str(audio.get("transcript") or "")
        self._emit(Kind.AUDIO, transcript, events, {"audio": rest} if rest else None)

    def _emit(
        self, kind: Kind, text: str, events: list[Event], extra: dict[str, Any] | None = None
    ) -> None:
        if self._prose is None or self._prose[0] is not kind:
            self._close_prose(events)
            self._prose = (kind, next(self._numbers))
            events.append(BlockStarted(self._prose[1], kind, choice=self.choice))
        events.append(BlockDelta(self._prose[1], text, extra))

    def _close_prose(self, events: list[Event]) -> None:
        if self._prose is None:
            return
        kind, block = self._prose
        is_sealed = kind is Kind.REASONING and self._bound_details
        seal = seal_details(self._bound_details, self._options.provider) if is_sealed else ""
        events.append(BlockEnded(block, seal))
        self._prose, self._bound_details = None, []


def _reasoning_text(value: Any) -> str:
    """Reasoning as text, from a string or from an object that holds it."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    texts = (value.get(name) for name in ("text", "summary", "content"))
    return next((text for text in texts if isinstance(text, str)), "")


def _piece_from_part(part: dict[str, Any]) -> tuple[Kind, str]:
    """A part of a content list: Mistral's `thinking` parts hold parts of their own."""
    if part.get("type") != "thinking":
        return Kind.TEXT, _reasoning_text(part)
    inner = part.get("thinking")
    if isinstance(inner, list):
        return Kind.REASONING, "".join(_reasoning_text(item) for item in inner)
    return Kind.REASONING, _reasoning_text(inner)
