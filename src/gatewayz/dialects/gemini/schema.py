"""JSON Schema, cut to what Gemini takes: most of it from Gemini 2.5 on, a subset of OpenAPI 3.0 before.

What can be said otherwise is rewritten (`const`, `oneOf`, `allOf`, a list of types); what cannot is taken out and
declared as `schema.KEYWORD`. Keywords that constrain nothing (`$schema`, `$comment`, examples) go without a word.
"""

from collections.abc import Mapping
from typing import Any

from gatewayz.dialects.gemini.loses import Lost

Schema = dict[str, Any]

JSON_KEYWORDS = frozenset(
    {
        "$id",
        "$anchor",
        "$ref",
        "$defs",
        "type",
        "format",
        "title",
        "description",
        "enum",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "anyOf",
        "properties",
        "additionalProperties",
        "required",
        "propertyOrdering",
    }
)
"""GenerationConfig.responseJsonSchema: 'Specifically, only the following properties are supported'."""
OPENAPI_KEYWORDS = frozenset(
    {
        "type",
        "format",
        "title",
        "description",
        "nullable",
        "enum",
        "items",
        "minItems",
        "maxItems",
        "properties",
        "required",
        "minProperties",
        "maxProperties",
        "minLength",
        "maxLength",
        "pattern",
        "anyOf",
        "propertyOrdering",
        "minimum",
        "maximum",
    }
)
"""ai.google.dev/api/caching#Schema."""
SILENT = frozenset(
    {"$schema", "$comment", "examples", "example", "default", "deprecated", "readOnly", "writeOnly"}
)
JSON_FORMATS = frozenset({"date-time", "date", "time", "int32", "int64", "float", "double"})
OPENAPI_FORMATS = frozenset({"date-time", "enum", "int32", "int64", "float", "double"})
SHAPES: dict[type | tuple[type, ...], tuple[str, ...]] = {
    str: ("$id", "$anchor", "$ref", "format", "title", "description", "pattern"),
    (str, list): ("type",),
    list: ("enum", "required", "anyOf", "oneOf", "allOf", "prefixItems", "propertyOrdering"),
    dict: ("properties", "$defs", "definitions"),
    (dict, bool): ("items", "additionalProperties"),
    (int, float): ("minItems", "maxItems", "minimum", "maximum", "minLength", "maxLength"),
    bool: ("nullable",),
}
"""What a keyword's value must be; another one says nothing and is left out."""
SHAPE_OF = {keyword: shape for shape, keywords in SHAPES.items() for keyword in keywords}
MAX_NODES = 5_000
"""Schemas within a schema; references are inlined for older models, and may multiply."""
MAX_INLINED = 8
"""References within references, before a schema that holds itself is cut."""


def json_schema(schema: Schema, lost: Lost) -> Schema:
    """The schema for `responseJsonSchema` and `parametersJsonSchema`."""
    return _JsonCut(lost).cut(schema)


def openapi_schema(schema: Schema, lost: Lost) -> Schema:
    """The schema for `responseSchema` and `parameters`: no references, no unions of types."""
    named = {**_mapping(schema.get("definitions")), **_mapping(schema.get("$defs"))}
    return _OpenApiCut(lost, named).cut(schema)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


class _Cut:
    """What both forms share."""

    keywords: frozenset[str]
    formats: frozenset[str]

    def __init__(self, lost: Lost) -> None:
        self.lost = lost
        self._room = MAX_NODES

    def cut(self, schema: Any) -> Schema:
        """One schema; `true` and whatever is none constrain nothing."""
        self._room -= 1
        if not isinstance(schema, dict) or self._room < 0:
            return {}
        return self.shaped(self._plain(schema))

    def shaped(self, schema: Schema) -> Schema:
        """The schema with its inner ones cut."""
        made: Schema = {}
        for keyword, value in schema.items():
            if keyword not in self.keywords:
                self._gone(keyword)
            elif keyword in {"anyOf", "prefixItems"} and isinstance(value, list):
                made[keyword] = [self.cut(inner) for inner in value]
            elif keyword in {"properties", "$defs"} and isinstance(value, dict):
                made[keyword] = {name: self.cut(inner) for name, inner in value.items()}
            elif keyword in {"items", "additionalProperties"} and isinstance(value, dict):
                made[keyword] = self.cut(value)
            else:
                made[keyword] = value
        return made

    def _gone(self, keyword: str) -> None:
        if keyword not in SILENT:
            self.lost.add(f"schema.{keyword}")

    def _plain(self, schema: Schema) -> Schema:
        """The same constraints with fewer keywords."""
        plain = self._sound(schema)
        for keyword, inner in zip(("$defs", "anyOf"), ("definitions", "oneOf"), strict=True):
            if inner in plain:
                plain.setdefault(keyword, plain.pop(inner))
                plain.pop(inner, None)
        if "allOf" in plain:
            plain = self._joined(plain)
        if "const" in plain:
            plain["enum"] = [plain.pop("const")]
        if plain.get("format") not in self.formats and plain.pop("format", None) is not None:
            self._gone("format")
        if isinstance(plain.get("items"), bool):
            plain.pop("items")
        if "properties" in plain:
            plain.setdefault("type", "object")
        return self._listed(plain)

    def _sound(self, schema: Schema) -> Schema:
        """The keywords whose values can be what they must."""
        sound = {
            name: value
            for name, value in schema.items()
            if isinstance(value, SHAPE_OF.get(name, object))
        }
        for keyword in schema.keys() - sound.keys():
            self._gone(keyword)
        return sound

    def _joined(self, schema: Schema) -> Schema:
        """`allOf` as one schema: properties and requirements add up, of the rest the first one holds."""
        parts = [self._sound(part) for part in schema.pop("allOf") if isinstance(part, dict)]
        for part in parts:
            for keyword, value in part.items():
                have = schema.get(keyword)
                if isinstance(have, dict) and isinstance(value, dict):
                    schema[keyword] = {**value, **have}
                elif keyword == "required" and isinstance(have, list) and isinstance(value, list):
                    schema[keyword] = list(dict.fromkeys([*have, *value]))
                elif keyword not in schema:
                    schema[keyword] = value
                elif have != value:
                    self._gone("allOf")
        return schema

    def _listed(self, schema: Schema) -> Schema:
        """`enum` holds texts and numbers only; `null` among them becomes a type of its own."""
        values = schema.get("enum")
        if not isinstance(values, list):
            return schema
        kept = [
            value
            for value in values
            if isinstance(value, str | int | float) and not isinstance(value, bool)
        ]
        if len(kept) == len(values):
            return schema
        rest = {**schema, "enum": kept}
        if not kept or any(isinstance(value, bool | dict | list) for value in values):
            self._gone("enum")
            del rest["enum"]
        elif "type" not in rest:
            rest["type"] = "string" if isinstance(kept[0], str) else "number"
        if None in values and isinstance(rest.get("type"), str):
            rest["type"] = [rest["type"], "null"]
        return rest


