"""JSON Schema, reduced to what Gemini takes: most of it since 2.5, OpenAPI 3.0 before.

What can be said otherwise is rewritten (`const`, `oneOf`, `allOf`, a list of types); what cannot is
taken out and declared as `schema.KEYWORD`. Keywords that constrain nothing (`$schema`, `$comment`,
examples) go without a word.
"""

from collections.abc import Mapping
from typing import Any

from gatewayz.dialects.kit.dropped import Dropped

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
"""GenerationConfig.responseJsonSchema: 'only the following properties are supported'."""
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
IGNORED_KEYWORDS = frozenset(
    {"$schema", "$comment", "examples", "example", "default", "deprecated", "readOnly", "writeOnly"}
)
JSON_FORMATS = frozenset({"date-time", "date", "time", "int32", "int64", "float", "double"})
OPENAPI_FORMATS = frozenset({"date-time", "enum", "int32", "int64", "float", "double"})
KEYWORD_TYPES: dict[type | tuple[type, ...], tuple[str, ...]] = {
    str: ("$id", "$anchor", "$ref", "format", "title", "description", "pattern"),
    (str, list): ("type",),
    list: ("enum", "required", "anyOf", "oneOf", "allOf", "prefixItems", "propertyOrdering"),
    dict: ("properties", "$defs", "definitions"),
    (dict, bool): ("items", "additionalProperties"),
    (int, float): ("minItems", "maxItems", "minimum", "maximum", "minLength", "maxLength"),
    bool: ("nullable",),
}
"""What a keyword's value must be; another one says nothing and is left out."""
TYPE_OF_KEYWORD = {
    keyword: shape for shape, keywords in KEYWORD_TYPES.items() for keyword in keywords
}
MAX_NODES = 5_000
"""Schemas within a schema; references are inlined for older models, and may multiply."""
MAX_INLINE_DEPTH = 8
"""References within references, before a schema that holds itself is cut."""


def json_schema(schema: Schema, dropped: Dropped) -> Schema:
    """The schema for `responseJsonSchema` and `parametersJsonSchema`.

    Example: `{"const": 1, "minLength": 2}` → `{"enum": [1]}`, and `schema.minLength` is dropped.
    """
    return _JsonSchemaReducer(dropped).reduce(schema)


def openapi_schema(schema: Schema, dropped: Dropped) -> Schema:
    """The schema for `responseSchema` and `parameters`: no references, no unions of types.

    Example: `{"type": ["string", "null"]}` → `{"type": "string", "nullable": True}`.
    """
    definitions = {**_as_mapping(schema.get("definitions")), **_as_mapping(schema.get("$defs"))}
    return _OpenApiReducer(dropped, definitions).reduce(schema)


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


class _SchemaReducer:
    """What both forms share; a form names its keywords and formats, and rewrites more."""

    keywords: frozenset[str]
    formats: frozenset[str]

    def __init__(self, dropped: Dropped) -> None:
        self._dropped = dropped
        self._nodes_left = MAX_NODES

    def reduce(self, schema: Any) -> Schema:
        """One schema; `true`, and what is no schema, constrain nothing."""
        self._nodes_left -= 1
        if not isinstance(schema, dict) or self._nodes_left < 0:
            return {}
        return self._reduce_keywords(self._simplify(schema))

    def _reduce_keywords(self, schema: Schema) -> Schema:
        """The schema with its inner ones reduced; a form does more before and after."""
        reduced: Schema = {}
        for keyword, value in schema.items():
            if keyword not in self.keywords:
                self._drop_keyword(keyword)
            elif keyword in {"anyOf", "prefixItems"} and isinstance(value, list):
                reduced[keyword] = [self.reduce(inner) for inner in value]
            elif keyword in {"properties", "$defs"} and isinstance(value, dict):
                reduced[keyword] = {name: self.reduce(inner) for name, inner in value.items()}
            elif keyword in {"items", "additionalProperties"} and isinstance(value, dict):
                reduced[keyword] = self.reduce(value)
            else:
                reduced[keyword] = value
        return reduced

    def _drop_keyword(self, keyword: str) -> None:
        if keyword not in IGNORED_KEYWORDS:
            self._dropped.add(f"schema.{keyword}")

    def _simplify(self, schema: Schema) -> Schema:
        """The same constraints with fewer keywords."""
        plain = self._valid_keywords(schema)
        for keyword, synonym in (("$defs", "definitions"), ("anyOf", "oneOf")):
            if synonym in plain:
                plain.setdefault(keyword, plain.pop(synonym))
        if "allOf" in plain:
            plain = self._merge_all_of(plain)
        if "const" in plain:
            plain["enum"] = [plain.pop("const")]
        if plain.get("format") not in self.formats and plain.pop("format", None) is not None:
            self._drop_keyword("format")
        if isinstance(plain.get("items"), bool):
            plain.pop("items")
        if "properties" in plain:
            plain.setdefault("type", "object")
        return self._clean_enum(plain)

    def _valid_keywords(self, schema: Schema) -> Schema:
        """The keywords whose values can be what they must."""
        valid = {
            keyword: value
            for keyword, value in schema.items()
            if isinstance(value, TYPE_OF_KEYWORD.get(keyword, object))
        }
        for keyword in schema.keys() - valid.keys():
            self._drop_keyword(keyword)
        return valid

    def _merge_all_of(self, schema: Schema) -> Schema:
        """`allOf` as one schema: properties and requirements add up, else the first one holds."""
        parts = [
            self._valid_keywords(part) for part in schema.pop("allOf") if isinstance(part, dict)
        ]
        for part in parts:
            for keyword, value in part.items():
                first = schema.get(keyword)
                if isinstance(first, dict) and isinstance(value, dict):
                    schema[keyword] = {**value, **first}
                elif keyword == "required" and isinstance(first, list) and isinstance(value, list):
                    schema[keyword] = list(dict.fromkeys([*first, *value]))
                elif keyword not in schema:
                    schema[keyword] = value
                elif first != value:
                    self._drop_keyword("allOf")
        return schema

    def _clean_enum(self, schema: Schema) -> Schema:
        """`enum` holds texts and numbers only; `null` among them becomes a type of its own."""
        values = schema.get("enum")
        if not isinstance(values, list):
            return schema
        plain_values = [
            value
            for value in values
            if isinstance(value, str | int | float) and not isinstance(value, bool)
        ]
        if len(plain_values) == len(values):
            return schema

        cleaned = {**schema, "enum": plain_values}
        if not plain_values or any(isinstance(value, bool | dict | list) for value in values):
            self._drop_keyword("enum")
            del cleaned["enum"]
        elif "type" not in cleaned:
            cleaned["type"] = "string" if isinstance(plain_values[0], str) else "number"
        if None in values and isinstance(cleaned.get("type"), str):
            cleaned["type"] = [cleaned["type"], "null"]
        return cleaned


