"""Canonical parts as content blocks for one provider: seals are opened for it alone."""

import base64
import binascii
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

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
from gatewayz.core.seal import unseal
from gatewayz.dialects.anthropic.seals import REDACTED_PREFIX, untag_seals
from gatewayz.dialects.anthropic.tools import raw_tool_input
from gatewayz.dialects.anthropic.wire import WireBlock
from gatewayz.dialects.kit.cache_marks import MARK, take_marks
from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.kit.media_types import TEXT_TYPE, split_data_url

SERVER_CALL = "server_tool_use"
DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.-]+)*;base64,", re.ASCII)
DEFAULT_IMAGE_TYPE, DEFAULT_DOCUMENT_TYPE = "image/png", "application/pdf"
NOT_IN_TOOL_ID = re.compile(r"[^a-zA-Z0-9_-]")
"""ToolUseBlock.id: 'tool_use.id: String should match pattern ^[a-zA-Z0-9_-]+$'."""


class MessagesBlockWriter:
    """Writes parts for one provider; `dropped` receives the names of what cannot be said.

    `same_dialect`: the request came in this dialect, so what it says is passed on as it is.
    """

    def __init__(self, provider: str, dropped: Dropped, *, same_dialect: bool) -> None:
        self.provider = provider
        self.dropped = dropped
        self.same_dialect = same_dialect
        self._calls_without_result: set[str] = set()

    def blocks(self, parts: tuple[Part, ...]) -> list[WireBlock]:
        """The blocks of a message, or of a tool's result."""
        blocks = [block for part in parts for block in self._write_part(part)]
        if not self._calls_without_result:
            return blocks
        # A server's call is refused without its result, so it goes where that went.
        return [
            block
            for block in blocks
            if block["type"] != SERVER_CALL or block.get("id") not in self._calls_without_result
        ]

    def _write_part(self, part: Part) -> list[WireBlock]:
        match part:
            case Text(text=text, extra=extra, sealed=seal):
                # This dialect seals no texts, so whoever did was another.
                self.dropped.add(*(["seal"] if seal else []))
                return self._write_text(text, extra)
            case Refusal(text=text):
                self.dropped.add("refusal")
                return self._write_text(text, {})
            case Reasoning():
                return self._write_thinking(part)
            case ToolCall():
                return [self._write_call(part)]
            case ToolResult():
                return [self._write_result(part)]
            case Image(url=url, detail=detail, extra=extra):
                self.dropped.add(*(["detail"] if detail else []))
                return [
                    {
                        "type": "image",
                        "source": _image_source(url, same_dialect=self.same_dialect),
                        **extra,
                    }
                ]
            case File():
                return self._write_document(part)
            case Audio():
                self.dropped.add("audio")
            case Opaque(value=value):
                return self._unseal_blocks([value])
        return []

    def _write_text(self, text: str, extra: Mapping[str, Any]) -> list[WireBlock]:
        if not self.same_dialect and not text.strip():
            # 'messages: text content blocks must contain non-whitespace text'.
            return []
        unsealed = untag_seals(dict(extra), self.provider)
        if unsealed is None:
            self.dropped.add("seal")
            unsealed = {name: value for name, value in extra.items() if name != "citations"}
        return [{"type": "text", "text": text, **unsealed}]

    def _unseal_blocks(self, blocks: list[WireBlock]) -> list[WireBlock]:
        unsealed: list[WireBlock] = untag_seals(blocks, self.provider)
        if len(unsealed) < len(blocks):
            self.dropped.add("seal")
            self._calls_without_result.update(str(block.get("tool_use_id")) for block in blocks)
        return unsealed

    def _write_thinking(self, part: Reasoning) -> list[WireBlock]:
        blocks: list[WireBlock] = []
        for detail, text in zip(part.details, _text_per_detail(part), strict=True):
            seal = detail.get("signature") or detail.get("data")
            if not isinstance(seal, str):
                continue
            plain = unseal(self.provider, seal)
            if plain is None:
                self.dropped.add("seal")
            elif _is_redacted_seal(detail, plain):
                data = plain.removeprefix(REDACTED_PREFIX)
                blocks.append({"type": "redacted_thinking", "data": data})
            elif text is not None:
                blocks.append({"type": "thinking", "thinking": text, "signature": plain})
        if not blocks and (part.text or part.details):
            self.dropped.add("reasoning")
        return blocks

    def _write_call(self, call: ToolCall) -> WireBlock:
        self.dropped.add(*(["seal"] if call.sealed else []))
        return {
            "type": "tool_use",
            "id": tool_id(call.id),
            "name": call.name,
            "input": raw_tool_input(call.arguments),
            **self._unseal_extra(call.extra),
        }

    def _write_result(self, result: ToolResult) -> WireBlock:
        inner = self.blocks(result.parts)
        # A mark of chat stands on the content of a result; here it is the result that is cached.
        mark = None if self.same_dialect else take_marks(inner)
        block: WireBlock = {
            "type": "tool_result",
            "tool_use_id": tool_id(result.call_id),
            **self._unseal_extra(result.extra),
        }
        if inner:
            block["content"] = text_or_blocks(inner)
        if mark is not None:
            block[MARK] = mark
        return block | ({"is_error": True} if result.failed else {})

    def _unseal_extra(self, extra: dict[str, Any]) -> dict[str, Any]:
        unsealed: dict[str, Any] | None = untag_seals(extra, self.provider)
        return unsealed if unsealed is not None else {}

    def _write_document(self, file: File) -> list[WireBlock]:
        if not file.content:
            self.dropped.add("file_id")
            return []
        title = {"title": file.name} if file.name else {}
        source = _document_source(file.content)
        return [{"type": "document", "source": source, **title, **file.extra}]


