"""Content blocks of messages, both ways: JSON objects to canonical parts and back.

Law: a block goes on to its own dialect as it came. In any form that is not known here it stays opaque.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import replace

from gatewayz.core.conversation import (
    Audio,
    File,
    Image,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from gatewayz.core.seal import opened
from gatewayz.dialects.anthropic_messages.loses import NAME, Lost
from gatewayz.dialects.anthropic_messages.seals import REDACTED, brought, untagged
from gatewayz.dialects.fields import Fields
from gatewayz.dialects.jsontext import decoded, encoded

Block = dict[str, Any]
MAX_BLOCKS = 4_096
SERVER_CALL = "server_tool_use"
DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.-]+)*;base64,", re.ASCII)
TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
"""ToolUseBlock.id: 'tool_use.id: String should match pattern ^[a-zA-Z0-9_-]+$'."""


def parts_from_wire(fields: Fields, name: str) -> tuple[Part, ...]:
    """A `content` or `system`: a text, or an array of blocks. Faults: `bad_request` names the block."""
    content = fields.rest.pop(name, None)
    if isinstance(content, str):
        return (Text(content),)
    if not isinstance(content, list):
        fields.mistyped(name, "a string or an array of blocks", content)
    if len(content) > MAX_BLOCKS:
        fields.wrong(name, f"expected at most {MAX_BLOCKS} blocks, but got {len(content)}")
    return _with_seals(
        [_part(fields, f"{name}[{index}]", item) for index, item in enumerate(content)]
    )


def _with_seals(parts: list[Part]) -> tuple[Part, ...]:
    """The parts, with the seals that came beside them put back on them."""
    found: list[Part] = []
    for part in parts:
        data = (
            part.details[0].get("data", "") if isinstance(part, Reasoning) and part.details else ""
        )
        seal = brought(data)
        if seal is None:
            found.append(part)
            continue
        place = next(
            (index for index in reversed(range(len(found))) if _is_for(found[index], seal[0])), None
        )
        if place is not None:
            found[place] = replace(found[place], sealed=seal[1])
    return tuple(found)


def _is_for(part: Part, call_id: str) -> bool:
    return (
        part.id == call_id if isinstance(part, ToolCall) else isinstance(part, Text) and not call_id
    )


def _part(fields: Fields, name: str, item: Any) -> Part:
    if isinstance(item, str):
        return Text(item)
    if not isinstance(item, dict):
        fields.mistyped(name, "an object", item)
    kind = item.get("type")
    if not isinstance(kind, str):
        fields.missing(f"{name}.type")
    read = READERS.get(kind)
    part = read(Fields(item, fields.inside(name))) if read is not None else None
    return part if part is not None else Opaque(NAME, item)


def _text(block: Fields) -> Part:
    text = block.rest.pop("text", None)
    if not isinstance(text, str):
        block.mistyped("text", "a string", text)
    return Text(text, _extra(block))


def _image(block: Fields) -> Part | None:
    match block.rest.pop("source", None):
        case {"type": "base64", "media_type": str(kind), "data": str(content), **rest} if not rest:
            return Image(f"data:{kind};base64,{content}", extra=_extra(block))
        case {"type": "url", "url": str(url), **rest} if not rest:
            return Image(url, extra=_extra(block))
        case dict():
            return None
    block.missing("source")


def _document(block: Fields) -> Part | None:
    source = block.rest.pop("source", None)
    title = block.text("title")
    match source:
        case {"type": "base64", "media_type": str(kind), "data": str(content), **rest} if not rest:
            return File(name=title, content=f"data:{kind};base64,{content}", extra=_extra(block))
        case {"type": "text", "media_type": "text/plain", "data": str(text), **rest} if not rest:
            inside = base64.b64encode(text.encode()).decode()
            return File(name=title, content=f"data:text/plain;base64,{inside}", extra=_extra(block))
        case dict():
            return None
    block.missing("source")


def _thinking(block: Fields) -> Part:
    text, signature = block.text("thinking"), block.text("signature")
    detail = {"type": "reasoning.text", "text": text, "signature": signature}
    return Reasoning(text, (detail,) if signature else ())


def _redacted(block: Fields) -> Part:
    return Reasoning("", ({"type": "reasoning.encrypted", "data": block.text("data")},))


def _tool_use(block: Fields) -> Part:
    call_id = block.text("id") or block.missing("id")
    name = block.text("name") or block.missing("name")
    given = block.object("input")
    return ToolCall(call_id, name, encoded(given or {}).decode(), _extra(block))


def _tool_result(block: Fields) -> Part:
    call_id = block.text("tool_use_id") or block.missing("tool_use_id")
    failed = block.flag("is_error") or False
    parts = parts_from_wire(block, "content") if block.rest.get("content") is not None else ()
    return ToolResult(call_id, parts, failed, _extra(block))  # type: ignore[arg-type]


READERS: dict[str, Callable[[Fields], Part | None]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
}


def _extra(block: Fields) -> dict[str, Any]:
    return {
        name: value
        for name, value in block.rest.items()
        if name not in {"type", "content"} and value is not None
    }


class Speaker:
    """Spells parts for one provider; `lost` receives what cannot be said. `own`: the request is of this dialect."""

    def __init__(self, provider: str, lost: Lost, *, own: bool) -> None:
        self.provider = provider
        self.lost = lost
        self.own = own
        self._resultless: set[str] = set()

    def blocks(self, parts: tuple[Part, ...]) -> list[Block]:
        found = [block for part in parts for block in self._spelled(part)]
        if not self._resultless:
            return found
        # A server's call is refused without its result, so it goes where that went.
        return [
            block
            for block in found
            if block["type"] != SERVER_CALL or block.get("id") not in self._resultless
        ]

    def _spelled(self, part: Part) -> list[Block]:
        match part:
            case Text(text=text, extra=extra, sealed=seal):
                # This dialect seals no texts, so whoever did was another.
                self.lost.add(*(["seal"] if seal else []))
                return self._text(text, extra)
            case Refusal(text=text):
                self.lost.add("refusal")
                return self._text(text, {})
            case Reasoning():
                return self._thoughts(part)
            case ToolCall():
                return [self._call(part)]
            case ToolResult():
                return [self._result(part)]
            case Image(url=url, detail=detail, extra=extra):
                self.lost.add(*(["detail"] if detail else []))
                return [{"type": "image", "source": _image_source(url), **extra}]
            case File():
                return self._document(part)
            case Audio():
                self.lost.add("audio")
            case Opaque(value=value):
                return self._opened([value])
        return []

    def _text(self, text: str, extra: Mapping[str, Any]) -> list[Block]:
        if not self.own and not text.strip():
            # 'messages: text content blocks must contain non-whitespace text'.
            return []
        kept = untagged(dict(extra), self.provider)
        if kept is None:
            self.lost.add("seal")
            kept = {name: value for name, value in extra.items() if name != "citations"}
        return [{"type": "text", "text": text, **kept}]

    def _opened(self, blocks: list[Block]) -> list[Block]:
        kept: list[Block] = untagged(blocks, self.provider)
        if len(kept) < len(blocks):
            self.lost.add("seal")
            self._resultless.update(str(block.get("tool_use_id")) for block in blocks)
        return kept

    def _thoughts(self, part: Reasoning) -> list[Block]:
        found: list[Block] = []
        for detail, text in zip(part.details, _texts(part), strict=True):
            seal = detail.get("signature") or detail.get("data")
            plain = opened(self.provider, seal) if isinstance(seal, str) else None
            if isinstance(seal, str) and plain is None:
                self.lost.add("seal")
            if plain is not None and _redacted_seal(detail, plain):
                found.append({"type": "redacted_thinking", "data": plain.removeprefix(REDACTED)})
            elif plain is not None and text is not None:
                found.append({"type": "thinking", "thinking": text, "signature": plain})
        if not found and (part.text or part.details):
            self.lost.add("reasoning")
        return found

    def _call(self, call: ToolCall) -> Block:
        self.lost.add(*(["seal"] if call.sealed else []))
        extra = self._bound(call.extra)
        return {
            "type": "tool_use",
            "id": tool_id(call.id),
            "name": call.name,
            "input": _input(call.arguments),
            **extra,
        }

    def _result(self, result: ToolResult) -> Block:
        inner = self.blocks(result.parts)
        block: Block = {
            "type": "tool_result",
            "tool_use_id": tool_id(result.call_id),
            **self._bound(result.extra),
        }
        if inner:
            block["content"] = plain_or_blocks(inner)
        return block | ({"is_error": True} if result.failed else {})

    def _bound(self, extra: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] | None = untagged(extra, self.provider)
        return kept if kept is not None else {}

    def _document(self, file: File) -> list[Block]:
        if not file.content:
            self.lost.add("file_id")
            return []
        named = {"title": file.name} if file.name else {}
        return [
            {"type": "document", "source": _document_source(file.content), **named, **file.extra}
        ]


def _redacted_seal(detail: Mapping[str, Any], plain: str) -> bool:
    return plain.startswith(REDACTED) or detail.get("type") == "reasoning.encrypted"


def _texts(part: Reasoning) -> list[str | None]:
    """The text that each detail is for: its own, or the next `length` characters of the whole thought.

    A seal fits no other text, so what cannot be told apart is not said.
    """
    found: list[str | None] = []
    place = 0
    for detail in part.details:
        own, length = detail.get("text"), detail.get("length")
        if isinstance(length, int):
            found.append(part.text[place : place + length])
            place += length
        elif isinstance(own, str) and own:
            found.append(own)
        else:
            found.append(part.text if len(part.details) == 1 else None)
    return found


def plain_or_blocks(blocks: list[Block]) -> str | list[Block]:
    """One text that is nothing but a text stands for itself: 'shorthand for an array of one content block'."""
    match blocks:
        case [{"type": "text", "text": str(text), **rest}] if not rest:
            return text
    return blocks


def tool_id(given: str) -> str:
    """The id in the letters that are allowed; the same one for the call and for its result."""
    if TOOL_ID.fullmatch(given):
        return given
    return f"{re.sub(r'[^a-zA-Z0-9_-]', '_', given)}_{blake2b(given.encode(), digest_size=4).hexdigest()}"


def _input(arguments: str) -> Any:
    """The arguments as an object, to the byte where they are one; anything else stands inside of one."""
    try:
        value = decoded(arguments.encode()) if arguments.strip() else {}
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        value = arguments
    if isinstance(value, dict):
        return msgspec.Raw(arguments.encode()) if value else {}
    return {"arguments": value}


def _image_source(url: str) -> Block:
    found = DATA_URL.match(url)
    if found is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": found[1] or "image/png", "data": url[found.end() :]}


def _document_source(content: str) -> Block:
    if content.startswith(("http://", "https://")):
        return {"type": "url", "url": content}
    found = DATA_URL.match(content)
    kind, inside = (
        (found[1] or "", content[found.end() :])
        if found is not None
        else ("application/pdf", content)
    )
    if kind.startswith("text/"):
        try:
            return {
                "type": "text",
                "media_type": "text/plain",
                "data": base64.b64decode(inside).decode(),
            }
        except (binascii.Error, UnicodeDecodeError):
            pass
    return {"type": "base64", "media_type": kind or "application/pdf", "data": inside}
