"""A union at the top of a schema as one object, for those who take a tool's parameters only so.

The properties of all branches are there; those stay required that every branch requires. What the
union said beyond that is told in the description.
"""

from collections.abc import Sequence
from typing import Any

from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.kit.jsontext import encode_json

Schema = dict[str, Any]
UNIONS = ("anyOf", "oneOf", "allOf")
MAX_TOLD_CHARACTERS = 2_000
"""As much of a union is told in words."""
MAX_REFERENCES = 8
"""References that lead to references, before they are taken for a circle."""


def without_top_union(schema: Schema, dropped: Dropped, untaken: Sequence[str] = ()) -> Schema:
    """The schema without `anyOf`, `oneOf`, `allOf` and `$ref` at its top.

    Nor has it keywords of `untaken`. `dropped` receives `schema.KEYWORD`.
    Example: `{"anyOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]}`
    → both properties, none of them required.
    """
    schema = _resolve(schema, schema)
    if not any(keyword in schema for keyword in (*UNIONS, *untaken)):
        return schema

    merged: Schema = {
        name: value for name, value in schema.items() if name not in (*UNIONS, *untaken)
    }
    merged["type"] = "object"
    required = list(_texts(schema.get("required")))
    words = [merged["description"]] if isinstance(merged.get("description"), str) else []
    for keyword in UNIONS:
        if keyword not in schema:
            continue
        dropped.add(f"schema.{keyword}")
        branches = [
            without_top_union(_resolve(branch, schema), dropped)
            for branch in _objects(schema[keyword])
        ]
        branches = [branch for branch in branches if branch.get("type", "object") == "object"]
        for branch in branches:
            _add_properties(merged, branch)
        required += _required_by(branches, every=keyword == "allOf")
        told = encode_json({keyword: schema[keyword]}).decode()
        words.append(told[:MAX_TOLD_CHARACTERS])

    for keyword in untaken:
        if keyword in schema:
            dropped.add(f"schema.{keyword}")
            words.append(encode_json({keyword: schema[keyword]}).decode()[:MAX_TOLD_CHARACTERS])

    merged["description"] = "\n\n".join(words)
    if required:
        merged["required"] = list(dict.fromkeys(required))
    return merged


def _resolve(schema: Schema, root: Schema) -> Schema:
    """A schema with what its reference names in its place."""
    for _ in range(MAX_REFERENCES):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        definitions = root.get("$defs") or root.get("definitions")
        target = definitions.get(reference.rpartition("/")[2]) if isinstance(definitions, dict) else None  # fmt: skip
        if not isinstance(target, dict):
            return schema
        schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
    return {name: value for name, value in schema.items() if name != "$ref"}


def _add_properties(merged: Schema, branch: Schema) -> None:
    """The properties of a branch beside those that are there; two of one name are either of them."""
    properties = branch.get("properties")
    if not isinstance(properties, dict):
        return
    own = dict(merged.get("properties") or {})
    for name, inner in properties.items():
        if name in own and own[name] != inner:
            before = own[name]
            known = before["anyOf"] if _is_plain_union(before) else [before]
            own[name] = {"anyOf": [*known, *([] if inner in known else [inner])]}
        else:
            own[name] = inner
    merged["properties"] = own


def _is_plain_union(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.keys() == {"anyOf"}


def _required_by(branches: list[Schema], *, every: bool) -> list[str]:
    """What one branch requires (`every`: all of them hold), or what all of them do."""
    lists = [list(_texts(branch.get("required"))) for branch in branches]
    if every:
        return [name for names in lists for name in names]
    return [name for name in lists[0] if all(name in names for names in lists)] if lists else []


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _objects(value: Any) -> list[Schema]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
