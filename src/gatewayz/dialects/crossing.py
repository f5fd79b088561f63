"""Crossing: a request that leaves its dialect, without what only that dialect understands, and the names of what stays.

Law: no `extra` and no opaque part crosses between dialects. What a client must not lose unknowingly is said by
`stays_home` before anybody is asked: parts of a user's message, and tools.
"""

from msgspec.structs import replace

from gatewayz.core.conversation import Message, Opaque, OpaqueTool, Part, Tool, ToolResult
from gatewayz.core.requests import ChatRequest, CountRequest, Request

ABOUT_THE_WIRE = ":"
"""Begins names in `extra` of what only says how the request was sent: nothing is lost when it stays behind."""


def crossed(request: ChatRequest, dialect: str) -> tuple[ChatRequest, tuple[str, ...]]:
    """The request as `dialect` may read it; its own requests pass as they are."""
    if request.dialect == dialect:
        return request, ()
    lost = dict.fromkeys(name for name in request.extra if not name.startswith(ABOUT_THE_WIRE))
    messages = tuple(_message(message, dialect, lost) for message in request.messages)
    tools = tuple(
        kept for tool in request.tools if (kept := _tool(tool, dialect, lost)) is not None
    )
    choice = request.tool_choice
    if choice is not None and choice.mode == "opaque" and choice.dialect != dialect:
        choice, lost["tool_choice"] = None, None
    return replace(request, messages=messages, tools=tools, tool_choice=choice, extra={}), tuple(
        lost
    )


def stays_home(request: Request, dialect: str) -> str:
    """What of the request `dialect` cannot be told and the client would miss; empty when nothing."""
    chat = request.chat if isinstance(request, CountRequest) else request
    if chat.dialect == dialect or not isinstance(chat, ChatRequest):
        return ""
    for tool in chat.tools:
        if isinstance(tool, OpaqueTool) and tool.dialect != dialect:
            return f"it has no tool '{tool.value.get('name') or tool.value.get('type')}'"
    for message in chat.messages:
        for part in message.parts if message.role != "assistant" else ():
            inner = part.parts if isinstance(part, ToolResult) else (part,)
            for one in inner:
                if isinstance(one, Opaque) and one.dialect != dialect:
                    return f"it takes no content of the type '{one.value.get('type')}'"
    return ""


def _message(message: Message, dialect: str, lost: dict[str, None]) -> Message:
    lost.update(dict.fromkeys(message.extra))
    return replace(message, parts=_parts(message.parts, dialect, lost), extra={})


def _parts(parts: tuple[Part, ...], dialect: str, lost: dict[str, None]) -> tuple[Part, ...]:
    return tuple(kept for part in parts if (kept := _part(part, dialect, lost)) is not None)


def _part(part: Part, dialect: str, lost: dict[str, None]) -> Part | None:
    if isinstance(part, Opaque):
        if part.dialect == dialect:
            return part
        lost[str(part.value.get("type") or "content")] = None
        return None
    if isinstance(part, ToolResult) and any(
        type(inner) is Opaque or _extra(inner) for inner in part.parts
    ):
        part = replace(part, parts=_parts(part.parts, dialect, lost))
    extra = _extra(part)
    if not extra:
        return part
    lost.update(dict.fromkeys(extra))
    return replace(part, extra={})


def _extra(part: object) -> dict[str, object]:
    found: dict[str, object] = getattr(part, "extra", {})
    return found


def _tool(tool: Tool | OpaqueTool, dialect: str, lost: dict[str, None]) -> Tool | OpaqueTool | None:
    if isinstance(tool, OpaqueTool):
        if tool.dialect == dialect:
            return tool
        lost[f"tools.{tool.value.get('type')}"] = None
        return None
    lost.update(dict.fromkeys(tool.extra))
    return replace(tool, extra={}) if tool.extra else tool
