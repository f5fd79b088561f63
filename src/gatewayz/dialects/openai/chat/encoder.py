"""Encoders of OpenAI Chat: frames as server-sent chunks, or folded into one body.

The echo: a frame that carries its source in this dialect is sent on to the byte, with the client's
id and model put in. A stream's sources begin with the same bytes up to `choices`, so that putting
them in is one comparison.
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
from gatewayz.core.replies import Block, Choice, Reply, ReplyBuilder
from gatewayz.dialects.kit.jsontext import decode_raw_fields, encode_json
from gatewayz.dialects.kit.sse import DONE_EVENT, encode_sse
from gatewayz.dialects.openai.chat.seals import seal_to_wire
from gatewayz.dialects.openai.chat.wire import FAILED_REASON, REASONS
from gatewayz.dialects.openai.errors import error_object
from gatewayz.dialects.openai.usage import echo_usage, usage_to_wire

CHOICES = b'"choices":'
CONTENT = b'"content":""'
HEAD_FIELDS = frozenset({"id", "object", "created", "model"})


class _ChatAnswerHead:
    """What chunks and bodies of one answer begin with: the id and model that the client knows."""

    def __init__(self, call: Call, created_s: int, kind: str) -> None:
        self.id = f"chatcmpl-{call.id}"
        self.model = call.request.model
        self.created_s = created_s
        self.kind = kind
        self.raw_id, self.raw_model = Raw(encode_json(self.id)), Raw(encode_json(self.model))

    def head_fields(self) -> dict[str, Any]:
        return {"id": self.id, "object": self.kind, "created": self.created_s, "model": self.model}

    def rewrite_source(self, source: bytes, reported: UsageReported | None = None) -> bytes:
        """The source with the client's id and model, and the cost; the rest to the byte."""
        fields = decode_raw_fields(source)
        if reported is not None:
            fields["usage"] = echo_usage(fields.get("usage"), reported)
        head = {name: Raw(encode_json(value)) for name, value in self.head_fields().items()}
        own = {"id": self.raw_id, "model": self.raw_model}
        return encode_json({**head, **fields, **own})


