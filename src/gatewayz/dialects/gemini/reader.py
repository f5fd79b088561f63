"""Reading an answer: candidates' parts as events, and why each candidate stopped."""

import re
from hashlib import blake2s
from typing import Any

from msgspec import Struct

from gatewayz.core.events import (
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Finished,
    Kind,
    Started,
    Stop,
    UsageReported,
)
from gatewayz.core.faults import Fault
from gatewayz.core.seal import seal
from gatewayz.dialects.gemini.errors import fault_from_body
from gatewayz.dialects.gemini.logprobs import logprobs_from_wire
from gatewayz.dialects.gemini.messages import LOCAL_ID_PREFIX
from gatewayz.dialects.gemini.usage import UsageReports
from gatewayz.dialects.gemini.wire import (
    GeminiWireCall,
    GeminiWireChunk,
    WireBlob,
    WireCandidate,
    WireContent,
    WirePart,
)
from gatewayz.dialects.kit.base import DecodeOptions
from gatewayz.dialects.kit.images import data_url
from gatewayz.dialects.kit.jsontext import encode_json

STOPS = {
    "STOP": Stop.END,
    "MAX_TOKENS": Stop.LENGTH,
    "SAFETY": Stop.FILTER,
    "RECITATION": Stop.FILTER,
    "LANGUAGE": Stop.FILTER,
    "BLOCKLIST": Stop.FILTER,
    "PROHIBITED_CONTENT": Stop.FILTER,
    "SPII": Stop.FILTER,
    "MODEL_ARMOR": Stop.FILTER,
    "IMAGE_SAFETY": Stop.FILTER,
    "IMAGE_PROHIBITED_CONTENT": Stop.FILTER,
    "IMAGE_RECITATION": Stop.FILTER,
}
FAILURE_REASONS = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
        "OTHER",
        "NO_IMAGE",
        "IMAGE_OTHER",
    }
)
"""Reasons that are no end of an answer: another attempt may get one (Candidate.FinishReason)."""
UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"
MAX_CHOICE_INDEX = 127
"""A higher index is taken for this one."""
ID_CHARACTERS = re.compile(r"[^A-Za-z0-9_-]")


class _OpenText(Struct):
    """The block of text, thought or sound that is open; `sealed` is its signature."""

    kind: Kind
    block: int
    sealed: str = ""


class _CandidateReader:
    """One candidate so far; the numbers of its blocks are the whole response's."""

    def __init__(self, number: int, response: "GeminiResponseReader") -> None:
        self.number = number
        self.ended = False
        self._response = response
        self._open: _OpenText | None = None
        self._calls = 0

    def plain_text_delta(self, text: str) -> BlockDelta | None:
        """More of the text that is open; `None` where no text is."""
        block = self._open
        if block is None or block.kind is not Kind.TEXT:
            return None
        return BlockDelta(block.block, text)

    def read_part(self, part: WirePart, events: list[Event]) -> None:
        signature = part.thought_signature or ""
        if signature:
            signature = seal(self._response.options.provider, signature)

        if part.function_call is not None:
            self._read_call(part.function_call, signature, events)
        elif part.inline_data is not None:
            self._read_media(part.inline_data, events)
        elif part.text or signature:
            self._read_text(part, signature, events)

    def _read_text(self, part: WirePart, seal: str, events: list[Event]) -> None:
        kind = Kind.REASONING if part.thought else Kind.TEXT
        if part.text or self._open is None:
            self._emit(kind, part.text or "", events)
        # A stream may sign its words with an empty part after them.
        if seal and self._open is not None:
            self._open.sealed = seal

    def _read_media(self, blob: WireBlob, events: list[Event]) -> None:
        if blob.mime_type.startswith("audio/"):
            self._emit(Kind.AUDIO, "", events, {"audio": {"data": blob.data}})
        else:
            url = data_url(blob.data, blob.mime_type)
            image = {"type": "image_url", "image_url": {"url": url}}
            self._emit(Kind.TEXT, "", events, {"images": [image]})

    def add_logprobs(self, result: Any, events: list[Event]) -> None:
        logprobs = logprobs_from_wire(result)
        if logprobs is not None:
            self._emit(Kind.TEXT, "", events, {"logprobs": logprobs})

    def _emit(
        self, kind: Kind, text: str, events: list[Event], extra: dict[str, Any] | None = None
    ) -> None:
        if self._open is None or self._open.kind is not kind:
            self._close_block(events)
            self._open = _OpenText(kind, self._response.next_block())
            events.append(BlockStarted(self._open.block, kind, choice=self.number))
        if text or extra:
            events.append(BlockDelta(self._open.block, text, extra))

    def _close_block(self, events: list[Event]) -> None:
        if self._open is not None:
            events.append(BlockEnded(self._open.block, self._open.sealed))
            self._open = None

    def _read_call(self, call: GeminiWireCall, seal: str, events: list[Event]) -> None:
        """A call comes whole; it is a block of its own, signature and all."""
        self._close_block(events)

        block, arguments = self._response.next_block(), encode_json(call.args or {}).decode()
        call_id = call.id or self._response.make_call_id(
            self.number, self._calls, f"{call.name}{arguments}"
        )
        self._calls += 1

        name = call.name or ""
        name = self._response.options.tool_names.get(name, name)
        events.append(BlockStarted(block, Kind.TOOL, call_id, name, self.number))
        events.append(BlockDelta(block, arguments))
        events.append(BlockEnded(block, seal))

    def finish(self, reason: str, stop: Stop, events: list[Event]) -> None:
        self._close_block(events)
        self.ended = True
        # Gemini has no reason of its own for a turn that ends with calls.
        if self._calls and stop is Stop.END:
            stop = Stop.TOOL
        events.append(ChoiceEnded(self.number, stop, reason))