class _JsonCut(_Cut):
    keywords, formats = JSON_KEYWORDS, JSON_FORMATS

    def shaped(self, schema: Schema) -> Schema:
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._reference(reference.replace("#/definitions/", "#/$defs/"), schema)
        if schema.pop("nullable", None) is True and isinstance(schema.get("type"), str):
            schema["type"] = [schema["type"], "null"]
        return super().shaped(schema)

    def _reference(self, reference: str, schema: Schema) -> Schema:
        """A reference stands alone: 'no other properties, except for than those starting as a `$`, may be set'."""
        beside = super().shaped(
            {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
        )
        kept = {keyword: value for keyword, value in beside.items() if keyword.startswith("$")}
        rest = {keyword: value for keyword, value in beside.items() if keyword not in kept}
        alone = {"$ref": reference}
        return {**kept, **({"anyOf": [alone], **rest} if rest else alone)}


class _OpenApiCut(_Cut):
    keywords, formats = OPENAPI_KEYWORDS, OPENAPI_FORMATS

    def __init__(self, lost: Lost, named: Mapping[str, Any]) -> None:
        super().__init__(lost)
        self._named = named
        self._inlined = 0

    def shaped(self, schema: Schema) -> Schema:
        reference = schema.pop("$ref", None)
        if isinstance(reference, str):
            return self._inline(reference, schema)
        schema.pop("$defs", None)
        self._texts_only(schema)
        made = super().shaped(self._one_type(schema))
        if "anyOf" in made:
            return self._union(made)
        if not made.get("properties"):
            made.pop("properties", None)
            made.pop("required", None)
        elif isinstance(made.get("required"), list):
            made["required"] = [name for name in made["required"] if name in made["properties"]]
        return made

    def _texts_only(self, schema: Schema) -> None:
        if isinstance(schema.get("enum"), list) and not all(
            isinstance(value, str) for value in schema["enum"]
        ):
            self._gone("enum")
            del schema["enum"]

    def _inline(self, reference: str, beside: Schema) -> Schema:
        target = self._named.get(reference.rpartition("/")[2])
        if target is None or self._inlined >= MAX_INLINED:
            self._gone("$ref")
            return {"type": "object"}
        self._inlined += 1
        made = self.cut(target if not isinstance(target, dict) else {**target, **beside})
        self._inlined -= 1
        return made

    def _one_type(self, schema: Schema) -> Schema:
        kinds = schema.get("type")
        if not isinstance(kinds, list):
            return schema
        named = [kind for kind in kinds if kind != "null"]
        rest = {keyword: value for keyword, value in schema.items() if keyword != "type"}
        if len(named) < len(kinds):
            rest["nullable"] = True
        if len(named) == 1:
            return {"type": named[0], **rest}
        return {**rest, "anyOf": [{"type": kind} for kind in named]} if named else rest

    def _union(self, schema: Schema) -> Schema:
        """`anyOf` stands alone: 'When using any_of, it must be the only field set'. A null among them is `nullable`."""
        kinds = [inner for inner in schema["anyOf"] if inner.get("type") != "null"]
        nullable = schema.get("nullable") is True or len(kinds) < len(schema["anyOf"])
        for keyword in schema.keys() - {"anyOf", "nullable"}:
            self._gone(keyword)
        if len(kinds) == 1:
            return {**kinds[0], "nullable": True} if nullable else kinds[0]
        if nullable:
            kinds = [{**inner, "nullable": True} for inner in kinds]
        return {"anyOf": kinds}
