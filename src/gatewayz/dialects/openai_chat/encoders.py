"""Encoders of OpenAI Chat: frames as server-sent chunks, or folded into one body.

The echo: a frame that carries its source in this dialect is sent on to the byte, with the client's id and model put
in. A stream's sources begin with the same bytes up to `choices`, so that putting them in is one comparison.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from gatewayz.core.calls import Call
from gatewayz.core.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Failed,
    Finished,
    Frame,
    Kind,
    Started,
    UsageReported,
)
from gatewayz.core.faults import Fault
from gatewayz.core.replies import Block, Choice, Folder, Reply
from gatewayz.dialects.jsontext import encoded, fields_of
from gatewayz.dialects.openai_chat.hear import REASONS
from gatewayz.dialects.openai_chat.seals import seal_to_wire
from gatewayz.dialects.openai_errors import error_object
from gatewayz.dialects.openai_usage import usage_to_wire, with_cost
from gatewayz.dialects.sse import spelled

DONE = b"data: [DONE]\n\n"
CHOICES = b'"choices":'
CONTENT = b'"content":""'
HEAD_FIELDS = frozenset({"id", "object", "created", "model"})


class _Identity:
    """What every chunk and body of one answer begins with: the client's id and model, not the provider's."""

    def __init__(self, call: Call, created_s: int, kind: str) -> None:
        self.id = f"chatcmpl-{call.id}"
        self.model = call.request.model
        self.created_s = created_s
        self.kind = kind
        self.raw_id, self.raw_model = Raw(encoded(self.id)), Raw(encoded(self.model))

    def head(self) -> dict[str, Any]:
        return {"id": self.id, "object": self.kind, "created": self.created_s, "model": self.model}

    def put_in(self, source: bytes, reported: UsageReported | None = None) -> bytes:
        """The source with the client's id and model, and the cost beside its usage; other fields keep their bytes."""
        fields = fields_of(source)
        if reported is not None and reported.cost is not None and "usage" in fields:
            fields["usage"] = with_cost(fields["usage"], reported.cost)
        head = {name: Raw(encoded(value)) for name, value in self.head().items()}
        mine = {"id": self.raw_id, "model": self.raw_model}
        return encoded({**head, **fields, **mine})


