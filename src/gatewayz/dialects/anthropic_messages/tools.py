"""Tools and the choice among them, both ways."""

from typing import Any

from gatewayz.core.conversation import OpaqueTool, Tool, ToolChoice
from gatewayz.core.usage import MAX_UNITS
from gatewayz.dialects.anthropic_messages.loses import NAME
from gatewayz.dialects.fields import Fields

MAX_TOOLS = 1_024
USUAL_SEARCHES = 10
MODES = {"auto": "auto", "any": "required", "none": "none"}
WORDS = {mode: word for word, mode in MODES.items()}


def tools_from_wire(fields: Fields) -> tuple[Tool | OpaqueTool, ...]:
    items = fields.objects("tools", MAX_TOOLS)
    return tuple(_tool(item, fields.inside(f"tools[{index}]")) for index, item in enumerate(items))


def _tool(item: dict[str, Any], path: str) -> Tool | OpaqueTool:
    """A client's own tool; those with another `type` are Anthropic's, with schemas that only its models know."""
    fields = Fields(item, path)
    if item.get("type") not in {None, "custom"}:
        return OpaqueTool(NAME, item, searches=_searches(item))
    return Tool(
        name=fields.text("name") or fields.missing("name"),
        description=fields.text("description"),
        parameters=fields.object("input_schema"),
        strict=fields.flag("strict"),
        extra={name: value for name, value in fields.rest.items() if value is not None},
    )


def _searches(item: dict[str, Any]) -> int:
    """The searches that a server tool may make: `max_uses`, or what a question usually takes at the most."""
    if not str(item.get("type")).startswith("web_search"):
        return 0
    most = item.get("max_uses")
    return min(most, MAX_UNITS) if type(most) is int and most >= 0 else USUAL_SEARCHES


def tool_to_wire(tool: Tool | OpaqueTool) -> dict[str, Any]:
    if isinstance(tool, OpaqueTool):
        return tool.value
    schema = tool.parameters if tool.parameters is not None else {}
    # 'tools.0.custom.input_schema.type: Field required'.
    wire: dict[str, Any] = {"name": tool.name, "input_schema": {"type": "object", **schema}}
    wire |= {"description": tool.description} if tool.description else {}
    wire |= {"strict": tool.strict} if tool.strict is not None else {}
    return wire | tool.extra


def choice_from_wire(fields: Fields) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether calls may be made side by side where the client said so."""
    value = fields.object("tool_choice")
    if value is None:
        return None, None
    disabled = value.get("disable_parallel_tool_use")
    if not isinstance(disabled, bool | None):
        fields.mistyped("tool_choice.disable_parallel_tool_use", "a boolean", disabled)
    parallel = None if disabled is None else not disabled
    match value.get("type"):
        case "auto" | "any" | "none" as word:
            return ToolChoice(MODES[word]), parallel  # type: ignore[arg-type]
        case "tool" if isinstance(value.get("name"), str):
            return ToolChoice("named", value["name"]), parallel
        case str() as word:
            return ToolChoice("opaque", dialect=NAME, value=value), parallel if word else None
    fields.missing("tool_choice.type")


def choice_to_wire(choice: ToolChoice | None, *, parallel: bool | None) -> dict[str, Any] | None:
    """`tool_choice`; a wish about parallel calls has no other place."""
    if choice is not None and choice.mode == "opaque":
        return choice.value
    if choice is None and parallel is not False:
        return None
    mode = choice.mode if choice is not None else "auto"
    wire: dict[str, Any] = (
        {"type": "tool", "name": choice.name}
        if choice is not None and mode == "named"
        else {"type": WORDS[mode]}
    )
    if parallel is not None and mode != "none":
        wire["disable_parallel_tool_use"] = not parallel
    return wire
