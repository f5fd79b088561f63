"""Tools, the choice among them, and the format of the answer, both ways."""

from typing import Any

from gatewayz.core.conversation import OpaqueTool, Tool, ToolChoice
from gatewayz.core.requests import Format
from gatewayz.dialects.fields import Fields
from gatewayz.dialects.openai_chat.messages import NAME

MAX_TOOLS = 256
MODES = ("auto", "none", "required")


def tools_from_wire(fields: Fields) -> tuple[Tool | OpaqueTool, ...]:
    return tuple(
        _tool(item, f"tools[{index}].")
        for index, item in enumerate(fields.objects("tools", MAX_TOOLS))
    )


def _tool(item: dict[str, Any], path: str) -> Tool | OpaqueTool:
    fields = Fields(item, path)
    if (fields.text("type") or "function") != "function":
        return OpaqueTool(NAME, item)
    function = Fields(fields.object("function") or fields.missing("function"), f"{path}function.")
    return Tool(
        name=function.text("name") or function.missing("name"),
        description=function.text("description"),
        parameters=function.object("parameters"),
        strict=function.flag("strict"),
        extra=fields.rest | ({"function": function.rest} if function.rest else {}),
    )


def tool_to_wire(tool: Tool | OpaqueTool) -> dict[str, Any]:
    if isinstance(tool, OpaqueTool):
        return tool.value
    named = {
        "name": tool.name,
        "description": tool.description or None,
        "parameters": tool.parameters,
    }
    function = {
        key: value for key, value in (named | {"strict": tool.strict}).items() if value is not None
    }
    inner = tool.extra.get("function", {})
    return {"type": "function", **tool.extra, "function": function | inner}


def choice_from_wire(fields: Fields) -> ToolChoice | None:
    match fields.rest.pop("tool_choice", None):
        case None:
            return None
        case "any":
            return ToolChoice("required")
        case "auto" | "none" | "required" as mode:
            return ToolChoice(mode)
        case {"type": "function", "function": {"name": str(name)}}:
            return ToolChoice("named", name)
        case {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(tools)},
        }:
            names = tuple(name for tool in tools if (name := _allowed(tool)))
            if names and len(names) == len(tools):
                return ToolChoice(mode, allowed=names)
            fields.wrong("tool_choice", "expected functions by their names in allowed_tools")
        case dict(value):
            return ToolChoice("opaque", dialect=NAME, value=value)
        case value:
            fields.mistyped("tool_choice", f"an object or one of {', '.join(MODES)}", value)


def _allowed(tool: Any) -> str:
    match tool:
        case {"type": "function", "function": {"name": str(name)}}:
            return name
    return ""


def choice_to_wire(choice: ToolChoice) -> str | dict[str, Any]:
    if choice.allowed:
        tools = [{"type": "function", "function": {"name": name}} for name in choice.allowed]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": tools}}
    match choice.mode:
        case "named":
            return {"type": "function", "function": {"name": choice.name}}
        case "opaque":
            return choice.value
        case mode:
            return mode


def format_from_wire(fields: Fields) -> Format | None:
    """The answer's format; forms that are not OpenAI's stay in the request's `extra`."""
    value = fields.object("response_format")
    if value is None:
        return None
    match value:
        case {"type": "text" | "json_object" as kind}:
            return Format(kind=kind)
        case {"type": "json_schema", "json_schema": dict(given)}:
            inner = Fields(given, "response_format.json_schema.")
            return Format(
                kind="json_schema",
                name=inner.text("name") or inner.missing("name"),
                description=inner.text("description"),
                schema=inner.object("schema"),
                strict=inner.flag("strict"),
            )
        case {"type": "json_schema"}:
            Fields(value, "response_format.").missing("json_schema")
        case {"type": str()}:
            fields.rest["response_format"] = value
            return None
    fields.missing("response_format.type")


def format_to_wire(asked: Format) -> dict[str, Any]:
    if asked.kind != "json_schema":
        return {"type": asked.kind}
    named = {"name": asked.name, "description": asked.description or None, "schema": asked.schema}
    inner = {
        key: value for key, value in (named | {"strict": asked.strict}).items() if value is not None
    }
    return {"type": "json_schema", "json_schema": inner}
