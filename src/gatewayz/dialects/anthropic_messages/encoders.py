"""Encoders of Anthropic Messages: frames as server-sent events, or folded into one body.

The order of a stream is fixed: `message_start`, then each block from its start to its stop, then `message_delta` with
why it stopped and the usage, then `message_stop`. Blocks come one at a time.

The echo: a frame that carries its source in this dialect is sent on to the byte, but for `message_start`, which has the
client's id and model, and the usage that closes the message, which has the cost beside it where that is known.
"""

import re
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
    Stop,
    UsageReported,
)
from gatewayz.core.replies import Block, Folder, Reply
from gatewayz.core.usage import Usage
from gatewayz.dialects.anthropic_messages.errors import error_body
from gatewayz.dialects.anthropic_messages.hear import CALL_EXTRAS, STOPS
from gatewayz.dialects.anthropic_messages.seals import carried, is_redacted
from gatewayz.dialects.anthropic_messages.usage import usage_to_wire, with_cost
from gatewayz.dialects.jsontext import decoded, encoded, fields_of
from gatewayz.dialects.sequencer import Sequencer
from gatewayz.dialects.sse import spelled

REASONS = {
    Stop.END: "end_turn",
    Stop.LENGTH: "max_tokens",
    Stop.TOOL: "tool_use",
    Stop.FILTER: "refusal",
    Stop.SEQUENCE: "stop_sequence",
}
TYPE = re.compile(rb'\{\s*"type"\s*:\s*"(\w+)"')
SAID_AS_TEXT = frozenset({Kind.TEXT, Kind.REFUSAL, Kind.AUDIO})
"""Kinds that this dialect has no block for, and whose text is not to be lost."""


def event_name(source: bytes) -> str:
    """The event that an event's data belongs to: its type, which stands first on the wire of who made this dialect."""
    found = TYPE.match(source)
    if found is not None:
        return found[1].decode()
    return str(decoded(source).get("type") or "")


class _Identity:
    """The client's id and model, not the provider's."""

    def __init__(self, call: Call) -> None:
        self.call_id = call.id
        self.head = {"id": f"msg_{call.id}", "model": call.request.model}
        self._mine = {name: Raw(encoded(value)) for name, value in self.head.items()}

    def put_in(self, source: bytes, cost: int | None = None) -> bytes:
        """A whole message with the client's id and model, and the cost beside its usage; the rest keeps its bytes."""
        fields = fields_of(source)
        if "usage" in fields and cost is not None:
            fields["usage"] = with_cost(fields["usage"], cost)
        return encoded({**fields, **self._mine})

    def put_in_start(self, source: bytes) -> bytes:
        fields = fields_of(source)
        return encoded({**fields, "message": Raw(self.put_in(bytes(fields["message"])))})


