"""Encoders of Anthropic Messages: frames as server-sent events, or folded into one body.

The order of a stream is fixed: `message_start`, then each block from its start to its stop, then
`message_delta` with why it stopped and the usage, then `message_stop`. Blocks come one at a time.

The echo: a frame that carries its source in this dialect is sent on to the byte, but for
`message_start`, which has the client's id and model, and the usage that closes the message, which
has the cost beside it where that is known.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

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
    Stop,
    UsageReported,
)
from gatewayz.core.replies import Block, Reply, ReplyBuilder
from gatewayz.core.usage import Usage
from gatewayz.dialects.anthropic.echo import MessageHead, event_name
from gatewayz.dialects.anthropic.errors import error_body
from gatewayz.dialects.anthropic.seals import carrier_from_seal, is_redacted
from gatewayz.dialects.anthropic.tools import tool_input
from gatewayz.dialects.anthropic.usage import echo_usage, usage_to_wire
from gatewayz.dialects.anthropic.wire import CALL_EXTRAS, STOP_REASONS, STOPS, WireBlock
from gatewayz.dialects.kit.jsontext import decode_raw_fields, encode_json
from gatewayz.dialects.kit.sequencer import Sequencer
from gatewayz.dialects.kit.sse import encode_sse
from gatewayz.dialects.kit.tool_turns import AnswerIds

TEXT_KINDS = frozenset({Kind.TEXT, Kind.REFUSAL, Kind.AUDIO})
"""Kinds that are written as text: a refusal's words and a sound's transcript are not lost."""
PLAIN_END = {"stop_reason": STOP_REASONS[Stop.END], "stop_sequence": None}
ONLY_END = encode_json({"type": "message_delta", "delta": PLAIN_END})
MESSAGE_ENDS = frozenset({"message_stop", "error"})
"""Events after which nothing comes."""


class MessagesStreamEncoder:
    """Frames in, events out."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, call: Call, created_s: int) -> None:
        self._head = MessageHead(call)
        self._sequencer = Sequencer()
        self._usage = UsageReported(Usage())
        self._end: ChoiceEnded | None = None
        self._delta_without_usage = b""
        self._has_delta = False
        self._started = False
        self._refusal: str | None = None
        self._index = -1
        self._kinds: dict[int, Kind] = {}
        self._calls: dict[int, str] = {}
        self._ids = AnswerIds(call.request)
        self._start_written = False
        # The block of the open text, and what stands around its text in an event.
        self._open_text: tuple[int, bytes, bytes] | None = None

    def feed(self, frames: Sequence[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            source = frame.source
            if source is not None and not frame.whole:
                out.append(self._echo(source, frame.events))
            else:
                for event in frame.events:
                    # More of an open text goes into the envelope of the event before it.
                    open_text = self._open_text
                    if (
                        open_text is not None
                        and type(event) is BlockDelta
                        and event.block == open_text[0]
                        and not event.extra
                    ):
                        if event.text:
                            out.append(open_text[1] + encode_json(event.text) + open_text[2])
                        continue
                    for released in self._sequencer.feed(event):
                        self._write_event(released, out)
        return b"".join(out)

    def _echo(self, source: bytes, events: tuple[Event, ...]) -> bytes:
        name = event_name(source)
        if name == "message_start":
            self._started = True
            source = self._head.rewrite_start(source)
        elif name == "message_stop" and not self._has_delta:
            # An imitator that says nothing of the end: the usage is told all the same.
            self._delta_without_usage = ONLY_END
        elif name == "message_delta" and not any(type(one) is UsageReported for one in events):
            # What is estimated is known with the end, which follows.
            self._delta_without_usage, self._has_delta = source, True
            return b""
        elif name == "message_delta":
            self._has_delta = True
            source = self._with_usage(source, events)
        # Deltas, which are most events, change nothing that an end in our own words would need.
        if name != "content_block_delta":
            self._track_events(events)
        released = self._release_delta() if name in MESSAGE_ENDS else b""
        return released + encode_sse(source, name)

    def _with_usage(self, source: bytes, events: tuple[Event, ...]) -> bytes:
        """A `message_delta` with the usage that is charged, without which SDKs break."""
        reports = [event for event in events if type(event) is UsageReported]
        fields = decode_raw_fields(source)
        own = fields.get("usage")
        usage = echo_usage(own, reports[-1] if reports else None)
        delta: Any = fields.get("delta")
        has_delta = delta is not None and bytes(delta) != b"null"
        if usage is own and has_delta:
            return source
        return encode_json({**fields, "delta": delta if has_delta else PLAIN_END, "usage": usage})

    def _release_delta(self) -> bytes:
        """The `message_delta` that waited for its usage, before what ends the message."""
        source, self._delta_without_usage = self._delta_without_usage, b""
        if not source:
            return b""
        return encode_sse(self._with_usage(source, (self._usage,)), "message_delta")

    def _track_events(self, events: tuple[Event, ...]) -> None:
        """Follows what is sent on, in case the end has to be said in our own words."""
        for event in events:
            match event:
                case BlockStarted(block=block, kind=kind):
                    self._sequencer.feed(event)
                    self._kinds[block] = kind
                    self._index += 1
                    self._start_written = True
                case BlockEnded():
                    self._sequencer.feed(event)
                    self._start_written = False
                case UsageReported():
                    self._usage = event

    def _write_event(self, event: Event, out: list[bytes]) -> None:
        if not self._started and not isinstance(event, Started | UsageReported | Failed):
            self._started = True
            out.append(self._message_start())

        match event:
            case BlockStarted():
                self._open_block(event, out)
            case BlockDelta(block=block):
                self._write_delta(event, self._kinds[block], out)
            case BlockEnded(block=block):
                self._close_block(event, self._kinds[block], out)
            case ChoiceEnded():
                self._end = self._end or event
            case UsageReported():
                self._usage = event
            case Finished():
                out += [self._message_delta(), _event("message_stop")]
            case Failed(fault=fault):
                body = error_body(fault, self._head.call_id)
                out.append(encode_sse(encode_json(body), "error"))

    def _message_start(self) -> bytes:
        usage = usage_to_wire(replace(self._usage.usage, output=0, reasoning=0))
        message: dict[str, Any] = {
            **self._head.fields,
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        return _event("message_start", message=message)

    def _open_block(self, event: BlockStarted, out: list[bytes]) -> None:
        kind = self._kinds[event.block] = event.kind
        if kind is Kind.REFUSAL:
            self._refusal = self._refusal or ""
        self._start_written = False
        if kind is Kind.TOOL:
            call_id = self._calls[event.block] = self._ids.unique(event.id)
            block = {"type": "tool_use", "id": call_id, "name": event.name, "input": {}}
            self._emit_block_start(block, out)
        elif kind in TEXT_KINDS:
            self._emit_block_start({"type": "text", "text": ""}, out)
            # The words of a refusal are told once more with why the model stopped.
            if kind is not Kind.REFUSAL:
                self._open_text = (event.block, *self._text_delta_envelope())
        # What kind of thought it is shows with its first text, or with its seal.

    def _text_delta_envelope(self) -> tuple[bytes, bytes]:
        """What stands around the text in the event that most events are."""
        delta = {"type": "text_delta", "text": ""}
        event = _event("content_block_delta", index=self._index, delta=delta)
        before, _, after = event.rpartition(b'""')
        return before, after

    def _emit_block_start(self, block: WireBlock, out: list[bytes]) -> None:
        self._index += 1
        self._start_written = True
        out.append(_event("content_block_start", index=self._index, content_block=block))

    def _emit_block_delta(self, out: list[bytes], **delta: Any) -> None:
        out.append(_event("content_block_delta", index=self._index, delta=delta))

    def _write_delta(self, event: BlockDelta, kind: Kind, out: list[bytes]) -> None:
        text, extra = event.text, event.extra or {}
        match kind:
            case Kind.TOOL if text:
                self._emit_block_delta(out, type="input_json_delta", partial_json=text)
            case Kind.REASONING if text:
                if not self._start_written:
                    self._emit_block_start(_empty_thinking(), out)
                self._emit_block_delta(out, type="thinking_delta", thinking=text)
            case Kind.OPAQUE if "block" in extra:
                self._emit_block_start(extra["block"], out)
            case _ if kind in TEXT_KINDS:
                if kind is Kind.REFUSAL:
                    self._refusal = (self._refusal or "") + text
                if text:
                    self._emit_block_delta(out, type="text_delta", text=text)
                for citation in extra.get("citations") or ():
                    self._emit_block_delta(out, type="citations_delta", citation=citation)

    def _close_block(self, event: BlockEnded, kind: Kind, out: list[bytes]) -> None:
        self._open_text = None
        if event.block in self._kinds and kind is Kind.REASONING:
            self._close_thinking(event.sealed, out)
        elif self._start_written:
            self._emit_block_stop(out)
        if event.sealed and kind is not Kind.REASONING:
            # Neither a text nor a call has a place for a seal here: it comes in a block of its own.
            carrier = carrier_from_seal(self._calls.get(event.block, ""), event.sealed)
            self._emit_block_start(_redacted_thinking(carrier), out)
            self._emit_block_stop(out)

    def _close_thinking(self, seal: str, out: list[bytes]) -> None:
        if seal and is_redacted(seal):
            self._emit_block_start(_redacted_thinking(seal), out)
        elif seal:
            if not self._start_written:
                self._emit_block_start(_empty_thinking(), out)
            self._emit_block_delta(out, type="signature_delta", signature=seal)
        if self._start_written:
            self._emit_block_stop(out)

    def _emit_block_stop(self, out: list[bytes]) -> None:
        self._start_written = False
        out.append(_event("content_block_stop", index=self._index))

    def _message_delta(self) -> bytes:
        stop, beside = _stop_fields(self._end, self._refusal)
        usage = usage_to_wire(self._usage.usage, self._usage.cost)
        return _event("message_delta", delta=stop, usage=usage, **beside)


class MessagesBodyEncoder:
    """Frames in, one body out at the end."""

    content_type = "application/json"

    def __init__(self, call: Call, created_s: int) -> None:
        self._head = MessageHead(call)
        self._ids = AnswerIds(call.request)
        self._builder = ReplyBuilder()

    def feed(self, frames: Sequence[Frame]) -> bytes:
        for frame in frames:
            if frame.whole and frame.source is not None:
                return self._head.rewrite_message(frame.source, frame.usage)
            for event in frame.events:
                if isinstance(event, Failed):
                    return encode_json(error_body(event.fault, self._head.call_id))
                self._builder.add(event)
                if isinstance(event, Finished):
                    return encode_json(self._body(self._builder.reply()))
        return b""

    def _body(self, reply: Reply) -> dict[str, Any]:
        choice = reply.choices[0]
        end = ChoiceEnded(0, choice.stop, choice.raw, choice.extra)
        refusals = [block.text for block in choice.blocks if block.kind is Kind.REFUSAL]
        stop, beside = _stop_fields(end, "".join(refusals) if refusals else None)
        return {
            **self._head.fields,
            "type": "message",
            "role": "assistant",
            "content": [wire for block in choice.blocks for wire in self._blocks_to_wire(block)],
            **stop,
            "usage": usage_to_wire(reply.usage or Usage(), reply.cost),
            **beside,
        }

    def _blocks_to_wire(self, block: Block) -> list[WireBlock]:
        is_call = block.kind is Kind.TOOL
        return _blocks_to_wire(replace(block, id=self._ids.unique(block.id)) if is_call else block)


def _stop_fields(
    end: ChoiceEnded | None, refusal: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Why the model stopped, and what stands beside that at the end of a message."""
    end = end if end is not None else ChoiceEnded(0, Stop.END)
    # The provider's own word says more, where it is one of this dialect's.
    reason = end.raw if STOPS.get(end.raw) is end.stop else STOP_REASONS[end.stop]
    extra = dict(end.extra or {})
    if refusal is not None and end.stop in {Stop.END, Stop.FILTER}:
        reason = STOP_REASONS[Stop.FILTER]
        details = {"type": "refusal", "category": None, "explanation": refusal}
        extra.setdefault("stop_details", details)
    beside = {name: extra.pop(name) for name in ("context_management",) if name in extra}
    return {"stop_reason": reason, "stop_sequence": None, **extra}, beside


def _blocks_to_wire(block: Block) -> list[WireBlock]:
    """A block of the reply, with the one that carries its seal."""
    extra = block.extra or {}
    if block.kind is Kind.REASONING:
        return _thinking_to_wire(block)
    if block.kind is Kind.OPAQUE:
        return [extra["block"]] if "block" in extra else []

    wire: WireBlock
    if block.kind is Kind.TOOL:
        call = {"id": block.id, "name": block.name, "input": tool_input(block.text)}
        own = {name: extra[name] for name in CALL_EXTRAS if name in extra}
        wire = {"type": "tool_use", **call, **own}
    elif block.kind in TEXT_KINDS:
        own = {"citations": extra["citations"]} if extra.get("citations") else {}
        wire = {"type": "text", "text": block.text, **own}
    else:
        return []
    if not block.sealed:
        return [wire]
    return [wire, _redacted_thinking(carrier_from_seal(block.id, block.sealed))]


def _thinking_to_wire(block: Block) -> list[WireBlock]:
    if block.sealed and is_redacted(block.sealed):
        return [_redacted_thinking(block.sealed)]
    if not block.text and not block.sealed:
        return []
    return [{"type": "thinking", "thinking": block.text, "signature": block.sealed}]


def _empty_thinking() -> WireBlock:
    return {"type": "thinking", "thinking": "", "signature": ""}


def _redacted_thinking(data: str) -> WireBlock:
    return {"type": "redacted_thinking", "data": data}


def _event(kind: str, **fields: Any) -> bytes:
    return encode_sse(encode_json({"type": kind, **fields}), kind)