def _is_redacted_seal(detail: Mapping[str, Any], plain: str) -> bool:
    return plain.startswith(REDACTED_PREFIX) or detail.get("type") == "reasoning.encrypted"


def _text_per_detail(part: Reasoning) -> list[str | None]:
    """The text that each detail is for: its own, or the next `length` characters of the thought.

    A seal fits no other text, so what cannot be told apart is not said.
    """
    texts: list[str | None] = []
    start = 0
    for detail in part.details:
        own, length = detail.get("text"), detail.get("length")
        if isinstance(length, int):
            texts.append(part.text[start : start + length])
            start += length
        elif isinstance(own, str) and own:
            texts.append(own)
        else:
            texts.append(part.text if len(part.details) == 1 else None)
    return texts


def text_or_blocks(blocks: list[WireBlock]) -> str | list[WireBlock]:
    """A lone text without extras as a string: 'shorthand for an array of one content block'."""
    match blocks:
        case [{"type": "text", "text": str(text), **rest}] if not rest:
            return text
    return blocks


def tool_id(call_id: str) -> str:
    """The id in the characters that are allowed; the same one for a call and for its result.

    Example: `toolu_1` stays, `call 1` becomes `call_1_` and eight digits of its hash.
    """
    allowed = NOT_IN_TOOL_ID.sub("_", call_id)
    if call_id and allowed == call_id:
        return call_id
    return f"{allowed}_{blake2b(call_id.encode(), digest_size=4).hexdigest()}"


def _image_source(url: str, *, same_dialect: bool) -> WireBlock:
    if same_dialect:
        # Between equals a block goes on as it came, whatever its label.
        head = DATA_URL.match(url)
        parts = (head[1], url[head.end() :]) if head is not None else None
    else:
        parts = split_data_url(url)
    if parts is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": parts[0] or DEFAULT_IMAGE_TYPE, "data": parts[1]}


def _document_source(content: str) -> WireBlock:
    if content.startswith(("http://", "https://")):
        return {"type": "url", "url": content}

    media_type, data = split_data_url(content) or (DEFAULT_DOCUMENT_TYPE, content)
    if TEXT_TYPE.match(media_type):
        try:
            return {
                "type": "text",
                "media_type": "text/plain",
                "data": base64.b64decode(data).decode(),
            }
        except (binascii.Error, UnicodeDecodeError):
            pass
    return {"type": "base64", "media_type": media_type or DEFAULT_DOCUMENT_TYPE, "data": data}