class StreamEncoder:
    """Frames in, chunks out."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, call: Call, created_s: int) -> None:
        self._identity = _Identity(call, created_s, "chat.completion.chunk")
        self._wants_usage = call.request.wants_usage
        self._prefix, self._mine = b"", b""
        self._usage: UsageReported | None = None
        self._usage_source: bytes | None = None
        self._usage_shown = False
        self._spoken: set[int] = set()
        self._blocks: dict[int, tuple[Kind, int, int]] = {}
        self._lengths: dict[int, int] = {}
        self._extra: dict[str, Any] = {}
        self._around: dict[int, tuple[bytes, bytes]] = {}

    def feed(self, frames: Sequence[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            source = frame.source
            if source is None or frame.whole:
                for event in frame.events:
                    if (
                        type(event) is BlockDelta
                        and event.block in self._around
                        and not event.extra
                    ):
                        before, after = self._around[event.block]
                        out.append(before + encoded(event.text) + after)
                    else:
                        self._say(event, out)
            elif len(frame.events) == 1 and type(frame.events[0]) is BlockDelta:
                out.append(self._echo(source))
            else:
                self._echo_frame(frame, source, out)
        return b"".join(out)

    def _echo_frame(self, frame: Frame, source: bytes, out: list[bytes]) -> None:
        reports = [event for event in frame.events if type(event) is UsageReported]
        if reports:
            self._usage = reports[-1]
            if len(frame.events) == 1:
                self._usage_source = source
                out.append(self._usage_chunk() if reports[-1].final else b"")
                return
        self._spoken.update(event.choice for event in frame.events if type(event) is BlockStarted)
        out.append(self._echo(source))

    def _echo(self, source: bytes) -> bytes:
        prefix = self._prefix
        if prefix and source.startswith(prefix):
            return b"data: " + self._mine + source[len(prefix) :] + b"\n\n"
        self._learn(source)
        return spelled(self._identity.put_in(source))

    def _learn(self, source: bytes) -> None:
        """Remembers what stands before `choices`, if it is a whole head: the next chunks begin with the same bytes."""
        head, found, _ = source.partition(CHOICES)
        if not found:
            return
        try:
            fields = fields_of(head.rstrip(b", \n\r\t") + b"}")
        except msgspec.DecodeError:
            return
        if fields.keys() >= HEAD_FIELDS:
            mine = fields | {"id": self._identity.raw_id, "model": self._identity.raw_model}
            self._prefix, self._mine = head, encoded(mine)[:-1] + b","

    def _say(self, event: Event, out: list[bytes]) -> None:
        match event:
            case Started(extra=extra):
                self._extra = extra
            case BlockStarted(block=block, kind=kind, choice=choice):
                out.append(self._open(event, block, kind, choice))
            case BlockDelta(block=block):
                out.append(self._delta(event, *self._blocks[block]))
            case BlockEnded(block=block, sealed=seal) if seal:
                held = self._blocks[block]
                carried = seal_to_wire(held[0], seal, self._lengths.pop(block, 0))
                out.append(self._delta(BlockDelta(block, "", carried), *held))
            case BlockEnded():
                pass
            case ChoiceEnded(choice=choice, stop=stop):
                out.append(self._chunk(choice, {}, REASONS[stop]))
            case UsageReported(final=final):
                self._usage = event
                out.append(self._usage_chunk() if final else b"")
            case Finished():
                out += [self._usage_chunk(), DONE]
            case Failed(fault=fault):
                out += [self._usage_chunk(), self._failure(fault)]

    def _open(self, event: BlockStarted, block: int, kind: Kind, choice: int) -> bytes:
        index = sum(
            1 for other in self._blocks.values() if other[0] is Kind.TOOL and other[1] == choice
        )
        self._blocks[block] = (kind, choice, index)
        if kind is not Kind.TOOL:
            return b""
        function = {"name": event.name, "arguments": ""}
        call = {"index": index, "id": event.id, "type": "function", "function": function}
        return self._chunk(choice, {"tool_calls": [call]}, None)

    def _plain(self, choice: int) -> tuple[bytes, bytes]:
        """What stands around the text of the chunk that most chunks are: more text."""
        before, _, after = self._chunk(choice, {"content": ""}, None).partition(CONTENT)
        return before + CONTENT[:-2], after

    def _delta(self, event: BlockDelta, kind: Kind, choice: int, index: int) -> bytes:
        extra = event.extra or {}
        if kind is Kind.TEXT and choice in self._spoken:
            self._around[event.block] = self._plain(choice)
        if kind is Kind.TOOL:
            call = {"index": index, **extra, "function": {"arguments": event.text}}
            return self._chunk(choice, {"tool_calls": [call]}, None)
        delta: dict[str, Any] = {name: value for name, value in extra.items() if name != "logprobs"}
        if kind is Kind.AUDIO:
            delta["audio"] = {**delta.get("audio", {}), "transcript": event.text}
        elif kind is Kind.IMAGE:
            delta["images"] = [_image_to_wire(event.text)]
        elif kind in DELTA_FIELDS:
            delta[DELTA_FIELDS[kind]] = event.text
            if kind is Kind.REASONING:
                self._lengths[event.block] = self._lengths.get(event.block, 0) + len(event.text)
        else:
            # What only the upstream's dialect knows has no words here.
            return b""
        return self._chunk(choice, delta, None, extra.get("logprobs"))

    def _chunk(
        self, choice: int, delta: dict[str, Any], reason: str | None, logprobs: Any = None
    ) -> bytes:
        if choice not in self._spoken:
            self._spoken.add(choice)
            delta = {"role": "assistant", **delta}
        said = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return spelled(encoded({**self._identity.head(), **_top(self._extra), "choices": [said]}))

    def _usage_chunk(self) -> bytes:
        reported = self._usage
        if not self._wants_usage or reported is None or self._usage_shown:
            return b""
        self._usage_shown = True
        if self._usage_source is not None:
            return spelled(self._identity.put_in(self._usage_source, reported))
        usage = usage_to_wire(reported.usage, reported.cost)
        return spelled(
            encoded({**self._identity.head(), **_top(self._extra), "choices": [], "usage": usage})
        )

    def _failure(self, fault: Fault) -> bytes:
        said = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "error"}
        return spelled(
            encoded({**self._identity.head(), "choices": [said], "error": error_object(fault)})
        )


DELTA_FIELDS = {Kind.TEXT: "content", Kind.REASONING: "reasoning_content", Kind.REFUSAL: "refusal"}


def _top(extra: dict[str, Any]) -> dict[str, Any]:
    """The provider's own fields that stand beside the choices; its creation time is not the client's."""
    return {name: value for name, value in extra.items() if name != "created"}


class BodyEncoder:
    """Frames in, one body out at the end."""

    content_type = "application/json"

    def __init__(self, call: Call, created_s: int) -> None:
        self._identity = _Identity(call, created_s, "chat.completion")
        self._folder = Folder()

    def feed(self, frames: Sequence[Frame]) -> bytes:
        for frame in frames:
            if frame.whole and frame.source is not None:
                return self._identity.put_in(frame.source, _reported(frame))
            for event in frame.events:
                if isinstance(event, Failed):
                    return encoded({"error": error_object(event.fault)})
                self._folder.add(event)
                if isinstance(event, Finished):
                    return self._body(self._folder.reply())
        return b""

    def _body(self, reply: Reply) -> bytes:
        choices = [_choice_to_wire(choice, index) for index, choice in enumerate(reply.choices)]
        body = {**self._identity.head(), **_top(reply.extra), "choices": choices}
        if reply.usage is not None:
            body["usage"] = usage_to_wire(reply.usage, reply.cost)
        return encoded(body)


def _reported(frame: Frame) -> UsageReported | None:
    return next((event for event in reversed(frame.events) if type(event) is UsageReported), None)


def _choice_to_wire(choice: Choice, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    logprobs: Any = None
    for block in choice.blocks:
        carried = seal_to_wire(block.kind, block.sealed, len(block.text)) if block.sealed else {}
        extra = dict(block.extra or {}) | carried
        logprobs = _merged_logprobs(logprobs, extra.pop("logprobs", None))
        _put_block(message, block, extra)
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": REASONS[choice.stop],
    }


def _put_block(message: dict[str, Any], block: Block, extra: dict[str, Any]) -> None:
    if block.kind is Kind.TOOL:
        calls = message.setdefault("tool_calls", [])
        if extra.pop("type", None) == "custom":
            calls.append(
                {
                    "id": block.id,
                    "type": "custom",
                    "custom": {"name": block.name, "input": block.text},
                }
            )
            return
        function = {"name": block.name, "arguments": block.text}
        calls.append({"id": block.id, "type": "function", "function": function, **extra})
    elif block.kind is Kind.AUDIO:
        message["audio"] = {**extra.pop("audio", {}), "transcript": block.text}
    elif block.kind is Kind.IMAGE:
        message.setdefault("images", []).append(_image_to_wire(block.text))
    elif block.kind in DELTA_FIELDS:
        field = DELTA_FIELDS[block.kind]
        if "reasoning_details" in extra:
            extra["reasoning_details"] = [
                *message.get("reasoning_details", ()),
                *extra["reasoning_details"],
            ]
        message |= {field: (message.get(field) or "") + block.text, **extra}


def _image_to_wire(url: str) -> dict[str, Any]:
    """An image that the model made, as OpenRouter spells it."""
    return {"type": "image_url", "image_url": {"url": url}}


def _merged_logprobs(left: Any, right: Any) -> Any:
    if not isinstance(left, dict) or not isinstance(right, dict):
        return right if left is None else left
    return {
        name: (left.get(name) or []) + (right.get(name) or []) or None for name in {*left, *right}
    }
