"""Hearing an answer: candidates' parts as events, and why each candidate stopped."""

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
from gatewayz.core.seal import sealed
from gatewayz.dialects.base import Reading
from gatewayz.dialects.gemini.chunks import (
    WireBlob,
    WireCall,
    WireCandidate,
    WireChunk,
    WireContent,
    WirePart,
)
from gatewayz.dialects.gemini.contents import MADE_UP
from gatewayz.dialects.gemini.errors import said_no
from gatewayz.dialects.gemini.logprobs import logprobs_from_wire
from gatewayz.dialects.gemini.media import data_url
from gatewayz.dialects.gemini.usage import Reports
from gatewayz.dialects.jsontext import encoded

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
FAILURES = frozenset(
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
ID_CHARACTERS = re.compile(r"[^A-Za-z0-9_-]")


class _Prose(Struct):
    kind: Kind
    block: int
    sealed: str = ""


class _Choice:
    """One candidate so far."""

    def __init__(self, number: int, hearing: "Hearing") -> None:
        self.number = number
        self.ended = False
        self.said = False
        self._hearing = hearing
        self._prose: _Prose | None = None
        self._calls = 0

    def plain(self, text: str) -> BlockDelta | None:
        """More of the text that is open."""
        prose = self._prose
        return (
            BlockDelta(prose.block, text) if prose is not None and prose.kind is Kind.TEXT else None
        )

    def part(self, part: WirePart, events: list[Event]) -> None:
        seal = (
            sealed(self._hearing.reading.provider, part.thought_signature)
            if part.thought_signature
            else ""
        )
        if part.function_call is not None:
            self._call(part.function_call, seal, events)
        elif part.inline_data is not None:
            self._media(part.inline_data, events)
        elif part.text or seal:
            self._text(part, seal, events)

    def _text(self, part: WirePart, seal: str, events: list[Event]) -> None:
        kind = Kind.REASONING if part.thought else Kind.TEXT
        if part.text or self._prose is None:
            self._say(kind, part.text or "", events)
        # A stream may sign its words with an empty part after them.
        if seal and self._prose is not None:
            self._prose.sealed = seal

    def _media(self, blob: WireBlob, events: list[Event]) -> None:
        if blob.mime_type.startswith("audio/"):
            self._say(Kind.AUDIO, "", events, {"audio": {"data": blob.data}})
        else:
            url = data_url(blob.mime_type, blob.data)
            self._say(
                Kind.TEXT,
                "",
                events,
                {"images": [{"type": "image_url", "image_url": {"url": url}}]},
            )

    def say_logprobs(self, told: Any, events: list[Event]) -> None:
        found = logprobs_from_wire(told)
        if found is not None:
            self._say(Kind.TEXT, "", events, {"logprobs": found})

    def _say(
        self, kind: Kind, text: str, events: list[Event], extra: dict[str, Any] | None = None
    ) -> None:
        self.said = True
        if self._prose is None or self._prose.kind is not kind:
            self._close(events)
            self._prose = _Prose(kind, self._hearing.next_block())
            events.append(BlockStarted(self._prose.block, kind, choice=self.number))
        if text or extra:
            events.append(BlockDelta(self._prose.block, text, extra))

    def _close(self, events: list[Event]) -> None:
        if self._prose is not None:
            events.append(BlockEnded(self._prose.block, self._prose.sealed))
            self._prose = None

    def _call(self, call: WireCall, seal: str, events: list[Event]) -> None:
        """A call comes whole; it is a block of its own, signature and all."""
        self._close(events)
        self.said = True
        block, arguments = self._hearing.next_block(), encoded(call.args or {}).decode()
        call_id = call.id or self._hearing.made_up(
            self.number, self._calls, f"{call.name}{arguments}"
        )
        self._calls += 1
        events.append(BlockStarted(block, Kind.TOOL, call_id, call.name or "", self.number))
        events.append(BlockDelta(block, arguments))
        events.append(BlockEnded(block, seal))

    def end(self, reason: str, stop: Stop, events: list[Event]) -> None:
        self._close(events)
        self.ended = True
        events.append(
            ChoiceEnded(
                self.number, Stop.TOOL if self._calls and stop is Stop.END else stop, reason
            )
        )


class Hearing:
    """An answer under way; `chunk` and `end` raise the fault that it is."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self._choices: dict[int, _Choice] = {}
        self._started = False
        self._blocks = -1
        self._response = ""
        self._reports = Reports()

    def next_block(self) -> int:
        self._blocks += 1
        return self._blocks

    def made_up(self, choice: int, number: int, call: str) -> str:
        """An id for a call that came without one, the same however the answer was cut."""
        answer = (
            ID_CHARACTERS.sub("", self._response)
            or blake2s(call.encode(), digest_size=9).hexdigest()
        )
        return f"{MADE_UP}{answer[:40]}_{choice}_{number}"

    def _plain(self, candidates: list[WireCandidate]) -> BlockDelta | None:
        """The event of the chunk that most chunks are: more of one candidate's text, and nothing else but usage."""
        candidate = candidates[0]
        choice = self._choices.get(candidate.index or 0)
        parts = candidate.content.parts if candidate.content is not None else None
        if choice is None or choice.ended or len(candidates) > 1 or not parts or not parts[0].text:
            return None
        alone = WireCandidate(candidate.index, WireContent([WirePart(parts[0].text)]))
        return choice.plain(parts[0].text) if candidate == alone else None

    def chunk(self, chunk: WireChunk, source: bytes, events: list[Event]) -> None:
        """Adds what a chunk says to `events`. Faults: what it reports, and the answers that are none."""
        if chunk.error:
            raise said_no(source)
        if not self._started:
            self._started = True
            self._response = chunk.response_id or ""
            events.append(Started(self._response, chunk.model_version or ""))
        if chunk.usage_metadata is not None:
            usage = self._reports.read(chunk.usage_metadata)
            if usage is not None:
                events.append(UsageReported(usage))
        more = self._plain(chunk.candidates) if chunk.candidates else None
        if more is not None:
            events.append(more)
            return
        for position, candidate in enumerate(chunk.candidates or ()):
            self._candidate(candidate, position, events)
        blocked = chunk.prompt_feedback.block_reason if chunk.prompt_feedback is not None else None
        if blocked and not chunk.candidates:
            self._blocked(blocked, events)

    def _candidate(self, candidate: WireCandidate, position: int, events: list[Event]) -> None:
        number = (
            position if candidate.index is None else min(max(candidate.index, 0), MAX_CHOICE_INDEX)
        )
        choice = self._choices.setdefault(number, _Choice(number, self))
        if choice.ended:
            return
        for part in (candidate.content.parts if candidate.content is not None else None) or ():
            choice.part(part, events)
        if candidate.logprobs_result is not None:
            choice.say_logprobs(candidate.logprobs_result, events)
        reason = candidate.finish_reason
        if reason and reason != UNSPECIFIED:
            self._reason(choice, reason, candidate.finish_message or "", events)

    def _reason(self, choice: _Choice, reason: str, message: str, events: list[Event]) -> None:
        if reason in FAILURES:
            told = f": {message[:200]}" if message else ""
            raise Fault("upstream_error", f"the provider's answer failed ({reason}){told}")
        if reason == "STOP" and not choice.said:
            # Seen under load: a candidate that ends before it says anything.
            raise Fault("upstream_broken", "the provider answered with nothing")
        choice.end(reason, STOPS.get(reason, Stop.END), events)

    def _blocked(self, reason: str, events: list[Event]) -> None:
        """The prompt was blocked: there are no candidates, and that is the answer."""
        for number in range(self.reading.choices):
            choice = self._choices.setdefault(number, _Choice(number, self))
            if not choice.ended:
                choice.end(reason, Stop.FILTER, events)

    def end(self, events: list[Event]) -> None:
        """The end of the bytes. Faults: `upstream_cut` unless every choice said why it stopped."""
        if not self._started:
            raise Fault("upstream_broken", "the provider sent an empty answer")
        if not self._choices:
            raise Fault("upstream_broken", "the provider sent an answer without candidates")
        ended = [choice for choice in self._choices.values() if choice.ended]
        if len(ended) < len(self._choices) or len(ended) < self.reading.choices:
            raise Fault("upstream_cut", "the provider's answer ended before it was complete")
        events.append(Finished())
