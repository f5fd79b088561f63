"""A conversation as `systemInstruction` and `contents`: roles `user` and `model`, a turn for each.

The results of parallel calls stand in one content, as many as there were calls, and no text beside
them: Gemini wants the turn of results right after the turn of calls.
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
from gatewayz.core.seal import unseal
from gatewayz.dialects.gemini.media import audio_to_wire, file_to_wire, image_to_wire
from gatewayz.dialects.gemini.models import GeminiFamily
from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.kit.jsontext import decode_json

Wire = dict[str, Any]
LOCAL_ID_PREFIX = "call_g_"
"""Begins the ids that we gave to calls which came without one; Gemini never learns them."""
NO_SIGNATURE = "skip_thought_signature_validator"
"""Stands for the signature of a call of another model (gemini-api/docs/thought-signatures)."""
SYSTEM_ROLES = frozenset({"system", "developer"})
BLANK_TEXT = " "
"""A request without any content is refused, and so is an empty text."""


class ContentsBuilder:
    """Writes messages for one provider; `dropped` receives the names of what cannot be said.

    Example: `[{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": […]}]`.
    """

    def __init__(self, provider: str, family: GeminiFamily, dropped: Dropped) -> None:
        self._provider = provider
        self._family = family
        self._dropped = dropped
        # A result is given the name of its function, which only its call knows.
        self._call_names: dict[str, str] = {}
        self._after_results: list[Wire] = []

    def to_wire(self, messages: Sequence[Message]) -> tuple[list[Wire], list[Wire]]:
        """Parts of the system instruction, and the contents."""
        leading = next(
            (n for n, message in enumerate(messages) if message.role not in SYSTEM_ROLES),
            len(messages),
        )
        system = [part for message in messages[:leading] for part in self._parts(message)]

        contents: list[Wire] = []
        for message in messages[leading:]:
            self._add_message(contents, message)
        self._add_turn(contents, "user", self._after_results)

        if not contents:
            return [], [{"role": "user", "parts": system or [{"text": BLANK_TEXT}]}]
        return system, contents

    def _add_message(self, contents: list[Wire], message: Message) -> None:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        written = [part for result in results for part in self._result(result, message.name)]
        self._add_turn(contents, "user", [part for part in written if "functionResponse" in part])
        # What cannot be inside a result stands after all results of the turn, or they would be too
        # few.
        self._after_results += [part for part in written if "functionResponse" not in part]

        parts = self._parts(message)
        if message.role == "tool" and not parts:
            return

        media, self._after_results = self._after_results, []
        if message.role == "assistant":
            self._add_turn(contents, "user", media)
            self._add_turn(contents, "model", self._sign_first_call(parts))
        else:
            self._add_turn(contents, "user", media + parts)

    def _add_turn(self, contents: list[Wire], role: str, parts: list[Wire]) -> None:
        """Adds the parts, to the last turn where that is of the same role and kind."""
        if not parts:
            return
        last: Wire = contents[-1] if contents else {"role": "", "parts": [{}]}
        is_same_kind = ("functionResponse" in last["parts"][0]) == ("functionResponse" in parts[0])
        if last["role"] == role and is_same_kind:
            last["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})

    def _sign_first_call(self, parts: list[Wire]) -> list[Wire]:
        """The first call of a turn must carry a signature; one that is not to be had is excused."""
        calls = [part for part in parts if "functionCall" in part]
        if self._family.demands_signatures and calls and "thoughtSignature" not in calls[0]:
            calls[0]["thoughtSignature"] = NO_SIGNATURE
        return parts

    def _parts(self, message: Message) -> list[Wire]:
        if message.name and message.role != "tool":
            self._dropped.add("name")
        parts = [self._part(part) for part in message.parts if not isinstance(part, ToolResult)]
        return [part for part in parts if part]

    def _part(self, part: Part) -> Wire | None:
        match part:
            case Text(text=text, sealed=sealed):
                return self._with_signature({"text": text}, sealed) if text or sealed else None
            case Refusal(text=text):
                return {"text": text}
            case Reasoning():
                return self._thinking_part(part)
            case ToolCall():
                return self._call(part)
            case Image() | Audio() | File():
                return self._media(part)
            case Opaque(dialect=dialect, value=value):
                self._dropped.add(f"content.{value.get('type', dialect)}")
        return None

    def _media(self, part: Image | Audio | File) -> Wire | None:
        match part:
            case Image(detail=detail):
                if detail and detail != "auto":
                    self._dropped.add("detail")
                return image_to_wire(part)
            case Audio():
                return audio_to_wire(part)
        file = file_to_wire(part)
        if file is None:
            self._dropped.add("file_id")
        return file

    def _with_signature(self, part: Wire, sealed: str) -> Wire:
        if not sealed:
            return part
        signature = unseal(self._provider, sealed)
        if signature is None:
            self._dropped.add("seal")
            return part if part.get("text") != "" else {}
        return {**part, "thoughtSignature": signature}

    def _thinking_part(self, part: Reasoning) -> Wire | None:
        seals = [str(detail["signature"]) for detail in part.details if detail.get("signature")]
        signatures = [
            signature for seal in seals if (signature := unseal(self._provider, seal)) is not None
        ]
        if not signatures:
            self._dropped.add("seal" if seals else "reasoning")
            return None
        return {"text": part.text, "thought": True, "thoughtSignature": signatures[-1]}

    def _call(self, call: ToolCall) -> Wire:
        self._call_names[call.id] = call.name
        wire = {**_id_field(call.id), "name": call.name, "args": _arguments(call)}
        return self._with_signature({"functionCall": wire}, call.sealed)

    def _result(self, result: ToolResult, name: str) -> list[Wire]:
        """The function's response; images that cannot be inside it stand after it."""
        texts = [part.text for part in result.parts if isinstance(part, Text)]
        media = [
            wire
            for part in result.parts
            if isinstance(part, Image | File) and (wire := self._media(part))
        ]
        for part in result.parts:
            if isinstance(part, Opaque):
                self._part(part)

        response: Wire = {
            **_id_field(result.call_id),
            "name": self._call_names.get(result.call_id) or name or result.call_id or "function",
            "response": _response("\n".join(texts), failed=result.failed),
        }
        if media and self._family.media_in_results:
            response["parts"] = media
            media = []
        return [{"functionResponse": response}, *media]


def _id_field(call_id: str) -> Wire:
    return {} if not call_id or call_id.startswith(LOCAL_ID_PREFIX) else {"id": call_id}


def _arguments(call: ToolCall) -> Wire:
    """Arguments are an object; the text of a custom tool, or broken JSON, goes under `input`."""
    value = _parse_json(call.arguments) if call.extra.get("type") != "custom" else None
    if isinstance(value, dict):
        return value
    return {"input": call.arguments} if call.arguments else {}


def _response(text: str, *, failed: bool) -> Wire:
    """FunctionResponse: `output` for what the function returned, `error` for why it failed."""
    if failed:
        return {"error": text}
    value = _parse_json(text)
    return value if isinstance(value, dict) else {"output": text}


def _parse_json(text: str) -> Any:
    try:
        return decode_json(text)
    except (DecodeError, RecursionError):
        return None
