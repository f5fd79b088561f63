"""Speaking completions: text and nothing else. What a model thought, called or drew has no place here.

Streamed and whole answers have the same shape (openai-python types: Completion).
"""

from collections.abc import Sequence
from typing import Any

from gatewayz.core.calls import Call
from gatewayz.core.events import (
    BlockDelta,
    BlockStarted,
    ChoiceEnded,
    Event,
    Failed,
    Finished,
    Frame,
    Kind,
    Stop,
    UsageReported,
)
from gatewayz.core.faults import Fault
from gatewayz.dialects.jsontext import encoded
from gatewayz.dialects.openai_errors import error_object
from gatewayz.dialects.openai_usage import usage_to_wire
from gatewayz.dialects.sse import spelled

DONE = b"data: [DONE]\n\n"
SPOKEN = frozenset({Kind.TEXT, Kind.REFUSAL})
LOSES = (Kind.REASONING, Kind.TOOL, Kind.AUDIO, Kind.IMAGE)
"""Kinds of blocks that a completion cannot carry: a choice has `text` and `logprobs` only (CompletionChoice)."""
REASONS = {
    Stop.END: "stop",
    Stop.SEQUENCE: "stop",
    Stop.TOOL: "stop",
    Stop.LENGTH: "length",
    Stop.FILTER: "content_filter",
}


class _Choice:
    """One alternative: its text so far, and why it stopped. Offsets of log probabilities count from its beginning."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.said = 0
        self.reason = ""
        self.logprobs: dict[str, list[Any]] | None = None

    def take(self, text: str, given: Any) -> dict[str, list[Any]] | None:
        """Takes a piece; returns its log probabilities as completions spell them."""
        told = _logprobs(given, self.said)
        self.pieces.append(text)
        self.said += len(text)
        if told is not None:
            have = self.logprobs or {}
            self.logprobs = {name: have.get(name, []) + values for name, values in told.items()}
        return told


def _logprobs(given: Any, offset: int) -> dict[str, list[Any]] | None:
    content = given.get("content") if isinstance(given, dict) else None
    if not isinstance(content, list) or not content:
        return None
    tokens = [item for item in content if isinstance(item, dict)]
    words = [str(item.get("token") or "") for item in tokens]
    offsets = [offset + sum(map(len, words[:number])) for number in range(len(words))]
    tops = [
        {str(top.get("token")): top.get("logprob") for top in item.get("top_logprobs") or ()}
        for item in tokens
    ]
    return {
        "text_offset": offsets,
        "token_logprobs": [item.get("logprob") for item in tokens],
        "tokens": words,
        "top_logprobs": tops,
    }


class _Listener:
    """What both encoders share: which block is whose, and the head of every object."""

    def __init__(self, call: Call, created_s: int) -> None:
        self._head = {
            "id": f"cmpl-{call.id}",
            "object": "text_completion",
            "created": created_s,
            "model": call.request.model,
        }
        self._blocks: dict[int, int] = {}
        self._choices: dict[int, _Choice] = {}

    def _choice(self, number: int) -> _Choice:
        return self._choices.setdefault(number, _Choice())

    def _opened(self, event: BlockStarted) -> None:
        if event.kind in SPOKEN:
            self._blocks[event.block] = event.choice

    def _object(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return encoded({**self._head, "choices": choices, **more})


class BodyEncoder(_Listener):
    """Frames in, one body out at the end."""

    content_type = "application/json"

    def __init__(self, call: Call, created_s: int) -> None:
        super().__init__(call, created_s)
        self._usage: UsageReported | None = None

    def feed(self, frames: Sequence[Frame]) -> bytes:
        for frame in frames:
            for event in frame.events:
                body = self._heard(event)
                if body:
                    return body
        return b""

    def _heard(self, event: Event) -> bytes:
        match event:
            case BlockStarted():
                self._opened(event)
            case BlockDelta(block=block, text=text, extra=extra) if block in self._blocks:
                self._choice(self._blocks[block]).take(text, (extra or {}).get("logprobs"))
            case ChoiceEnded(choice=choice, stop=stop):
                self._choice(choice).reason = REASONS[stop]
            case UsageReported():
                self._usage = event
            case Failed(fault=fault):
                return encoded({"error": error_object(fault)})
            case Finished():
                return self._body()
        return b""

    def _body(self) -> bytes:
        choices = [
            _choice_to_wire(
                number, "".join(choice.pieces), choice.logprobs, choice.reason or "stop"
            )
            for number, choice in sorted(self._choices.items())
        ]
        told = self._usage
        return self._object(
            choices, **({"usage": usage_to_wire(told.usage, told.cost)} if told is not None else {})
        )


class StreamEncoder(_Listener):
    """Frames in, chunks out."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, call: Call, created_s: int) -> None:
        super().__init__(call, created_s)
        self._wants_usage = call.request.wants_usage
        self._usage: UsageReported | None = None

    def feed(self, frames: Sequence[Frame]) -> bytes:
        return b"".join([self._say(event) for frame in frames for event in frame.events])

    def _say(self, event: Event) -> bytes:
        match event:
            case BlockStarted():
                self._opened(event)
            case BlockDelta(block=block, text=text, extra=extra) if block in self._blocks:
                return self._piece(self._blocks[block], text, (extra or {}).get("logprobs"))
            case ChoiceEnded(choice=choice, stop=stop):
                return spelled(self._object([_choice_to_wire(choice, "", None, REASONS[stop])]))
            case UsageReported(final=final):
                self._usage = event
                return self._usage_chunk() if final else b""
            case Failed(fault=fault):
                return self._usage_chunk() + self._failure(fault)
            case Finished():
                return self._usage_chunk() + DONE
        return b""

    def _piece(self, number: int, text: str, given: Any) -> bytes:
        told = self._choice(number).take(text, given)
        return (
            spelled(self._object([_choice_to_wire(number, text, told, None)]))
            if text or told
            else b""
        )

    def _usage_chunk(self) -> bytes:
        told, self._usage = self._usage, None
        if told is None or not self._wants_usage:
            return b""
        self._wants_usage = False
        return spelled(self._object([], usage=usage_to_wire(told.usage, told.cost)))

    def _failure(self, fault: Fault) -> bytes:
        return spelled(self._object([], error=error_object(fault)))


def _choice_to_wire(number: int, text: str, logprobs: Any, reason: str | None) -> dict[str, Any]:
    return {"text": text, "index": number, "logprobs": logprobs, "finish_reason": reason}
