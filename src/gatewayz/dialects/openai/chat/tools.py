"""Tools, the choice among them, and the format of the answer, both ways."""

from typing import Any

from gatewayz.core.conversation import OpaqueTool, Tool, ToolChoice
from gatewayz.core.requests import ResponseFormat
from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.kit.fields import Fields
from gatewayz.dialects.kit.schema_union import without_top_union
from gatewayz.dialects.openai.chat.schema import format_name, function_parameters, may_be_strict
from gatewayz.dialects.openai.chat.wire import NAME

MAX_TOOLS = 1_024
"""As many as in any dialect: the provider refuses what is too much for it."""
DEFAULT_SEARCHES = 10
"""Searches of a tool that the provider runs: what a question usually takes at the most."""
SEARCH_TOOLS = ("web_search", "web_browser", "x_search", "browser_search", "live_search")
MODES = ("auto", "none", "required")
UNTAKEN = ("enum", "not")
"""Beside unions: "schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at
the top level" (400 `invalid_function_parameters`)."""
FORCED_MODES = frozenset({"required", "named"})
"""Choices that mean nothing without tools."""


def tools_from_wire(fields: Fields) -> tuple[Tool | OpaqueTool, ...]:
    return tuple(
        _tool(item, f"tools[{index}].")
        for index, item in enumerate(fields.objects("tools", MAX_TOOLS))
    )


def _tool(item: dict[str, Any], path: str) -> Tool | OpaqueTool:
    fields = Fields(item, path)
    if (fields.text("type") or "function") != "function":
        searches = DEFAULT_SEARCHES if str(item.get("type")).startswith(SEARCH_TOOLS) else 0
        return OpaqueTool(NAME, item, searches=searches)
    function = Fields(
        fields.object("function") or fields.raise_missing("function"), f"{path}function."
    )
    return Tool(
        name=function.text("name") or function.raise_missing("name"),
        description=function.text("description"),
        parameters=function.object("parameters"),
        strict=function.flag("strict"),
        extra=fields.rest | ({"function": function.rest} if function.rest else {}),
    )


def tool_to_wire(
    tool: Tool | OpaqueTool, dropped: Dropped, *, same_dialect: bool
) -> dict[str, Any]:
    """The tool; a schema that comes from another dialect as OpenAI takes it."""
    if isinstance(tool, OpaqueTool):
        return tool.value
    parameters, strict = tool.parameters, tool.strict
    if not same_dialect:
        parameters = function_parameters(without_top_union(parameters or {}, dropped, UNTAKEN))
        strict = strict and may_be_strict(parameters)
    optional = {
        "name": tool.name,
        "description": tool.description or None,
        "parameters": parameters,
        "strict": strict,
    }
    function = {key: value for key, value in optional.items() if value is not None}
    inner = tool.extra.get("function", {})
    return {"type": "function", **tool.extra, "function": function | inner}


def tool_choice_from_wire(fields: Fields) -> ToolChoice | None:
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
            names = tuple(name for tool in tools if (name := _function_name(tool)))
            if names and len(names) == len(tools):
                return ToolChoice(mode, allowed=names)
            fields.raise_invalid("tool_choice", "allowed_tools may name functions only")
        case dict(value):
            return ToolChoice("opaque", dialect=NAME, value=value)
        case value:
            fields.raise_wrong_type("tool_choice", f"an object or one of {', '.join(MODES)}", value)


def _function_name(tool: Any) -> str:
    match tool:
        case {"type": "function", "function": {"name": str(name)}}:
            return name
    return ""


def tool_choice_to_wire(choice: ToolChoice) -> str | dict[str, Any]:
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


def format_from_wire(fields: Fields) -> ResponseFormat | None:
    """The answer's format; a type that is not OpenAI's stays in the request's `extra`."""
    value = fields.object("response_format")
    if value is None:
        return None
    match value:
        case {"type": "text" | "json_object" as kind}:
            return ResponseFormat(kind=kind)
        case {"type": "json_schema", "json_schema": dict(definition)}:
            inner = Fields(definition, "response_format.json_schema.")
            return ResponseFormat(
                kind="json_schema",
                name=inner.text("name") or inner.raise_missing("name"),
                description=inner.text("description"),
                schema=inner.object("schema"),
                strict=inner.flag("strict"),
            )
        case {"type": "json_schema"}:
            Fields(value, "response_format.").raise_missing("json_schema")
        case {"type": str()}:
            fields.rest["response_format"] = value
            return None
    fields.raise_missing("response_format.type")


def format_to_wire(format_: ResponseFormat, *, same_dialect: bool) -> dict[str, Any]:
    """The answer's format; what another dialect has no word for is filled in.

    Other dialects follow a schema to the letter, which OpenAI only does where it is `strict`.
    """
    if format_.kind != "json_schema":
        return {"type": format_.kind}
    name, strict = format_.name, format_.strict
    if not same_dialect:
        name = format_name(name, format_.schema)
        if strict is None and may_be_strict(format_.schema):
            strict = True
    optional = {
        "name": name,
        "description": format_.description or None,
        "schema": format_.schema,
        "strict": strict,
    }
    inner = {key: value for key, value in optional.items() if value is not None}
    return {"type": "json_schema", "json_schema": inner}