class ChatStreamEncoder:
    """Frames in, chunks out."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, call: Call, created_s: int) -> None:
        self._answer_head = _ChatAnswerHead(call, created_s, "chat.completion.chunk")
        self._head_fields = self._answer_head.head_fields()
        self._wants_usage = call.request.wants_usage
        self._prefix, self._own_prefix = b"", b""
        self._usage: UsageReported | None = None
        self._usage_source: bytes | None = None
        self._usage_sent = False
        self._choices_with_role: set[int] = set()
        self._blocks: dict[int, tuple[Kind, int, int]] = {}
        self._reasoning_lengths: dict[int, int] = {}
        self._envelopes: dict[int, tuple[bytes, bytes]] = {}
        self._last_source = b""

    def feed(self, frames: Sequence[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            source = frame.source
            if source is None or frame.whole:
                for event in frame.events:
                    # More of an open text goes into the envelope of the chunk before it.
                    if (
                        type(event) is BlockDelta
                        and event.block in self._envelopes
                        and not event.extra
                    ):
                        before, after = self._envelopes[event.block]
                        out.append(before + encode_json(event.text) + after)
                    else:
                        self._encode_event(event, out)
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
        self._choices_with_role.update(
            event.choice for event in frame.events if type(event) is BlockStarted
        )
        out.append(self._echo(source))

    def _echo(self, source: bytes) -> bytes:
        prefix = self._prefix
        self._last_source = source
        if prefix and source.startswith(prefix):
            return b"data: " + self._own_prefix + source[len(prefix) :] + b"\n\n"
        self._learn_prefix(source)
        return encode_sse(self._answer_head.rewrite_source(source))

    def _learn_prefix(self, source: bytes) -> None:
        """Remembers what stands before `choices`, if it is a whole head: later ones are alike."""
        head, separator, _ = source.partition(CHOICES)
        if not separator:
            return
        try:
            fields = decode_raw_fields(head.rstrip(b", \n\r\t") + b"}")
        except msgspec.DecodeError:
            return
        if fields.keys() >= HEAD_FIELDS:
            own = fields | {"id": self._answer_head.raw_id, "model": self._answer_head.raw_model}
            self._prefix, self._own_prefix = head, encode_json(own)[:-1] + b","

    def _encode_event(self, event: Event, out: list[bytes]) -> None:
        match event:
            case Started(extra=extra):
                self._head_fields |= _top_level_fields(extra)
            case BlockStarted(block=block, kind=kind, choice=choice):
                out.append(self._open_block(event, block, kind, choice))
            case BlockDelta(block=block):
                out.append(self._delta_chunk(event, *self._blocks[block]))
            case BlockEnded(block=block, sealed=seal) if seal:
                kind, number, index = self._blocks[block]
                extra = seal_to_wire(kind, seal, self._reasoning_lengths.pop(block, 0))
                out.append(self._delta_chunk(BlockDelta(block, "", extra), kind, number, index))
            case BlockEnded():
                pass
            case ChoiceEnded(choice=choice, stop=stop):
                out.append(self._chunk(choice, {}, REASONS[stop]))
            case UsageReported(final=final):
                self._usage = event
                out.append(self._usage_chunk() if final else b"")
            case Finished():
                out += [self._usage_chunk(), DONE_EVENT]
            case Failed(fault=fault):
                out += [self._usage_chunk(), self._error_chunk(fault)]

    def _open_block(self, event: BlockStarted, block: int, kind: Kind, choice: int) -> bytes:
        siblings = [other for other in self._blocks.values() if other[:2] == (Kind.TOOL, choice)]
        index = len(siblings)
        self._blocks[block] = (kind, choice, index)
        if kind is not Kind.TOOL:
            return b""
        function = {"name": event.name, "arguments": ""}
        call = {"index": index, "id": event.id, "type": "function", "function": function}
        return self._chunk(choice, {"tool_calls": [call]}, None)

    def _text_envelope(self, choice: int) -> tuple[bytes, bytes]:
        """What stands around the text in a chunk that is text only."""
        before, _, after = self._chunk(choice, {"content": ""}, None).partition(CONTENT)
        return before + CONTENT[:-2], after

    def _delta_chunk(self, event: BlockDelta, kind: Kind, choice: int, index: int) -> bytes:
        extra = event.extra or {}
        if kind is Kind.TEXT and choice in self._choices_with_role:
            self._envelopes[event.block] = self._text_envelope(choice)
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
                length = self._reasoning_lengths.get(event.block, 0)
                self._reasoning_lengths[event.block] = length + len(event.text)
        else:
            # What only the provider's dialect knows has no place here.
            return b""
        return self._chunk(choice, delta, None, extra.get("logprobs"))

    def _chunk(
        self, choice: int, delta: dict[str, Any], reason: str | None, logprobs: Any = None
    ) -> bytes:
        if choice not in self._choices_with_role:
            self._choices_with_role.add(choice)
            delta = {"role": "assistant", **delta}
        item = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return encode_sse(encode_json({**self._head_fields, "choices": [item]}))

    def _usage_chunk(self) -> bytes:
        reported = self._usage
        if not self._wants_usage or reported is None or self._usage_sent:
            return b""
        self._usage_sent = True
        if self._usage_source is not None:
            return encode_sse(self._answer_head.rewrite_source(self._usage_source, reported))
        usage = usage_to_wire(reported.usage, reported.cost)
        return encode_sse(encode_json({**self._head_fields, "choices": [], "usage": usage}))

    def _error_chunk(self, fault: Fault) -> bytes:
        """A last chunk with the error, and the error alone.

        Clients whose parser takes a chunk for a chunk find it there (`@ai-sdk/openai`'s schema is
        a chunk or `{"error": …}`); the others stop at the first.
        """
        item = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": FAILED_REASON}
        head, error = dict(self._head_fields), error_object(fault)
        if self._last_source:
            # What was echoed has its provider's moment, and one answer has one.
            created = decode_raw_fields(self._last_source).get("created")
            head |= {"created": created} if created is not None else {}
        return encode_sse(encode_json({**head, "choices": [item], "error": error})) + encode_sse(
            encode_json({"error": error})
        )


DELTA_FIELDS = {Kind.TEXT: "content", Kind.REASONING: "reasoning_content", Kind.REFUSAL: "refusal"}


def _top_level_fields(extra: dict[str, Any]) -> dict[str, Any]:
    """The provider's own fields beside the choices; its creation time is not the client's."""
    return {name: value for name, value in extra.items() if name != "created"}


class ChatBodyEncoder:
    """Frames in, one body out at the end."""

    content_type = "application/json"

    def __init__(self, call: Call, created_s: int) -> None:
        self._answer_head = _ChatAnswerHead(call, created_s, "chat.completion")
        self._folder = ReplyBuilder()

    def feed(self, frames: Sequence[Frame]) -> bytes:
        for frame in frames:
            if frame.whole and frame.source is not None:
                return self._answer_head.rewrite_source(frame.source, frame.usage)
            for event in frame.events:
                if isinstance(event, Failed):
                    return encode_json({"error": error_object(event.fault)})
                self._folder.add(event)
                if isinstance(event, Finished):
                    return self._body(self._folder.reply())
        return b""

    def _body(self, reply: Reply) -> bytes:
        choices = [_choice_to_wire(choice, index) for index, choice in enumerate(reply.choices)]
        body = {
            **self._answer_head.head_fields(),
            **_top_level_fields(reply.extra),
            "choices": choices,
        }
        if reply.usage is not None:
            body["usage"] = usage_to_wire(reply.usage, reply.cost)
        return encode_json(body)


def _choice_to_wire(choice: Choice, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    logprobs: Any = None
    for block in choice.blocks:
        sealed = seal_to_wire(block.kind, block.sealed, len(block.text)) if block.sealed else {}
        extra = dict(block.extra or {}) | sealed
        logprobs = _merge_logprobs(logprobs, extra.pop("logprobs", None))
        _add_block(message, block, extra)
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs,
        "finish_reason": REASONS[choice.stop],
    }


def _add_block(message: dict[str, Any], block: Block, extra: dict[str, Any]) -> None:
    if block.kind is Kind.TOOL:
        calls = message.setdefault("tool_calls", [])
        if extra.pop("type", None) == "custom":
            custom = {"name": block.name, "input": block.text}
            calls.append({"id": block.id, "type": "custom", "custom": custom})
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
            before = message.get("reasoning_details", ())
            extra["reasoning_details"] = [*before, *extra["reasoning_details"]]
        message |= {field: (message.get(field) or "") + block.text, **extra}


def _image_to_wire(url: str) -> dict[str, Any]:
    """An image that the model made, in OpenRouter's form."""
    return {"type": "image_url", "image_url": {"url": url}}


def _merge_logprobs(left: Any, right: Any) -> Any:
    if not isinstance(left, dict) or not isinstance(right, dict):
        return right if left is None else left
    return {
        name: (left.get(name) or []) + (right.get(name) or []) or None for name in {*left, *right}
    }
