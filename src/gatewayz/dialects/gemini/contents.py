"""A conversation as `systemInstruction` and `contents`: roles `user` and `model`, a turn for each.

The results of parallel calls stand in one content, as many as there were calls, and no text beside them: Gemini wants
the turn of results right after the turn of calls.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import DecodeError

from gatewayz.core.conversation import (
    Audio,
    File,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from gatewayz.core.seal import opened
from gatewayz.dialects.gemini.loses import Lost
from gatewayz.dialects.gemini.media import audio_to_wire, file_to_wire, image_to_wire
from gatewayz.dialects.gemini.models import Family
from gatewayz.dialects.jsontext import decoded

Wire = dict[str, Any]
MADE_UP = "call_g_"
"""Begins the ids that we gave to calls which came without one; Gemini never learns them."""
NO_SIGNATURE = "skip_thought_signature_validator"
"""Stands for the signature of a call that another model made (ai.google.dev/gemini-api/docs/thought-signatures)."""
SYSTEM = frozenset({"system", "developer"})
NOTHING = " "
"""A request without any content is refused, and so is an empty text."""


class Conversation:
    """Spells messages for one provider; `lost` is told what cannot be said."""

    def __init__(self, provider: str, family: Family, lost: Lost) -> None:
        self._provider = provider
        self._family = family
        self._lost = lost
        self._names: dict[str, str] = {}
        self._beside: list[Wire] = []

    def to_wire(self, messages: Sequence[Message]) -> tuple[list[Wire], list[Wire]]:
        """Parts of the system instruction, and the contents."""
        leading = next(
            (at for at, message in enumerate(messages) if message.role not in SYSTEM), len(messages)
        )
        system = [part for message in messages[:leading] for part in self._parts(message)]
        contents: list[Wire] = []
        for message in messages[leading:]:
            self._add(contents, message)
        self._turn(contents, "user", self._beside)
        if not contents:
            return [], [{"role": "user", "parts": system or [{"text": NOTHING}]}]
        return system, contents

    def _add(self, contents: list[Wire], message: Message) -> None:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        said = [part for result in results for part in self._result(result, message.name)]
        self._turn(contents, "user", [part for part in said if "functionResponse" in part])
        # What cannot be inside a result stands after all results of the turn, or they would be too few.
        self._beside += [part for part in said if "functionResponse" not in part]
        parts = self._parts(message)
        if message.role == "tool" and not parts:
            return
        beside, self._beside = self._beside, []
        if message.role == "assistant":
            self._turn(contents, "user", beside)
            self._turn(contents, "model", self._signed(parts))
        else:
            self._turn(contents, "user", beside + parts)

    def _turn(self, contents: list[Wire], role: str, parts: list[Wire]) -> None:
        """Adds the parts, to the last turn where that is of the same role and kind."""
        if not parts:
            return
        last: Wire = contents[-1] if contents else {"role": "", "parts": [{}]}
        alike = ("functionResponse" in last["parts"][0]) == ("functionResponse" in parts[0])
        if last["role"] == role and alike:
            last["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})

    def _signed(self, parts: list[Wire]) -> list[Wire]:
        """The first call of a turn must carry a signature; one that is not to be had is excused."""
        calls = [part for part in parts if "functionCall" in part]
        if self._family.demands_signatures and calls and "thoughtSignature" not in calls[0]:
            calls[0]["thoughtSignature"] = NO_SIGNATURE
        return parts

    def _parts(self, message: Message) -> list[Wire]:
        if message.name and message.role != "tool":
            self._lost.add("name")
        made = [self._part(part) for part in message.parts if not isinstance(part, ToolResult)]
        return [part for part in made if part]

    def _part(self, part: Part) -> Wire | None:
        match part:
            case Text(text=text, sealed=sealed):
                return self._sealed({"text": text}, sealed) if text or sealed else None
            case Refusal(text=text):
                return {"text": text}
            case Reasoning():
                return self._thought(part)
            case ToolCall():
                return self._call(part)
            case Image() | Audio() | File():
                return self._media(part)
            case Opaque(dialect=dialect, value=value):
                self._lost.add(f"content.{value.get('type', dialect)}")
        return None

    def _media(self, part: Image | Audio | File) -> Wire | None:
        match part:
            case Image(detail=detail):
                if detail and detail != "auto":
                    self._lost.add("detail")
                return image_to_wire(part)
            case Audio():
                return audio_to_wire(part)
        made = file_to_wire(part)
        if made is None:
            self._lost.add("file_id")
        return made

    def _sealed(self, part: Wire, sealed: str) -> Wire:
        if not sealed:
            return part
        signature = opened(self._provider, sealed)
        if signature is None:
            self._lost.add("seal")
            return part if part.get("text") != "" else {}
        return {**part, "thoughtSignature": signature}

    def _thought(self, part: Reasoning) -> Wire | None:
        seals = [str(detail["signature"]) for detail in part.details if detail.get("signature")]
        own = [
            signature for seal in seals if (signature := opened(self._provider, seal)) is not None
        ]
        if not own:
            self._lost.add("seal" if seals else "reasoning")
            return None
        return {"text": part.text, "thought": True, "thoughtSignature": own[-1]}

    def _call(self, call: ToolCall) -> Wire:
        self._names[call.id] = call.name
        made = {**_id(call.id), "name": call.name, "args": _arguments(call)}
        return self._sealed({"functionCall": made}, call.sealed)

    def _result(self, result: ToolResult, name: str) -> list[Wire]:
        """The function's response; images that cannot be inside it stand after it."""
        texts = [part.text for part in result.parts if isinstance(part, Text)]
        media = [
            made
            for part in result.parts
            if isinstance(part, Image | File) and (made := self._media(part))
        ]
        inner = media if self._family.media_in_results else []
        for part in result.parts:
            if isinstance(part, Opaque):
                self._part(part)
        response: Wire = {
            **_id(result.call_id),
            "name": self._names.get(result.call_id) or name or result.call_id or "function",
            "response": _response("\n".join(texts), failed=result.failed),
        }
        if inner:
            response["parts"] = inner
        return [{"functionResponse": response}, *([] if inner else media)]


def _id(call_id: str) -> Wire:
    return {} if not call_id or call_id.startswith(MADE_UP) else {"id": call_id}


def _arguments(call: ToolCall) -> Wire:
    """Arguments are an object; the text of a custom tool, or broken JSON, goes under `input`."""
    value = _parsed(call.arguments) if call.extra.get("type") != "custom" else None
    return value if isinstance(value, dict) else {"input": call.arguments} if call.arguments else {}


def _response(text: str, *, failed: bool) -> Wire:
    """'Use output key to specify function output and error key to specify error details' (FunctionResponse)."""
    if failed:
        return {"error": text}
    value = _parsed(text)
    return value if isinstance(value, dict) else {"output": text}


def _parsed(text: str) -> Any:
    try:
        return decoded(text)
    except (DecodeError, RecursionError):
        return None