class StreamEncoder:
    """Frames in, events out."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, call: Call, created_s: int) -> None:
        self._identity = _Identity(call)
        self._sequencer = Sequencer()
        self._usage = UsageReported(Usage())
        self._end: ChoiceEnded | None = None
        self._begun = False
        self._refused = False
        self._index = -1
        self._kinds: dict[int, Kind] = {}
        self._calls: dict[int, str] = {}
        self._shown = False
        self._plain: tuple[int, bytes, bytes] | None = None

    def feed(self, frames: Sequence[Frame]) -> bytes:
        out: list[bytes] = []
        for frame in frames:
            source = frame.source
            if source is not None and not frame.whole:
                out.append(self._echo(source, frame.events))
            else:
                for event in frame.events:
                    plain = self._plain
                    if (
                        plain is not None
                        and type(event) is BlockDelta
                        and event.block == plain[0]
                        and not event.extra
                    ):
                        if event.text:
                            out.append(plain[1] + encoded(event.text) + plain[2])
                        continue
                    for one in self._sequencer.feed(event):
                        self._say(one, out)
        return b"".join(out)

    def _echo(self, source: bytes, events: tuple[Event, ...]) -> bytes:
        name = event_name(source)
        if name == "message_start":
            self._begun = True
            source = self._identity.put_in_start(source)
        elif name == "message_delta":
            costs = [
                event.cost
                for event in events
                if type(event) is UsageReported and event.cost is not None
            ]
            if costs:
                fields = fields_of(source)
                source = encoded({**fields, "usage": with_cost(fields["usage"], costs[-1])})
        if name != "content_block_delta":
            self._follow(events)
        return spelled(source, name)

    def _follow(self, events: tuple[Event, ...]) -> None:
        """Keeps in step with what is sent on, in case that the end has to be said in our own words."""
        for event in events:
            match event:
                case BlockStarted(block=block, kind=kind):
                    self._sequencer.feed(event)
                    self._kinds[block], self._index, self._shown = kind, self._index + 1, True
                case BlockEnded():
                    self._sequencer.feed(event)
                    self._shown = False
                case UsageReported():
                    self._usage = event

    def _say(self, event: Event, out: list[bytes]) -> None:
        if not self._begun and not isinstance(event, Started | UsageReported | Failed):
            self._begun = True
            out.append(self._start())
        match event:
            case BlockStarted():
                self._open(event, out)
            case BlockDelta(block=block):
                self._delta(event, self._kinds[block], out)
            case BlockEnded(block=block):
                self._close(event, self._kinds[block], out)
            case ChoiceEnded():
                self._end = self._end or event
            case UsageReported():
                self._usage = event
            case Finished():
                out += [self._message_delta(), _event("message_stop")]
            case Failed(fault=fault):
                out.append(spelled(encoded(error_body(fault, self._identity.call_id)), "error"))

    def _start(self) -> bytes:
        usage = usage_to_wire(msgspec.structs.replace(self._usage.usage, output=0, reasoning=0))
        nothing: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
        message = {
            **self._identity.head,
            "type": "message",
            "role": "assistant",
            **nothing,
            "usage": usage,
        }
        return _event("message_start", message=message)

    def _open(self, event: BlockStarted, out: list[bytes]) -> None:
        kind = self._kinds[event.block] = event.kind
        self._refused = self._refused or kind is Kind.REFUSAL
        self._shown = False
        if kind is Kind.TOOL:
            self._calls[event.block] = event.id
            self._begin({"type": "tool_use", "id": event.id, "name": event.name, "input": {}}, out)
        elif kind in SAID_AS_TEXT:
            self._begin({"type": "text", "text": ""}, out)
            self._plain = (event.block, *self._around())
        # What kind of thought it is shows with its first text, or with its seal.

    def _around(self) -> tuple[bytes, bytes]:
        """What stands around the text of the event that most events are; the open block waits for nothing."""
        delta = {"type": "text_delta", "text": ""}
        before, _, after = _event("content_block_delta", index=self._index, delta=delta).rpartition(
            b'""'
        )
        return before, after

    def _begin(self, block: dict[str, Any], out: list[bytes]) -> None:
        self._index += 1
        self._shown = True
        out.append(_event("content_block_start", index=self._index, content_block=block))

    def _more(self, out: list[bytes], **delta: Any) -> None:
        out.append(_event("content_block_delta", index=self._index, delta=delta))

    def _delta(self, event: BlockDelta, kind: Kind, out: list[bytes]) -> None:
        text, extra = event.text, event.extra or {}
        match kind:
            case Kind.TOOL if text:
                self._more(out, type="input_json_delta", partial_json=text)
            case Kind.REASONING if text:
                if not self._shown:
                    self._begin({"type": "thinking", "thinking": "", "signature": ""}, out)
                self._more(out, type="thinking_delta", thinking=text)
            case Kind.OPAQUE if "block" in extra:
                self._begin(extra["block"], out)
            case _ if kind in SAID_AS_TEXT:
                if text:
                    self._more(out, type="text_delta", text=text)
                for citation in extra.get("citations") or ():
                    self._more(out, type="citations_delta", citation=citation)

    def _close(self, event: BlockEnded, kind: Kind, out: list[bytes]) -> None:
        self._plain = None
        if event.block in self._kinds and kind is Kind.REASONING:
            self._close_thought(event.sealed, out)
        elif self._shown:
            self._stop(out)
        if event.sealed and kind is not Kind.REASONING:
            self._begin(_redacted(carried(self._calls.get(event.block, ""), event.sealed)), out)
            self._stop(out)

    def _close_thought(self, seal: str, out: list[bytes]) -> None:
        if seal and is_redacted(seal):
            self._begin(_redacted(seal), out)
        elif seal:
            if not self._shown:
                self._begin({"type": "thinking", "thinking": "", "signature": ""}, out)
            self._more(out, type="signature_delta", signature=seal)
        if self._shown:
            self._stop(out)

    def _stop(self, out: list[bytes]) -> None:
        self._shown = False
        out.append(_event("content_block_stop", index=self._index))

    def _message_delta(self) -> bytes:
        told, more = _ending(self._end, refused=self._refused)
        usage = usage_to_wire(self._usage.usage, self._usage.cost)
        return _event("message_delta", delta=told, usage=usage, **more)


class BodyEncoder:
    """Frames in, one body out at the end."""

    content_type = "application/json"

    def __init__(self, call: Call, created_s: int) -> None:
        self._identity = _Identity(call)
        self._folder = Folder()

    def feed(self, frames: Sequence[Frame]) -> bytes:
        for frame in frames:
            if frame.whole and frame.source is not None:
                costs = [event.cost for event in frame.events if type(event) is UsageReported]
                return self._identity.put_in(frame.source, costs[-1] if costs else None)
            for event in frame.events:
                if isinstance(event, Failed):
                    return encoded(error_body(event.fault, self._identity.call_id))
                self._folder.add(event)
                if isinstance(event, Finished):
                    return encoded(self._body(self._folder.reply()))
        return b""

    def _body(self, reply: Reply) -> dict[str, Any]:
        choice = reply.choices[0]
        end = ChoiceEnded(0, choice.stop, choice.raw, choice.extra)
        told, more = _ending(
            end, refused=any(block.kind is Kind.REFUSAL for block in choice.blocks)
        )
        content = [block for one in choice.blocks for block in _block_to_wire(one)]
        usage = usage_to_wire(reply.usage or Usage(), reply.cost)
        head = {**self._identity.head, "type": "message", "role": "assistant"}
        return {**head, "content": content, **told, "usage": usage, **more}


def _ending(end: ChoiceEnded | None, *, refused: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Why the model stopped, and what else this dialect tells at the end of a message."""
    end = end if end is not None else ChoiceEnded(0, Stop.END)
    reason = end.raw if STOPS.get(end.raw) is end.stop else REASONS[end.stop]
    extra = dict(end.extra or {})
    more = {name: extra.pop(name) for name in ("context_management",) if name in extra}
    if refused and end.stop is Stop.END:
        reason = REASONS[Stop.FILTER]
    return {"stop_reason": reason, "stop_sequence": None, **extra}, more


