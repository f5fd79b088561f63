"""Messages of a chat request, both ways: JSON objects to canonical messages and back."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

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
from gatewayz.dialects.fields import Fields
from gatewayz.dialects.openai_chat.seals import opened_details, signed, taken, untagged

NAME = "openai_chat"
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MAX_PARTS = 4_096
MAX_TOOL_CALLS = 1_024
THOUGHTS = ("reasoning_content", "reasoning")
"""Fields in which earlier thinking comes back; the first one that is text holds."""


def message_from_wire(item: dict[str, Any], path: str) -> Message:
    """One message. Faults: `bad_request` names the field."""
    fields = Fields(item, f"{path}.")
    role = fields.text("role") or fields.missing("role")
    if role not in ROLES:
        fields.wrong("role", f"expected one of {', '.join(ROLES)}, but got {role!r}")
    parts = _content(fields, role)
    if role in {"tool", "function"}:
        return _result(fields, role, parts)
    if role == "assistant":
        parts = (*_thoughts(fields), *_signed(fields, parts), *_calls(fields))
    return Message(role, parts, fields.text("name"), _extra(fields))  # type: ignore[arg-type]


def _extra(fields: Fields) -> dict[str, Any]:
    return {name: value for name, value in fields.rest.items() if value is not None}


def _content(fields: Fields, role: str) -> tuple[Part, ...]:
    content = fields.rest.pop("content", None)
    if isinstance(content, str):
        return (Text(content),)
    if content is None:
        if role not in {"assistant", "function"}:
            fields.missing("content")
        return ()
    if not isinstance(content, list):
        fields.mistyped("content", "a string or an array of parts", content)
    if len(content) > MAX_PARTS:
        fields.wrong("content", f"expected at most {MAX_PARTS} parts, but got {len(content)}")
    return tuple(_part(fields, item, index) for index, item in enumerate(content))


def _part(fields: Fields, item: Any, index: int) -> Part:
    if isinstance(item, str):
        return Text(item)
    if not isinstance(item, dict):
        fields.mistyped(f"content[{index}]", "an object", item)
    kind = item.get("type")
    read = PARTS.get(kind) if isinstance(kind, str) else None
    part = read(item) if read is not None else None
    return part if part is not None else Opaque(NAME, item)


def _text(item: dict[str, Any]) -> Part | None:
    match item:
        case {"text": str(text)}:
            return Text(text, _without(item, "type", "text"))
    return None


def _image(item: dict[str, Any]) -> Part | None:
    match item:
        case {"image_url": {"url": str(url)} as image} if _only(image, "url", "detail"):
            return Image(url, str(image.get("detail") or ""), _without(item, "type", "image_url"))
    return None


def _audio(item: dict[str, Any]) -> Part | None:
    match item:
        case {"input_audio": {"data": str(content), "format": str(kind)} as audio} if _only(
            audio, "data", "format"
        ):
            return Audio(content, kind, _without(item, "type", "input_audio"))
    return None


def _file(item: dict[str, Any]) -> Part | None:
    match item:
        case {"file": dict(file)} if _only(file, "file_id", "filename", "file_data"):
            known = [str(file.get(name) or "") for name in ("file_id", "filename", "file_data")]
            return File(known[0], known[1], known[2], _without(item, "type", "file"))
    return None


def _refusal(item: dict[str, Any]) -> Part | None:
    match item:
        case {"refusal": str(text)} if _only(item, "type", "refusal"):
            return Refusal(text)
    return None


PARTS: dict[str, Callable[[dict[str, Any]], Part | None]] = {
    "text": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
    "refusal": _refusal,
}
"""How each kind of part is read; a part in any other form goes on as it came, to its own dialect only."""


def _only(item: dict[str, Any], *names: str) -> bool:
    return item.keys() <= set(names)


def _without(item: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in names and value is not None}


def _thoughts(fields: Fields) -> tuple[Part, ...]:
    texts = [fields.rest.pop(name, None) for name in THOUGHTS]
    text = next((text for text in texts if isinstance(text, str)), "")
    details = tuple(fields.objects("reasoning_details", MAX_PARTS))
    refusal = fields.text("refusal")
    found: tuple[Part, ...] = (Reasoning(text, details),) if text or details else ()
    return (*found, Refusal(refusal)) if refusal else found


def _signed(fields: Fields, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The content, with the message's seal on the last text: that is where its provider put it."""
    *before, last = parts or (Text(""),)
    if not isinstance(last, Text):
        return parts
    seal = taken(fields.rest)
    return (*before, replace(last, sealed=seal)) if seal else parts


def _calls(fields: Fields) -> tuple[Part, ...]:
    calls = fields.objects("tool_calls", MAX_TOOL_CALLS)
    return tuple(_call(fields, item, index) for index, item in enumerate(calls))


