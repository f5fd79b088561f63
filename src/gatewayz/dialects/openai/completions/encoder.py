"""The answer to a client: text and nothing else; what a model thought, called or drew is dropped.

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
    UsageReported,
)
from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.dialects.kit.sse import DONE_EVENT, encode_sse
from gatewayz.dialects.openai.completions.wire import REASONS
from gatewayz.dialects.openai.errors import error_object
from gatewayz.dialects.openai.usage import usage_to_wire

TEXT_KINDS = frozenset({Kind.TEXT, Kind.REFUSAL})


class _CompletionChoice:
    """One alternative: its text so far, and why it stopped.

    Offsets of log probabilities count from its beginning.
    """

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.length = 0
        self.reason = ""
        self.logprobs: dict[str, list[Any]] | None = None

    def append(self, text: str, chat_logprobs: Any) -> dict[str, list[Any]] | None:
        """Takes a piece; returns its log probabilities in the form of completions."""
        logprobs = _logprobs_to_wire(chat_logprobs, self.length)
        self.pieces.append(text)
        self.length += len(text)
        if logprobs is not None:
            before = self.logprobs or {}
            self.logprobs = {
                name: before.get(name, []) + values for name, values in logprobs.items()
            }
        return logprobs


def _logprobs_to_wire(chat_logprobs: Any, offset: int) -> dict[str, list[Any]] | None:
    content = chat_logprobs.get("content") if isinstance(chat_logprobs, dict) else None
    if not isinstance(content, list) or not content:
        return None
    tokens = [item for item in content if isinstance(item, dict)]
    texts = [str(item.get("token") or "") for item in tokens]
    offsets = [offset + sum(map(len, texts[:number])) for number in range(len(texts))]
    tops = [
        {str(top.get("token")): top.get("logprob") for top in item.get("top_logprobs") or ()}
        for item in tokens
    ]
    return {
        "text_offset": offsets,
        "token_logprobs": [item.get("logprob") for item in tokens],
        "tokens": texts,
        "top_logprobs": tops,
    }


class _BaseCompletionsEncoder:
    """What both encoders share: which block is whose, and the head of every object."""

    def __init__(self, call: Call, created_s: int) -> None:
        self._head = {
            "id": f"cmpl-{call.id}",
            "object": "text_completion",
            "created": created_s,
            "model": call.request.model,
        }
        self._blocks: dict[int, int] = {}
        self._choices: dict[int, _CompletionChoice] = {}

    def _choice(self, number: int) -> _CompletionChoice:
        return self._choices.setdefault(number, _CompletionChoice())

    def _open_block(self, event: BlockStarted) -> None:
        if event.kind in TEXT_KINDS:
            self._blocks[event.block] = event.choice

    def _object(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return encode_json({**self._head, "choices": choices, **more})


class CompletionsBodyEncoder(_BaseCompletionsEncoder):
    """Frames in, one body out at the end."""

    content_type = "application/json"

    def __init__(self, call: Call, created_s: int) -> None:
        super().__init__(call, created_s)
        self._usage: UsageReported | None = None

    def feed(self, frames: Sequence[Frame]) -> bytes:
        for frame in frames:
            for event in frame.events:
                body = self._add_event(event)
                if body:
                    return body
        return b""

    def _add_event(self, event: Event) -> bytes:
        match event:
            case BlockStarted():
                self._open_block(event)
            case BlockDelta(block=block, text=text, extra=extra) if block in self._blocks:
                self._choice(self._blocks[block]).append(text, (extra or {}).get("logprobs"))
            case ChoiceEnded(choice=choice, stop=stop):
                self._choice(choice).reason = REASONS[stop]
            case UsageReported():
                self._usage = event
            case Failed(fault=fault):
                return encode_json({"error": error_object(fault)})
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
        if self._usage is None:
            return self._object(choices)
        return self._object(choices, usage=usage_to_wire(self._usage.usage, self._usage.cost))


class CompletionsStreamEncoder(_BaseCompletionsEncoder):
    """Frames in, chunks out."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, call: Call, created_s: int) -> None:
        super().__init__(call, created_s)
        self._wants_usage = call.request.wants_usage
        self._usage: UsageReported | None = None

    def feed(self, frames: Sequence[Frame]) -> bytes:
        return b"".join([self._encode_event(event) for frame in frames for event in frame.events])

    def _encode_event(self, event: Event) -> bytes:
        match event:
            case BlockStarted():
                self._open_block(event)
            case BlockDelta(block=block, text=text, extra=extra) if block in self._blocks:
                return self._text_chunk(self._blocks[block], text, (extra or {}).get("logprobs"))
            case ChoiceEnded(choice=choice, stop=stop):
                return encode_sse(self._object([_choice_to_wire(choice, "", None, REASONS[stop])]))
            case UsageReported(final=final):
                self._usage = event
                return self._usage_chunk() if final else b""
            case Failed(fault=fault):
                return self._usage_chunk() + self._error_chunk(fault)
            case Finished():
                return self._usage_chunk() + DONE_EVENT
        return b""

    def _text_chunk(self, number: int, text: str, chat_logprobs: Any) -> bytes:
        logprobs = self._choice(number).append(text, chat_logprobs)
        if not text and not logprobs:
            return b""
        return encode_sse(self._object([_choice_to_wire(number, text, logprobs, None)]))

    def _usage_chunk(self) -> bytes:
        reported, self._usage = self._usage, None
        if reported is None or not self._wants_usage:
            return b""
        self._wants_usage = False
        return encode_sse(self._object([], usage=usage_to_wire(reported.usage, reported.cost)))

    def _error_chunk(self, fault: Fault) -> bytes:
        return encode_sse(encode_json({"error": error_object(fault)}))


def _choice_to_wire(number: int, text: str, logprobs: Any, reason: str | None) -> dict[str, Any]:
    return {"text": text, "index": number, "logprobs": logprobs, "finish_reason": reason}