def _block_to_wire(block: Block) -> list[dict[str, Any]]:
    extra = block.extra or {}
    if block.kind is Kind.REASONING:
        return _thought_to_wire(block)
    if block.kind is Kind.OPAQUE:
        return [extra["block"]] if "block" in extra else []
    found: list[dict[str, Any]] = []
    if block.kind is Kind.TOOL:
        own = {name: extra[name] for name in CALL_EXTRAS if name in extra}
        found.append(
            {
                "type": "tool_use",
                "id": block.id,
                "name": block.name,
                "input": _input(block.text),
                **own,
            }
        )
    elif block.kind in SAID_AS_TEXT:
        own = {"citations": extra["citations"]} if extra.get("citations") else {}
        found.append({"type": "text", "text": block.text, **own})
    if found and block.sealed:
        found.append(_redacted(carried(block.id, block.sealed)))
    return found


def _thought_to_wire(block: Block) -> list[dict[str, Any]]:
    if block.sealed and is_redacted(block.sealed):
        return [_redacted(block.sealed)]
    if not block.text and not block.sealed:
        return []
    return [{"type": "thinking", "thinking": block.text, "signature": block.sealed}]


def _redacted(data: str) -> dict[str, Any]:
    return {"type": "redacted_thinking", "data": data}


def _input(text: str) -> Any:
    """The arguments as the object that they must be here; what is none stands inside of one."""
    try:
        value = decoded(text.encode()) if text.strip() else {}
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        value = text
    return value if isinstance(value, dict) else {"arguments": value}


def _event(kind: str, **fields: Any) -> bytes:
    return spelled(encoded({"type": kind, **fields}), kind)
