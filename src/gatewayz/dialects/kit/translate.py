"""A request on its way into another dialect: without what only its own understands, which is named.

Law: of `extra` only what both dialects know crosses (`keeps`), and no opaque part but in plain
words. What a client must not lose unknowingly is refused before any provider is asked (`native`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from gatewayz.core.conversation import Message, Opaque, OpaqueTool, Part, Text, Tool, ToolResult
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.kit.dropped import Dropped

TRANSPORT_PREFIX = ":"
"""Begins names in `extra` of what only tells how the request was sent: it stays behind unnamed."""
NOTHING: frozenset[str] = frozenset()
CLIENT_NOTES = {"anthropic_messages": "x-anthropic-billing-header:"}
"""Dialect → how a line of its system prompt begins that is meant for its provider alone, and no
prompt: it changes from call to call, so every prefix cache would end there
(github.com/anthropics/claude-code/issues/68900)."""


def translate(
    request: ChatRequest, dialect: str, keeps: frozenset[str] = NOTHING
) -> tuple[ChatRequest, tuple[str, ...]]:
    """The request as `dialect` may read it, and what it lost; its own pass as they are.

    `keeps` are names in `extra` that the target understands too.
    """
    if request.dialect == dialect:
        return request, ()
    dropped = Dropped()
    into = _Translator(dialect, keeps, dropped)
    extra = into.extra_that_crosses(request.extra)
    note = CLIENT_NOTES.get(request.dialect, "")
    messages = tuple(
        into.message(message)
        for message in (
            _without_notes(request.messages, note, dropped) if note else request.messages
        )
    )
    tools = tuple(
        translated for tool in request.tools if (translated := into.tool(tool)) is not None
    )
    choice = request.tool_choice
    if choice is not None and choice.mode == "opaque" and choice.dialect != dialect:
        choice = None
        dropped.add("tool_choice")
    translated_request = replace(
        request, messages=messages, tools=tools, tool_choice=choice, extra=extra
    )
    return translated_request, dropped.names()


def _without_notes(messages: Iterable[Message], note: str, dropped: Dropped) -> Iterable[Message]:
    """The messages without lines of the system prompt that are meant for its own provider."""
    for message in messages:
        is_noted = message.role == "system" and any(
            isinstance(part, Text) and part.text.startswith(note) for part in message.parts
        )
        if not is_noted:
            yield message
            continue
        dropped.add(note.rstrip(":"))
        parts = [_without_note(part, note) for part in message.parts]
        kept = tuple(part for part in parts if part is not None)
        if kept:
            yield replace(message, parts=kept)


def _without_note(part: Part, note: str) -> Part | None:
    if not isinstance(part, Text) or not part.text.startswith(note):
        return part
    rest = part.text.partition("\n")[2].lstrip("\n")
    return replace(part, text=rest) if rest else None


class _Translator:
    """Parts of a request into one dialect; `dropped` receives what they lose."""

    def __init__(self, dialect: str, keeps: frozenset[str], dropped: Dropped) -> None:
        self._dialect = dialect
        self._keeps = keeps
        self._dropped = dropped

    def extra_that_crosses(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        """What of the extra crosses; the rest is named."""
        if not extra:
            return {}
        self._dropped.add(
            *(
                name
                for name in extra
                if name not in self._keeps and not name.startswith(TRANSPORT_PREFIX)
            )
        )
        return {name: value for name, value in extra.items() if name in self._keeps}

    def message(self, message: Message) -> Message:
        return replace(
            message, parts=self._parts(message.parts), extra=self.extra_that_crosses(message.extra)
        )

    def _parts(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        return tuple(translated for part in parts for translated in self._part(part))

    def _part(self, part: Part) -> tuple[Part, ...]:
        if isinstance(part, Opaque):
            if part.dialect == self._dialect:
                return (part,)
            if not part.plain:
                self._dropped.add(str(part.value.get("type") or "content"))
            return self._parts(part.plain)
        if isinstance(part, ToolResult) and any(
            type(inner) is Opaque or _extra_of_part(inner) for inner in part.parts
        ):
            part = replace(part, parts=self._parts(part.parts))
        extra = _extra_of_part(part)
        return (replace(part, extra=self.extra_that_crosses(extra)) if extra else part,)

    def tool(self, tool: Tool | OpaqueTool) -> Tool | OpaqueTool | None:
        if isinstance(tool, OpaqueTool):
            if tool.dialect == self._dialect:
                return tool
            self._dropped.add(f"tools.{tool.value.get('type')}")
            return None
        if not tool.extra:
            return tool
        # Chat's tools have fields beside the function and inside it.
        inner = tool.extra.get("function")
        extra = {**inner, **tool.extra} if isinstance(inner, dict) else tool.extra
        return replace(
            tool,
            extra=self.extra_that_crosses(
                {name: value for name, value in extra.items() if value is not inner}
            ),
        )


def _extra_of_part(part: object) -> dict[str, Any]:
    extra: dict[str, Any] = getattr(part, "extra", {})
    return extra