class _JsonSchemaReducer(_SchemaReducer):
    keywords, formats = JSON_KEYWORDS, JSON_FORMATS

    def _reduce_keywords(self, schema: Schema) -> Schema:
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._reference(reference.replace("#/definitions/", "#/$defs/"), schema)
        if schema.pop("nullable", None) is True and isinstance(schema.get("type"), str):
            schema["type"] = [schema["type"], "null"]
        return super()._reduce_keywords(schema)

    def _reference(self, reference: str, schema: Schema) -> Schema:
        """A reference stands alone: no other properties, but for those that start with `$`."""
        beside = super()._reduce_keywords(
            {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
        )
        dollars = {keyword: value for keyword, value in beside.items() if keyword.startswith("$")}
        rest = {keyword: value for keyword, value in beside.items() if keyword not in dollars}
        alone = {"$ref": reference}
        return {**dollars, **({"anyOf": [alone], **rest} if rest else alone)}


class _OpenApiReducer(_SchemaReducer):
    keywords, formats = OPENAPI_KEYWORDS, OPENAPI_FORMATS

    def __init__(self, dropped: Dropped, definitions: Mapping[str, Any]) -> None:
        super().__init__(dropped)
        self._definitions = definitions
        self._inline_depth = 0

    def _reduce_keywords(self, schema: Schema) -> Schema:
        reference = schema.pop("$ref", None)
        if isinstance(reference, str):
            return self._inline_reference(reference, schema)
        schema.pop("$defs", None)
        self._drop_mixed_enum(schema)

        reduced = super()._reduce_keywords(self._split_type_list(schema))
        if "anyOf" in reduced:
            return self._union(reduced)

        properties = reduced.get("properties")
        if not properties:
            reduced.pop("properties", None)
            reduced.pop("required", None)
        elif isinstance(reduced.get("required"), list):
            reduced["required"] = [name for name in reduced["required"] if name in properties]
        return reduced

    def _drop_mixed_enum(self, schema: Schema) -> None:
        if isinstance(schema.get("enum"), list) and not all(
            isinstance(value, str) for value in schema["enum"]
        ):
            self._drop_keyword("enum")
            del schema["enum"]

    def _inline_reference(self, reference: str, beside: Schema) -> Schema:
        target = self._definitions.get(reference.rpartition("/")[2])
        if target is None or self._inline_depth >= MAX_INLINE_DEPTH:
            self._drop_keyword("$ref")
            return {"type": "object"}
        self._inline_depth += 1
        reduced = self.reduce({**target, **beside} if isinstance(target, dict) else target)
        self._inline_depth -= 1
        return reduced

    def _split_type_list(self, schema: Schema) -> Schema:
        kinds = schema.get("type")
        if not isinstance(kinds, list):
            return schema
        others = [kind for kind in kinds if kind != "null"]
        rest = {keyword: value for keyword, value in schema.items() if keyword != "type"}
        if len(others) < len(kinds):
            rest["nullable"] = True
        if len(others) == 1:
            return {"type": others[0], **rest}
        return {**rest, "anyOf": [{"type": kind} for kind in others]} if others else rest

    def _union(self, schema: Schema) -> Schema:
        """`anyOf` stands alone: 'When using any_of, it must be the only field set'.

        A null among them is `nullable`.
        """
        kinds = [inner for inner in schema["anyOf"] if inner.get("type") != "null"]
        nullable = schema.get("nullable") is True or len(kinds) < len(schema["anyOf"])
        for keyword in schema.keys() - {"anyOf", "nullable"}:
            self._drop_keyword(keyword)
        if len(kinds) == 1:
            return {**kinds[0], "nullable": True} if nullable else kinds[0]
        if nullable:
            kinds = [{**inner, "nullable": True} for inner in kinds]
        return {"anyOf": kinds}
