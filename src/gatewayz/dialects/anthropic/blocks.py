"""Content blocks of a client as canonical parts.

Law: a block goes on to its own dialect as it came. In any form that is not known here it is opaque.
"""

import base64
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from gatewayz.core.conversation import (
    File,
    Image,
    Opaque,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from gatewayz.dialects.anthropic.seals import seal_from_carrier
from gatewayz.dialects.anthropic.wire import NAME
from gatewayz.dialects.kit.fields import Fields
from gatewayz.dialects.kit.jsontext import encode_json

MAX_BLOCKS = 4_096


def parts_from_wire(fields: Fields, name: str) -> tuple[Part, ...]:
    """A `content` or `system`: a text, or an array of blocks.

    Faults: `bad_request` names the block.

    Example: `[{"type": "text", "text": "Hello"}]` → `(Text("Hello"),)`.
    """
    content = fields.rest.pop(name, None)
    if isinstance(content, str):
        return (Text(content),)
    if not isinstance(content, list):
        fields.raise_wrong_type(name, "a string or an array of blocks", content)
    if len(content) > MAX_BLOCKS:
        fields.raise_invalid(name, f"expected at most {MAX_BLOCKS} blocks, but got {len(content)}")
    return _restore_seals(
        [_part_from_wire(fields, f"{name}[{index}]", item) for index, item in enumerate(content)]
    )


def _restore_seals(parts: list[Part]) -> tuple[Part, ...]:
    """The parts, with the seals that came in blocks beside them put back on them."""
    restored: list[Part] = []
    for part in parts:
        details = part.details if isinstance(part, Reasoning) else ()
        carried = seal_from_carrier(details[0].get("data", "")) if details else None
        if carried is None:
            restored.append(part)
            continue

        call_id, seal = carried
        # The last one that fits: a seal stands after its part.
        for index in reversed(range(len(restored))):
            if _matches_call(restored[index], call_id):
                restored[index] = replace(restored[index], sealed=seal)
                break
    return tuple(restored)


def _matches_call(part: Part, call_id: str) -> bool:
    if isinstance(part, ToolCall):
        return part.id == call_id
    return isinstance(part, Text) and not call_id


def _part_from_wire(fields: Fields, name: str, item: Any) -> Part:
    if isinstance(item, str):
        return Text(item)
    if not isinstance(item, dict):
        fields.raise_wrong_type(name, "an object", item)
    kind = item.get("type")
    if not isinstance(kind, str):
        fields.raise_missing(f"{name}.type")

    read = READERS.get(kind)
    part = read(Fields(item, fields.path_inside(name))) if read is not None else None
    return part if part is not None else Opaque(NAME, item)


def _read_text(block: Fields) -> Part:
    text = block.rest.pop("text", None)
    if not isinstance(text, str):
        block.raise_wrong_type("text", "a string", text)
    return Text(text, _extra(block))


def _read_image(block: Fields) -> Part | None:
    match block.rest.pop("source", None):
        case {"type": "base64", "media_type": str(kind), "data": str(content), **rest} if not rest:
            return Image(f"data:{kind};base64,{content}", extra=_extra(block))
        case {"type": "url", "url": str(url), **rest} if not rest:
            return Image(url, extra=_extra(block))
        case dict():
            return None
    block.raise_missing("source")


def _read_document(block: Fields) -> Part | None:
    whole = {"type": "document", **block.rest}
    source = block.rest.pop("source", None)
    title = block.text("title")
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(content), **rest} if not rest:
            return File(name=title, content=f"data:{kind};base64,{content}", extra=_extra(block))
        case {"type": "text", "media_type": "text/plain", "data": str(text), **rest} if not rest:
            content = base64.b64encode(text.encode()).decode()
            return File(
                name=title, content=f"data:text/plain;base64,{content}", extra=_extra(block)
            )
        case {"type": "content", "content": str() | list() as content}:
            # Others are told its parts, under its title.
            inner = Fields({"content": content}, block.path_inside("source"))
            parts = parts_from_wire(inner, "content")
            if all(isinstance(part, Text | Image | File) for part in parts):
                head = (Text(title),) if title else ()
                return Opaque(NAME, whole, (*head, *parts))  # type: ignore[arg-type]
            return None
        case dict():
            return None
    block.raise_missing("source")


def _read_thinking(block: Fields) -> Part:
    text, signature = block.text("thinking"), block.text("signature")
    detail = {"type": "reasoning.text", "text": text, "signature": signature}
    return Reasoning(text, (detail,) if signature else ())


def _read_redacted_thinking(block: Fields) -> Part:
    return Reasoning("", ({"type": "reasoning.encrypted", "data": block.text("data")},))


def _read_tool_use(block: Fields) -> Part:
    call_id = block.text("id") or block.raise_missing("id")
    name = block.text("name") or block.raise_missing("name")
    arguments = encode_json(block.object("input") or {}).decode()
    return ToolCall(call_id, name, arguments, _extra(block))


def _read_tool_result(block: Fields) -> Part:
    call_id = block.text("tool_use_id") or block.raise_missing("tool_use_id")
    failed = block.flag("is_error") or False
    parts = parts_from_wire(block, "content") if block.rest.get("content") is not None else ()
    return ToolResult(call_id, parts, failed, _extra(block))  # type: ignore[arg-type]


READERS: dict[str, Callable[[Fields], Part | None]] = {
    "text": _read_text,
    "image": _read_image,
    "document": _read_document,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted_thinking,
    "tool_use": _read_tool_use,
    "tool_result": _read_tool_result,
}
"""Type of a block → its part; `None` for a form that is not known here."""


def _extra(block: Fields) -> dict[str, Any]:
    return {
        name: value
        for name, value in block.rest.items()
        if name not in {"type", "content"} and value is not None
    }
