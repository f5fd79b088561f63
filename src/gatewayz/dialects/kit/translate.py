"""A request on its way into another dialect: without what only its own understands, which is named.

Law: no `extra` and no opaque part crosses between dialects. What a client must not lose
unknowingly, parts of a user's message and tools, is told by `untranslatable` before any provider is
asked.
"""

from msgspec.structs import replace

from gatewayz.core.conversation import Message, Opaque, OpaqueTool, Part, Tool, ToolResult
from gatewayz.core.requests import ChatRequest, CountRequest, Request
from gatewayz.dialects.kit.dropped import Dropped

TRANSPORT_PREFIX = ":"
"""Begins names in `extra` of what only tells how the request was sent: it stays behind unnamed."""


def translate(request: ChatRequest, dialect: str) -> tuple[ChatRequest, tuple[str, ...]]:
    """The request as `dialect` may read it, and what it lost; its own pass as they are."""
    if request.dialect == dialect:
        return request, ()
    dropped = Dropped()
    dropped.add(*(name for name in request.extra if not name.startswith(TRANSPORT_PREFIX)))
    messages = tuple(_translate_message(message, dialect, dropped) for message in request.messages)
    tools = tuple(
        translated
        for tool in request.tools
        if (translated := _translate_tool(tool, dialect, dropped)) is not None
    )
    choice = request.tool_choice
    if choice is not None and choice.mode == "opaque" and choice.dialect != dialect:
        choice = None
        dropped.add("tool_choice")
    translated_request = replace(
        request, messages=messages, tools=tools, tool_choice=choice, extra={}
    )
    return translated_request, dropped.names()


def untranslatable(request: Request, dialect: str) -> str:
    """What the client would miss in `dialect`, as the end of a sentence; empty when nothing.

    Example: `it has no tool 'web_search_20250305'`.
    """
    chat = request.chat if isinstance(request, CountRequest) else request
    if chat.dialect == dialect or not isinstance(chat, ChatRequest):
        return ""
    for tool in chat.tools:
        if isinstance(tool, OpaqueTool) and tool.dialect != dialect:
            return f"it has no tool '{tool.value.get('name') or tool.value.get('type')}'"
    for message in chat.messages:
        for part in message.parts if message.role != "assistant" else ():
            inner = part.parts if isinstance(part, ToolResult) else (part,)
            for content in inner:
                if isinstance(content, Opaque) and content.dialect != dialect:
                    return f"it takes no content of the type '{content.value.get('type')}'"
    return ""


def _translate_message(message: Message, dialect: str, dropped: Dropped) -> Message:
    dropped.add(*message.extra)
    return replace(message, parts=_translate_parts(message.parts, dialect, dropped), extra={})


def _translate_parts(parts: tuple[Part, ...], dialect: str, dropped: Dropped) -> tuple[Part, ...]:
    return tuple(
        translated
        for part in parts
        if (translated := _translate_part(part, dialect, dropped)) is not None
    )


def _translate_part(part: Part, dialect: str, dropped: Dropped) -> Part | None:
    if isinstance(part, Opaque):
        if part.dialect == dialect:
            return part
        dropped.add(str(part.value.get("type") or "content"))
        return None
    if isinstance(part, ToolResult) and any(
        type(inner) is Opaque or _extra_of_part(inner) for inner in part.parts
    ):
        part = replace(part, parts=_translate_parts(part.parts, dialect, dropped))
    extra = _extra_of_part(part)
    if not extra:
        return part
    dropped.add(*extra)
    return replace(part, extra={})


def _extra_of_part(part: object) -> dict[str, object]:
    extra: dict[str, object] = getattr(part, "extra", {})
    return extra


def _translate_tool(
    tool: Tool | OpaqueTool, dialect: str, dropped: Dropped
) -> Tool | OpaqueTool | None:
    if isinstance(tool, OpaqueTool):
        if tool.dialect == dialect:
            return tool
        dropped.add(f"tools.{tool.value.get('type')}")
        return None
    dropped.add(*tool.extra)
    return replace(tool, extra={}) if tool.extra else tool