class GeminiResponseReader:
    """An answer under way; `read_chunk` and `finish` raise the fault that it turns out to be."""

    def __init__(self, options: DecodeOptions) -> None:
        self.options = options
        self._choices: dict[int, _CandidateReader] = {}
        self._started = False
        self._last_block = -1
        self._response_id = ""
        self._reports = UsageReports()

    def next_block(self) -> int:
        self._last_block += 1
        return self._last_block

    def make_call_id(self, choice: int, number: int, call: str) -> str:
        """An id for a call that came without one, the same however the bytes were cut."""
        answer = ID_CHARACTERS.sub("", self._response_id)
        if not answer:
            answer = blake2s(call.encode(), digest_size=9).hexdigest()
        return f"{LOCAL_ID_PREFIX}{answer[:40]}_{choice}_{number}"

    def _plain_text_delta(self, candidates: list[WireCandidate]) -> BlockDelta | None:
        """The event of the chunk that most chunks are: more of one candidate's text, and usage."""
        candidate = candidates[0]
        choice = self._choices.get(candidate.index or 0)
        parts = candidate.content.parts if candidate.content is not None else None
        if choice is None or choice.ended or len(candidates) > 1 or not parts or not parts[0].text:
            return None
        text_only = WireCandidate(candidate.index, WireContent([WirePart(parts[0].text)]))
        return choice.plain_text_delta(parts[0].text) if candidate == text_only else None

    def read_chunk(self, chunk: GeminiWireChunk, source: bytes, events: list[Event]) -> None:
        """Adds what a chunk says to `events`.

        Faults: what it reports, and answers that are none.
        """
        if chunk.error:
            raise fault_from_body(source)

        if not self._started:
            self._started = True
            self._response_id = chunk.response_id or ""
            events.append(Started(self._response_id, chunk.model_version or ""))
        if chunk.usage_metadata is not None:
            usage = self._reports.read(chunk.usage_metadata)
            if usage is not None:
                events.append(UsageReported(usage))

        delta = self._plain_text_delta(chunk.candidates) if chunk.candidates else None
        if delta is not None:
            events.append(delta)
            return

        for position, candidate in enumerate(chunk.candidates or ()):
            self._read_candidate(candidate, position, events)

        feedback = chunk.prompt_feedback
        if feedback is not None and feedback.block_reason and not chunk.candidates:
            self._end_blocked_prompt(feedback.block_reason, events)

    def _read_candidate(self, candidate: WireCandidate, position: int, events: list[Event]) -> None:
        index = candidate.index
        number = position if index is None else min(max(index, 0), MAX_CHOICE_INDEX)
        choice = self._choices.setdefault(number, _CandidateReader(number, self))
        if choice.ended:
            return

        parts = candidate.content.parts if candidate.content is not None else None
        for part in parts or ():
            choice.read_part(part, events)
        if candidate.logprobs_result is not None:
            choice.add_logprobs(candidate.logprobs_result, events)

        reason = candidate.finish_reason
        if reason and reason != UNSPECIFIED:
            self._end_candidate(choice, reason, candidate.finish_message or "", events)

    def _end_candidate(
        self, choice: _CandidateReader, reason: str, message: str, events: list[Event]
    ) -> None:
        if reason in FAILURE_REASONS:
            detail = f": {message[:200]}" if message else ""
            raise Fault("upstream_error", f"the provider's answer failed ({reason}){detail}")
        choice.finish(reason, STOPS.get(reason, Stop.END), events)

    def _end_blocked_prompt(self, reason: str, events: list[Event]) -> None:
        """The prompt was blocked: there are no candidates, and that is the answer."""
        for number in range(self.options.choices):
            choice = self._choices.setdefault(number, _CandidateReader(number, self))
            if not choice.ended:
                choice.finish(reason, Stop.FILTER, events)

    def finish(self, events: list[Event]) -> None:
        """The end of the bytes. Faults: `upstream_cut` unless every choice said why it stopped."""
        if not self._started:
            raise Fault("upstream_broken", "the provider sent an empty answer")
        if not self._choices:
            raise Fault("upstream_broken", "the provider sent an answer without candidates")
        ended = [choice for choice in self._choices.values() if choice.ended]
        if len(ended) < len(self._choices) or len(ended) < self.options.choices:
            raise Fault("upstream_cut", "the provider's answer ended before it was complete")
        events.append(Finished())
