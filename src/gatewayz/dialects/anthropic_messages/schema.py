"""JSON Schema, cut to what structured outputs take; what must go is told to the model in the description instead.

The rules are those of the official SDK (`lib/_parse/_transform.py`) and of build-with-claude/structured-outputs:
objects are closed, unions are `anyOf`, sizes and ranges are not enforced.
"""

from typing import Any

from gatewayz.dialects.anthropic_messages.loses import Lost

Schema = dict[str, Any]
FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
KEPT = frozenset(
    {"type", "enum", "const", "anyOf", "allOf", "$ref", "$defs", "title", "description"}
)
SILENT = frozenset(
    {"$schema", "$comment", "$id", "examples", "default", "deprecated", "readOnly", "writeOnly"}
)
"""Keywords that constrain nothing go without a word."""


def closed_schema(schema: Schema, lost: Lost) -> Schema:
    """The schema as `output_config.format` takes it; `lost` receives `schema.KEYWORD` for what is not enforced."""
    made: Schema = {name: value for name, value in schema.items() if name in KEPT}
    told: Schema = {}
    for name, value in schema.items():
        if name not in KEPT and not _shaped(made, name, value, lost) and name not in SILENT:
            lost.add(f"schema.{name}")
            told[name] = value
    for name in ("anyOf", "allOf"):
        if isinstance(made.get(name), list):
            made[name] = [closed_schema(one, lost) for one in made[name] if isinstance(one, dict)]
    if isinstance(made.get("$defs"), dict):
        made["$defs"] = {
            name: closed_schema(one, lost)
            for name, one in made["$defs"].items()
            if isinstance(one, dict)
        }
    if made.get("type") == "object":
        made.setdefault("properties", {})
        made["additionalProperties"] = False
    if told:
        words = "{" + ", ".join(f"{name}: {value}" for name, value in told.items()) + "}"
        made["description"] = (
            f"{made['description']}\n\n{words}" if made.get("description") else words
        )
    return made


def _shaped(made: Schema, name: str, value: Any, lost: Lost) -> bool:
    """Puts in a keyword that is taken in some forms; false when not in this one."""
    match name, value:
        case "properties", dict():
            made["properties"] = {
                key: closed_schema(one, lost) for key, one in value.items() if isinstance(one, dict)
            }
            made.setdefault("type", "object")
        case ("items", dict()):
            made["items"] = closed_schema(value, lost)
        case ("required", list()) | ("minItems", 0 | 1) | ("additionalProperties", False):
            made[name] = value
        case "format", str() if value in FORMATS:
            made["format"] = value
        case "oneOf", list():
            made["anyOf"] = value
        case "definitions", dict():
            made["$defs"] = value
        case _:
            return False
    return True
