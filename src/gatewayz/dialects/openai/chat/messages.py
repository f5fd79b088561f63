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
from gatewayz.core.seal import unseal
from gatewayz.dialects.kit.cache_marks import MARK
from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.kit.fields import Fields
from gatewayz.dialects.openai.chat.seals import open_details, seal_field, take_seal, untag_seals
from gatewayz.dialects.openai.chat.wire import NAME

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MAX_PARTS = 4_096
MAX_TOOL_CALLS = 1_024
REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Fields in which earlier thinking comes back; the first one that is text holds."""
FILE_FIELDS = ("file_id", "filename", "file_data")


def message_from_wire(item: dict[str, Any], path: str) -> Message:
    """One message. Faults: `bad_request` names the field."""
    fields = Fields(item, f"{path}.")
    role = fields.text("role") or fields.raise_missing("role")
    if role not in ROLES:
        fields.raise_invalid("role", f"expected one of {', '.join(ROLES)}, but got {role!r}")
    parts = _content(fields, role)
    if role in {"tool", "function"}:
        return _tool_message(fields, role, parts)
    if role == "assistant":
        parts = (*_reasoning_parts(fields), *_attach_seal(fields, parts), *_tool_calls(fields))
    return Message(role, parts, fields.text("name"), _extra(fields))  # type: ignore[arg-type]


def _extra(fields: Fields) -> dict[str, Any]:
    return {name: value for name, value in fields.rest.items() if value is not None}


def _content(fields: Fields, role: str) -> tuple[Part, ...]:
    content = fields.rest.pop("content", None)
    if isinstance(content, str):
        return (Text(content),)
    if content is None:
        if role not in {"assistant", "function"}:
            fields.raise_missing("content")
        return ()
    if not isinstance(content, list):
        fields.raise_wrong_type("content", "a string or an array of parts", content)
    if len(content) > MAX_PARTS:
        fields.raise_invalid(
            "content", f"expected at most {MAX_PARTS} parts, but got {len(content)}"
        )
    return tuple(_part(fields, item, index) for index, item in enumerate(content))


def _part(fields: Fields, item: Any, index: int) -> Part:
    if isinstance(item, str):
        return Text(item)
    if not isinstance(item, dict):
        fields.raise_wrong_type(f"content[{index}]", "an object", item)
    kind = item.get("type")
    read = PART_READERS.get(kind) if isinstance(kind, str) else None
    part = read(item) if read is not None else None
    return part if part is not None else Opaque(NAME, item)


def _text(item: dict[str, Any]) -> Part | None:
    match item:
        case {"text": str(text)}:
            return Text(text, _without(item, "type", "text"))
    return None


def _image(item: dict[str, Any]) -> Part | None:
    match item:
        case {"image_url": {"url": str(url)} as image} if _has_only(image, "url", "detail"):
            return Image(url, str(image.get("detail") or ""), _without(item, "type", "image_url"))
    return None


def _audio(item: dict[str, Any]) -> Part | None:
    match item:
        case {"input_audio": {"data": str(content), "format": str(kind)} as audio} if _has_only(
            audio, "data", "format"
        ):
            return Audio(content, kind, _without(item, "type", "input_audio"))
    return None


def _file(item: dict[str, Any]) -> Part | None:
    match item:
        case {"file": dict(file)} if _has_only(file, *FILE_FIELDS):
            file_id, name, content = (str(file.get(field) or "") for field in FILE_FIELDS)
            return File(file_id, name, content, _without(item, "type", "file"))
    return None


def _refusal(item: dict[str, Any]) -> Part | None:
    match item:
        case {"refusal": str(text)} if _has_only(item, "type", "refusal"):
            return Refusal(text)
    return None


PART_READERS: dict[str, Callable[[dict[str, Any]], Part | None]] = {
    "text": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
    "refusal": _refusal,
}
"""How each kind of part is read; any other goes on as it came, to this dialect only."""


def _has_only(item: dict[str, Any], *names: str) -> bool:
    return item.keys() <= set(names)


def _without(item: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in names and value is not None}


def _reasoning_parts(fields: Fields) -> tuple[Part, ...]:
    texts = [fields.rest.pop(name, None) for name in REASONING_FIELDS]
    text = next((text for text in texts if isinstance(text, str)), "")
    details = tuple(fields.objects("reasoning_details", MAX_PARTS))
    refusal = fields.text("refusal")
    parts: tuple[Part, ...] = (Reasoning(text, details),) if text or details else ()
    return (*parts, Refusal(refusal)) if refusal else parts


def _attach_seal(fields: Fields, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The content, with the message's seal on the last text, where its provider put it."""
    *before, last = parts or (Text(""),)
    if not isinstance(last, Text):
        return parts
    seal = take_seal(fields.rest)
    return (*before, replace(last, sealed=seal)) if seal else parts


