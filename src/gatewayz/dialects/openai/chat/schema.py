"""JSON Schemas of other dialects as OpenAI takes them, and whether one may be strict.

A function's parameters: "object schema missing properties" and "array schema missing items" are
refusals (400 `invalid_function_parameters`). Strict schemas name every property as required, allow
no others, and use a subset of JSON Schema (platform.openai.com/docs/guides/structured-outputs,
"Supported schemas").
"""

import re
from typing import Any

Schema = dict[str, Any]
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""`response_format.json_schema.name`: "Must be a-z, A-Z, 0-9, or contain underscores and dashes,
with a maximum length of 64"."""
NOT_IN_NAME = re.compile(r"[^a-zA-Z0-9_-]+")
MAX_NAME = 64
DEFAULT_NAME = "answer"
MAX_DEPTH = 10
"""Levels of a strict schema; others are walked as deep."""
MAX_PROPERTIES = 5_000
STRICT_KEYWORDS = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "enum", "const"),
        *("anyOf", "$ref", "$defs", "definitions", "description", "title"),
        *("pattern", "format", "multipleOf", "maximum", "minimum"),
        *("exclusiveMaximum", "exclusiveMinimum", "minItems", "maxItems"),
    }
)
SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
SCHEMA_MAPS = ("properties", "$defs", "definitions")


def function_parameters(schema: Schema | None) -> Schema:
    """A function's parameters with what must stand in them; a schema that is whole stays as it is.

    Example: `{"type": "object"}` → `{"type": "object", "properties": {}}`.
    """
    root = dict(schema or {})
    root["type"] = "object"
    if not isinstance(root.get("properties"), dict):
        root["properties"] = {}
    mended: Schema = _with_items(root, MAX_DEPTH)
    return mended


def _with_items(schema: Any, depth: int) -> Any:
    """The schema with `items` in every array."""
    if not isinstance(schema, dict) or not depth:
        return schema
    mended = dict(schema)
    kind = schema.get("type")
    if (kind == "array" or (isinstance(kind, list) and "array" in kind)) and not (
        schema.keys() & {"items", "prefixItems"}
    ):
        mended["items"] = {}
    for key in SCHEMA_MAPS:
        if isinstance(schema.get(key), dict):
            mended[key] = {name: _with_items(part, depth - 1) for name, part in schema[key].items()}
    for key in SCHEMA_LISTS:
        if isinstance(schema.get(key), list):
            mended[key] = [_with_items(part, depth - 1) for part in schema[key]]
    if "items" in schema:
        mended["items"] = _with_items(schema["items"], depth - 1)
    return mended


def format_name(name: str, schema: Schema | None) -> str:
    """A name for the answer's schema: its own, its title in the letters that are allowed, or one."""
    if NAME.fullmatch(name):
        return name
    title = name or str((schema or {}).get("title") or "")
    return NOT_IN_NAME.sub("_", title).strip("_")[:MAX_NAME] or DEFAULT_NAME


def may_be_strict(schema: Schema | None) -> bool:
    """Whether OpenAI takes a schema with `strict: true`."""
    return (
        isinstance(schema, dict)
        and schema.get("type") == "object"
        and _is_strict(schema, MAX_DEPTH)
    )


def _is_strict(schema: Any, depth: int) -> bool:
    if not isinstance(schema, dict) or not depth or schema.keys() - STRICT_KEYWORDS:
        return False
    properties = schema.get("properties")
    if schema.get("type") == "object" or properties is not None:
        if not isinstance(properties, dict) or len(properties) > MAX_PROPERTIES:
            return False
        if schema.get("additionalProperties") is not False:
            return False
        if {*schema.get("required", ())} != properties.keys():
            return False
    inner = [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())]
    for key in SCHEMA_MAPS:
        inner += (schema.get(key) or {}).values()
    return all(_is_strict(part, depth - 1) for part in inner)