def _call(fields: Fields, item: dict[str, Any], index: int) -> Part:
    match item:
        case {
            "id": str(call_id),
            "function": {"name": str(name), "arguments": str(arguments)} as function,
        }:
            if item.get("type", "function") == "function" and _only(function, "name", "arguments"):
                # SDKs leave the place of a streamed call in it, which says nothing in a request.
                extra = _without(item, "id", "type", "function", "index")
                seal = taken(extra)
                return ToolCall(call_id, name, arguments, extra, seal)
        case {
            "id": str(call_id),
            "type": "custom",
            "custom": {"name": str(name), "input": str(text)},
        }:
            return ToolCall(call_id, name, text, {"type": "custom"})
    fields.wrong(
        f"tool_calls[{index}]", "expected an id and a function with a name and arguments as text"
    )


def _result(fields: Fields, role: str, parts: tuple[Part, ...]) -> Message:
    call_id = fields.text("tool_call_id")
    if role == "tool" and not call_id:
        fields.missing("tool_call_id")
    result = ToolResult(call_id, parts)  # type: ignore[arg-type]
    return Message("tool", (result,), fields.text("name"), _extra(fields))


def message_to_wire(message: Message, provider: str, lost: dict[str, None]) -> dict[str, Any]:
    """One message as OpenAI spells it, seals opened for `provider`; `lost` receives the names of what is left out."""
    wire: dict[str, Any] = {"role": message.role}
    inner = message.parts
    if message.role == "tool":
        wire |= _result_to_wire(message)
    else:
        content = _content_to_wire([part for part in inner if type(part) in CONTENT])
        if content is not None:
            wire["content"] = content
    if message.role == "assistant":
        wire |= _assistant_to_wire(inner, provider, lost)
        wire |= _sealed_text(inner, provider, lost)
    if message.name:
        wire["name"] = message.name
    return wire | message.extra


def _sealed_text(parts: tuple[Part, ...], provider: str, lost: dict[str, None]) -> dict[str, Any]:
    """The seal of the last text that has one, for whoever made it."""
    seals = [part.sealed for part in parts if isinstance(part, Text) and part.sealed]
    seal = opened(provider, seals[-1]) if seals else None
    if seals and seal is None:
        lost["seal"] = None
    return signed(seal) if seal else {}


def _result_to_wire(message: Message) -> dict[str, Any]:
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    result = results[0] if results else ToolResult("", ())
    content = _content_to_wire(list(result.parts))
    if not result.call_id:
        return {"role": "function", "content": content if content is not None else ""}
    return {"tool_call_id": result.call_id, "content": content if content is not None else ""}


def _content_to_wire(parts: list[Part]) -> str | list[dict[str, Any]] | None:
    if not parts:
        return None
    if len(parts) == 1 and isinstance(parts[0], Text) and not parts[0].extra:
        return parts[0].text
    return [_part_to_wire(part) for part in parts]


def _part_to_wire(part: Part) -> dict[str, Any]:
    match part:
        case Text(text=text, extra=extra):
            return {"type": "text", "text": text, **extra}
        case Image(url=url, detail=detail, extra=extra):
            image = {"url": url, "detail": detail} if detail else {"url": url}
            return {"type": "image_url", "image_url": image, **extra}
        case Audio(content=content, format=kind, extra=extra):
            return {
                "type": "input_audio",
                "input_audio": {"data": content, "format": kind},
                **extra,
            }
        case File(id=file_id, name=name, content=content, extra=extra):
            file = {"file_id": file_id, "filename": name, "file_data": content}
            return {
                "type": "file",
                "file": {key: value for key, value in file.items() if value},
                **extra,
            }
        case Opaque(value=value):
            return value
    message = f"no content part: {type(part).__name__}"
    raise TypeError(message)


CONTENT = frozenset({Text, Image, Audio, File, Opaque})


def _assistant_to_wire(
    parts: tuple[Part, ...], provider: str, lost: dict[str, None]
) -> dict[str, Any]:
    wire: dict[str, Any] = {}
    calls: list[dict[str, Any]] = []
    for part in parts:
        match part:
            case Reasoning(text=text, details=details):
                if text:
                    wire["reasoning_content"] = wire.get("reasoning_content", "") + text
                kept = opened_details(details, provider)
                if kept:
                    wire["reasoning_details"] = [*wire.get("reasoning_details", ()), *kept]
                elif details:
                    lost["seal"] = None
            case Refusal(text=text):
                wire["refusal"] = text
            case ToolCall():
                calls.append(_call_to_wire(part, provider, lost))
    if calls:
        wire["tool_calls"] = calls
    return wire


def _call_to_wire(call: ToolCall, provider: str, lost: dict[str, None]) -> dict[str, Any]:
    if call.extra.get("type") == "custom":
        return {
            "id": call.id,
            "type": "custom",
            "custom": {"name": call.name, "input": call.arguments},
        }
    function = {"name": call.name, "arguments": call.arguments}
    wire: dict[str, Any] = {"id": call.id, "type": "function", "function": function}
    extra = untagged(call.extra, provider) if call.extra else {}
    seal = opened(provider, call.sealed)
    if (call.sealed and seal is None) or extra is None:
        lost["seal"] = None
    return wire | (extra or {}) | (signed(seal) if seal else {})
