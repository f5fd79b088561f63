"""Tools, the choice among them, and the input of a call, both ways."""

from typing import Any

import msgspec
from msgspec import Raw

from gatewayz.core.conversation import OpaqueTool, Tool, ToolChoice
from gatewayz.core.usage import MAX_UNITS
from gatewayz.dialects.anthropic.wire import NAME
from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.kit.fields import Fields
from gatewayz.dialects.kit.jsontext import decode_json
from gatewayz.dialects.kit.schema_union import without_top_union

MAX_TOOLS = 1_024
DEFAULT_SEARCHES = 10
"""Searches of a server tool without `max_uses`: what a question usually takes at the most."""
MODES = {"auto": "auto", "any": "required", "none": "none"}
"""`tool_choice.type` → mode."""
CHOICE_TYPES = {mode: type_ for type_, mode in MODES.items()}


def tools_from_wire(fields: Fields) -> tuple[Tool | OpaqueTool, ...]:
    """The tools of a request. Faults: `bad_request` names the field of the tool that is wrong."""
    items = fields.objects("tools", MAX_TOOLS)
    return tuple(
        _tool_from_wire(item, fields.path_inside(f"tools[{index}]"))
        for index, item in enumerate(items)
    )


def _tool_from_wire(item: dict[str, Any], path: str) -> Tool | OpaqueTool:
    """A client's own tool; one with another `type` is Anthropic's, and only its models know it."""
    fields = Fields(item, path)
    if item.get("type") not in {None, "custom"}:
        return OpaqueTool(NAME, item, searches=_max_searches(item))
    return Tool(
        name=fields.text("name") or fields.raise_missing("name"),
        description=fields.text("description"),
        parameters=fields.object("input_schema"),
        strict=fields.flag("strict"),
        extra={name: value for name, value in fields.rest.items() if value is not None},
    )


def _max_searches(item: dict[str, Any]) -> int:
    """The searches that a server tool may make."""
    if not str(item.get("type")).startswith("web_search"):
        return 0
    max_uses = item.get("max_uses")
    if type(max_uses) is int and max_uses >= 0:
        return min(max_uses, MAX_UNITS)
    return DEFAULT_SEARCHES


def tool_to_wire(
    tool: Tool | OpaqueTool, dropped: Dropped, *, same_dialect: bool
) -> dict[str, Any]:
    """The tool; example: `{"name": "weather", "input_schema": {"type": "object"}}`."""
    if isinstance(tool, OpaqueTool):
        return tool.value
    schema = tool.parameters if tool.parameters is not None else {}
    if not same_dialect:
        # 'input_schema does not support oneOf, allOf, or anyOf at the top level'.
        schema = without_top_union(schema, dropped)
    # 'tools.0.custom.input_schema.type: Field required'.
    wire: dict[str, Any] = {"name": tool.name, "input_schema": {"type": "object", **schema}}
    if not same_dialect and wire["input_schema"]["type"] != "object":
        wire["input_schema"]["type"] = "object"
    wire |= {"description": tool.description} if tool.description else {}
    wire |= {"strict": tool.strict} if tool.strict is not None else {}
    return wire | tool.extra


def choice_from_wire(fields: Fields) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether calls may be made side by side, where the client says so.

    Example: `{"type": "any"}` → `(ToolChoice("required"), None)`.
    """
    value = fields.object("tool_choice")
    if value is None:
        return None, None
    disabled = value.get("disable_parallel_tool_use")
    if not isinstance(disabled, bool | None):
        fields.raise_wrong_type("tool_choice.disable_parallel_tool_use", "a boolean", disabled)
    parallel = None if disabled is None else not disabled

    match value.get("type"):
        case "auto" | "any" | "none" as type_:
            return ToolChoice(MODES[type_]), parallel  # type: ignore[arg-type]
        case "tool" if isinstance(value.get("name"), str):
            return ToolChoice("named", value["name"]), parallel
        case str() as type_:
            return ToolChoice("opaque", dialect=NAME, value=value), parallel if type_ else None
    fields.raise_missing("tool_choice.type")


def choice_to_wire(choice: ToolChoice | None, *, parallel: bool | None) -> dict[str, Any] | None:
    """`tool_choice`, which is also the only place for a preference about parallel calls."""
    if choice is not None and choice.mode == "opaque":
        return choice.value
    if choice is None and parallel is not False:
        return None

    mode = choice.mode if choice is not None else "auto"
    wire: dict[str, Any]
    if choice is not None and mode == "named":
        wire = {"type": "tool", "name": choice.name}
    else:
        wire = {"type": CHOICE_TYPES[mode]}
    if parallel is not None and mode != "none":
        wire["disable_parallel_tool_use"] = not parallel
    return wire


def tool_input(arguments: str) -> dict[str, Any]:
    """A call's arguments as the object that they must be here; anything else stands inside one.

    Example: `'{"city": "Paris"}'` → `{"city": "Paris"}`, `"Paris"` → `{"arguments": "Paris"}`.
    """
    value = _decode_arguments(arguments)
    return value if isinstance(value, dict) else {"arguments": value}


def raw_tool_input(arguments: str) -> dict[str, Any] | Raw:
    """The same, to the byte where the arguments are an object."""
    value = _decode_arguments(arguments)
    if not isinstance(value, dict):
        return {"arguments": value}
    return Raw(arguments.encode()) if value else {}


def _decode_arguments(arguments: str) -> Any:
    """The JSON of the arguments; the text itself where it is none."""
    try:
        return decode_json(arguments.encode()) if arguments.strip() else {}
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return arguments