def _tool_calls(fields: Fields) -> tuple[Part, ...]:
    calls = fields.objects("tool_calls", MAX_TOOL_CALLS)
    return tuple(_tool_call(fields, item, index) for index, item in enumerate(calls))


def _tool_call(fields: Fields, item: dict[str, Any], index: int) -> Part:
    match item:
        case {
            "id": str(call_id),
            "function": {"name": str(name), "arguments": str(arguments)} as function,
        }:
            if item.get("type", "function") == "function" and _has_only(
                function, "name", "arguments"
            ):
                # SDKs leave the index of a streamed call in it, which means nothing in a request.
                extra = _without(item, "id", "type", "function", "index")
                seal = take_seal(extra)
                return ToolCall(call_id, name, arguments, extra, seal)
        case {
            "id": str(call_id),
            "type": "custom",
            "custom": {"name": str(name), "input": str(text)},
        }:
            return ToolCall(call_id, name, text, {"type": "custom"})
    fields.raise_invalid(
        f"tool_calls[{index}]", "expected an id and a function with a name and arguments as text"
    )


def _tool_message(fields: Fields, role: str, parts: tuple[Part, ...]) -> Message:
    call_id = fields.text("tool_call_id")
    if role == "tool" and not call_id:
        fields.raise_missing("tool_call_id")
    result = ToolResult(call_id, parts)  # type: ignore[arg-type]
    return Message("tool", (result,), fields.text("name"), _extra(fields))


def message_to_wire(message: Message, provider: str, dropped: Dropped) -> dict[str, Any]:
    """One message in OpenAI's form, seals opened for `provider`.

    `dropped` receives the names of what is left out.
    """
    wire: dict[str, Any] = {"role": message.role}
    inner = message.parts
    if message.role == "tool":
        wire |= _result_to_wire(message)
    else:
        content = _content_to_wire([part for part in inner if type(part) in CONTENT_PARTS])
        if content is not None:
            wire["content"] = content
    if message.role == "assistant":
        wire |= _assistant_to_wire(inner, provider, dropped)
        wire |= _text_seal_to_wire(inner, provider, dropped)
    if message.name:
        wire["name"] = message.name
    return wire | message.extra


def _text_seal_to_wire(parts: tuple[Part, ...], provider: str, dropped: Dropped) -> dict[str, Any]:
    """The seal of the last text that has one, for whoever made it."""
    seals = [part.sealed for part in parts if isinstance(part, Text) and part.sealed]
    seal = unseal(provider, seals[-1]) if seals else None
    if seals and seal is None:
        dropped.add("seal")
    return seal_field(seal) if seal else {}


def _result_to_wire(message: Message) -> dict[str, Any]:
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    result = results[0] if results else ToolResult("", ())
    content = _content_to_wire(list(result.parts))
    if MARK in result.extra and content:
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
        content = [*parts[:-1], {**parts[-1], MARK: result.extra[MARK]}]
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


CONTENT_PARTS = frozenset({Text, Image, Audio, File, Opaque})


def _assistant_to_wire(parts: tuple[Part, ...], provider: str, dropped: Dropped) -> dict[str, Any]:
    wire: dict[str, Any] = {}
    calls: list[dict[str, Any]] = []
    for part in parts:
        match part:
            case Reasoning(text=text, details=details):
                if text:
                    wire["reasoning_content"] = wire.get("reasoning_content", "") + text
                opened = open_details(details, provider)
                if opened:
                    wire["reasoning_details"] = [*wire.get("reasoning_details", ()), *opened]
                elif details:
                    dropped.add("seal")
            case Refusal(text=text):
                wire["refusal"] = text
            case ToolCall():
                calls.append(_call_to_wire(part, provider, dropped))
    if calls:
        wire["tool_calls"] = calls
    return wire


def _call_to_wire(call: ToolCall, provider: str, dropped: Dropped) -> dict[str, Any]:
    if call.extra.get("type") == "custom":
        return {
            "id": call.id,
            "type": "custom",
            "custom": {"name": call.name, "input": call.arguments},
        }
    function = {"name": call.name, "arguments": call.arguments}
    wire: dict[str, Any] = {"id": call.id, "type": "function", "function": function}
    extra = untag_seals(call.extra, provider) if call.extra else {}
    seal = unseal(provider, call.sealed)
    if (call.sealed and seal is None) or extra is None:
        dropped.add("seal")
    return wire | (extra or {}) | (seal_field(seal) if seal else {})
