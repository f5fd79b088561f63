"""Schemas of tools that one dialect takes and another refuses."""

import json

import pytest

from tests.support.scripted_upstream import answer_json, run_scripted_gateway

HI = [{"role": "user", "content": "q"}]
TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
REFUSAL = "tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level"  # fmt: skip


def named(schema, **properties):
    return {"type": "object", "properties": properties, **schema}


SCHEMAS = {
    "one of two required": (
        named({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, a=TEXT, b=TEXT),
        {"a": TEXT, "b": TEXT},
        [],
    ),
    "nothing but a union": (
        {"anyOf": [named({"required": ["a", "c"]}, a=TEXT, c=TEXT), named({"required": ["c"]}, b=TEXT, c=TEXT)]},
        {"a": TEXT, "b": TEXT, "c": TEXT},
        ["c"],
    ),
    "oneOf by a discriminator": (
        {"type": "object", "oneOf": [named({"required": ["kind", "x"]}, kind={"const": "x"}, x=NUMBER), named({"required": ["kind"]}, kind={"const": "y"})]},
        {"kind": {"anyOf": [{"const": "x"}, {"const": "y"}]}, "x": NUMBER},
        ["kind"],
    ),
    "allOf": (
        {"allOf": [named({"required": ["a"]}, a=TEXT), named({"required": ["b"]}, b=NUMBER)]},
        {"a": TEXT, "b": NUMBER},
        ["a", "b"],
    ),
    "references": (
        {"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}], "$defs": {"A": named({}, a=TEXT), "B": named({}, b=TEXT)}},
        {"a": TEXT, "b": TEXT},
        [],
    ),
    "a reference alone": (
        {"$ref": "#/$defs/A", "$defs": {"A": named({"required": ["a"]}, a=TEXT)}},
        {"a": TEXT},
        ["a"],
    ),
    "a union in a union, and null": (
        {"anyOf": [{"oneOf": [named({}, a=TEXT), named({}, b=TEXT)]}, {"type": "null"}]},
        {"a": TEXT, "b": TEXT},
        [],
    ),
}  # fmt: skip


def strict(request):
    """Refuses what Anthropic refuses."""
    schema = request.body["tools"][0]["input_schema"]
    if {"anyOf", "oneOf", "allOf", "$ref"} & schema.keys() or schema.get("type") != "object":
        error = {"type": "invalid_request_error", "message": REFUSAL}
        return answer_json({"type": "error", "error": error}, 400)
    return answer_json(
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "Fine."}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
    )


@pytest.mark.parametrize("name", SCHEMAS)
async def test_a_union_at_the_top_is_one_object_at_claude(tmp_path, name):
    schema, properties, required = SCHEMAS[name]
    tool = {"type": "function", "function": {"name": "get", "parameters": schema}}
    async with run_scripted_gateway(tmp_path, "anthropic_messages", strict) as scripted:
        client = scripted.gateway.client().chat.completions.with_raw_response
        answer = await client.create(model="test/model", messages=HI, tools=[tool])
        sent = scripted.sent["tools"][0]["input_schema"]
        assert sent["properties"] == properties
        assert sent.get("required", []) == required
        unions = [word for word in ("anyOf", "oneOf", "allOf") if word in schema]
        for word in unions:
            # The constraint is told where the model reads it, and named where the client does.
            assert json.dumps(word) in sent["description"]
            assert f"schema.{word}" in answer.headers["x-gatewayz-dropped"]


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (None, {}),
        (("not",), {"not": {"required": ["a", "b"]}}),
        (("enum",), {"enum": [{"a": "x"}]}),
    ],
)
@pytest.mark.parametrize("name", ["one of two required", "nothing but a union", "allOf"])
async def test_it_is_one_object_at_openai_too_where_it_comes_from_another_api(
    tmp_path, name, words, more
):
    schema, properties, required = SCHEMAS[name]
    async with run_scripted_gateway(tmp_path, "openai_chat") as scripted:
        answer = await scripted.gateway.anthropic_client().messages.with_raw_response.create(
            model="test/model", max_tokens=9, messages=HI,
            tools=[{"name": "get", "input_schema": {**schema, **more}}],
        )  # fmt: skip
        sent = scripted.sent["tools"][0]["function"]["parameters"]
        assert not sent.keys() & {"anyOf", "oneOf", "allOf", "enum", "not"}
        assert (sent["type"], sent["properties"]) == ("object", properties)
        assert sent.get("required", []) == required
        for word in words or ():
            assert json.dumps(word) in sent["description"]
            assert f"schema.{word}" in answer.headers["x-gatewayz-dropped"]


async def test_between_equals_a_schema_passes_as_it_came(tmp_path):
    schema = SCHEMAS["one of two required"][0]
    async with run_scripted_gateway(tmp_path, "anthropic_messages") as scripted:
        await scripted.gateway.anthropic_client().messages.create(
            model="test/model", max_tokens=9, messages=HI,
            tools=[{"name": "get", "input_schema": schema}],
        )  # fmt: skip
        assert scripted.sent["tools"][0]["input_schema"] == schema
