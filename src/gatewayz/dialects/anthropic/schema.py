"""JSON Schema, reduced to what structured outputs take.

The rest is told to the model in `description`. The rules are those of the official SDK
(`lib/_parse/_transform.py`) and of build-with-claude/structured-outputs: objects are closed, unions
are `anyOf`, sizes and ranges are not enforced.
"""

from typing import Any

from gatewayz.dialects.kit.dropped import Dropped

Schema = dict[str, Any]
FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
SUPPORTED_KEYWORDS = frozenset(
    {"type", "enum", "const", "anyOf", "allOf", "$ref", "$defs", "title", "description"}
)
IGNORED_KEYWORDS = frozenset(
    {"$schema", "$comment", "$id", "examples", "default", "deprecated", "readOnly", "writeOnly"}
)
"""Keywords that constrain nothing, and are left out without a word."""


def output_schema(schema: Schema, dropped: Dropped) -> Schema:
    """The schema as `output_config.format` takes it.

    `dropped` receives `schema.KEYWORD` for what is not enforced. Example:
    `{"minLength": 2}` → `{"description": "{minLength: 2}"}`, and `schema.minLength`.
    """
    reduced: Schema = {
        keyword: value for keyword, value in schema.items() if keyword in SUPPORTED_KEYWORDS
    }
    not_enforced: Schema = {}
    for keyword, value in schema.items():
        if keyword in SUPPORTED_KEYWORDS or _convert_keyword(reduced, keyword, value, dropped):
            continue
        if keyword not in IGNORED_KEYWORDS:
            dropped.add(f"schema.{keyword}")
            not_enforced[keyword] = value

    for keyword in ("anyOf", "allOf"):
        if isinstance(reduced.get(keyword), list):
            reduced[keyword] = [
                output_schema(inner, dropped)
                for inner in reduced[keyword]
                if isinstance(inner, dict)
            ]
    if isinstance(reduced.get("$defs"), dict):
        reduced["$defs"] = _reduce_values(reduced["$defs"], dropped)
    if reduced.get("type") == "object":
        reduced.setdefault("properties", {})
        reduced["additionalProperties"] = False

    if not_enforced:
        words = ", ".join(f"{keyword}: {value}" for keyword, value in not_enforced.items())
        before = f"{reduced['description']}\n\n" if reduced.get("description") else ""
        reduced["description"] = f"{before}{{{words}}}"
    return reduced


def _reduce_values(schemas: Schema, dropped: Dropped) -> Schema:
    """Named schemas, each of them reduced."""
    return {
        name: output_schema(inner, dropped)
        for name, inner in schemas.items()
        if isinstance(inner, dict)
    }


def _convert_keyword(reduced: Schema, keyword: str, value: Any, dropped: Dropped) -> bool:
    """Adds a keyword that is taken in some forms only; false when not in this one."""
    match keyword, value:
        case "properties", dict():
            reduced["properties"] = _reduce_values(value, dropped)
            reduced.setdefault("type", "object")
        case ("items", dict()):
            reduced["items"] = output_schema(value, dropped)
        case ("required", list()) | ("minItems", 0 | 1) | ("additionalProperties", False):
            reduced[keyword] = value
        case "format", str() if value in FORMATS:
            reduced["format"] = value
        case "oneOf", list():
            reduced["anyOf"] = value
        case "definitions", dict():
            reduced["$defs"] = value
        case _:
            return False
    return True
