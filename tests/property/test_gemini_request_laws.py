"""Laws 3 and 5 for requests to Gemini.

What is not declared as dropped arrives, Google refuses nothing of it, and seals stay.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gatewayz.core.conversation import (
    Audio,
    File,
    Image,
    Message,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from gatewayz.core.requests import EmbeddingRequest, ImageRequest
from gatewayz.dialects.gemini.dropped import DROPPED, EMBEDDINGS_DROPPED, IMAGES_DROPPED
from gatewayz.dialects.gemini.request import SCHEMA_INSTRUCTION
from gatewayz.dialects.gemini.schema import (
    JSON_KEYWORDS,
    OPENAPI_KEYWORDS,
    json_schema,
    openapi_schema,
)
from gatewayz.dialects.kit.base import EncodeTarget
from gatewayz.dialects.kit.dropped import Dropped
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.simulator.gemini_validation import SIGNATURE, rejection_message
from tests.property.strategies import extras, json_values, requests, texts, words
from tests.support.examples import examples

GEMINI = UPSTREAMS["gemini"]
MODELS = st.sampled_from(
    [
        "gemini-2.0-flash",
        "gemini-2.5-flash",
        "gemini-2.5-pro",
        "gemini-3-pro-preview",
        "gemini-3-flash",
        "gemma-3",
    ]
)
NAMES = st.sampled_from(
    [
        "type",
        "format",
        "title",
        "description",
        "enum",
        "const",
        "items",
        "minItems",
        "properties",
        "required",
        "anyOf",
        "oneOf",
        "allOf",
        "$ref",
        "$defs",
        "additionalProperties",
        "pattern",
        "nullable",
        "default",
        "minimum",
        "not",
        "if",
    ]
)


@st.composite
def schemas(draw, depth=2):
    """What clients send as a JSON Schema, good and bad."""
    inner = schemas(depth - 1) if depth else st.just({"type": "string"})
    named = st.dictionaries(words, inner, max_size=2)
    value = {
        "type": st.sampled_from(
            [
                "object",
                "string",
                "integer",
                "array",
                ["string", "null"],
                ["string", "integer"],
                "null",
            ]
        ),
        "properties": named,
        "$defs": named,
        "items": inner | st.booleans(),
        "anyOf": st.lists(inner, max_size=2),
        "oneOf": st.lists(inner, max_size=2),
        "allOf": st.lists(inner, max_size=2),
        "required": st.lists(words, max_size=2),
        "enum": st.lists(json_values, max_size=3),
        "const": json_values,
        "$ref": words.map(lambda text: f"#/$defs/{text}") | st.just("#"),
        "additionalProperties": st.booleans() | inner,
    }
    return {
        name: draw(value.get(name, json_values))
        for name in draw(st.lists(NAMES, max_size=5, unique=True))
    }


def _nested(schema):
    yield schema
    for name, value in schema.items():
        inner = (
            list(value.values())
            if name in {"properties", "$defs"} and isinstance(value, dict)
            else value
            if name in {"anyOf", "prefixItems"}
            else [value]
        )
        for inner_schema in inner if isinstance(inner, list) else ():
            if isinstance(inner_schema, dict) and name in {
                "properties",
                "$defs",
                "anyOf",
                "prefixItems",
                "items",
                "additionalProperties",
            }:
                yield from _nested(inner_schema)


@examples(600)
@given(schemas())
def test_a_schema_is_cut_to_the_keywords_of_its_form_and_every_loss_is_named(schema):
    for cut, keywords in ((json_schema, JSON_KEYWORDS), (openapi_schema, OPENAPI_KEYWORDS)):
        dropped = Dropped()
        reduced = cut(schema, dropped)
        for inner_schema in _nested(reduced):
            assert set(inner_schema) <= keywords
            if keywords is OPENAPI_KEYWORDS:
                assert isinstance(inner_schema.get("type", ""), str)
                assert all(isinstance(value, str) for value in inner_schema.get("enum", ()))
            if "$ref" in inner_schema:
                assert all(name.startswith("$") for name in inner_schema)
        assert all(name.startswith("schema.") for name in dropped.names())
        assert json.loads(json.dumps(reduced)) == reduced


def test_a_schema_that_holds_itself_is_cut_and_one_that_multiplies_is_bounded():
    itself = {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/Node"}},
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
    }
    dropped = Dropped()
    assert "$ref" not in json.dumps(openapi_schema(itself, dropped))
    assert dropped.names() == ("schema.$ref",)
    names = [f"n{number}" for number in range(12)]
    many = {
        "$defs": {
            name: {
                "type": "object",
                "properties": {str(k): {"$ref": f"#/$defs/{after}"} for k in range(8)},
            }
            for name, after in zip(names, names[1:] + names[:1], strict=True)
        },
        "$ref": "#/$defs/n0",
    }
    assert len(json.dumps(openapi_schema(many, Dropped()))) < 400_000
    assert json.dumps(json_schema(itself, Dropped())).count("$ref") == 2


@pytest.mark.parametrize(
    ("schema", "json_form", "openapi_form"),
    [
        ({"const": "a"}, {"enum": ["a"]}, {"enum": ["a"]}),
        (
            {"oneOf": [{"type": "string"}, {"type": "null"}]},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            {"type": "string", "nullable": True},
        ),
        (
            {"type": ["string", "null"]},
            {"type": ["string", "null"]},
            {"type": "string", "nullable": True},
        ),
        (
            {"type": ["string", "integer"]},
            {"type": ["string", "integer"]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        ),
        (
            {"enum": ["a", None], "type": "string"},
            {"enum": ["a"], "type": ["string", "null"]},
            {"enum": ["a"], "type": "string", "nullable": True},
        ),
        (
            {
                "allOf": [
                    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "string"}}, "required": ["b"]},
                ]
            },
            {
                "type": "object",
                "properties": {"b": {"type": "string"}, "a": {"type": "string"}},
                "required": ["a", "b"],
            },
            {
                "type": "object",
                "properties": {"b": {"type": "string"}, "a": {"type": "string"}},
                "required": ["a", "b"],
            },
        ),
        (
            {
                "$ref": "#/definitions/A",
                "description": "d",
                "definitions": {"A": {"type": "string"}},
            },
            {
                "$defs": {"A": {"type": "string"}},
                "anyOf": [{"$ref": "#/$defs/A"}],
                "description": "d",
            },
            {"type": "string", "description": "d"},
        ),
        (
            {"type": "string", "format": "date-time", "pattern": "x"},
            {"type": "string", "format": "date-time"},
            {"type": "string", "format": "date-time", "pattern": "x"},
        ),
        (
            {"type": "string", "nullable": True},
            {"type": ["string", "null"]},
            {"type": "string", "nullable": True},
        ),
        (
            {"type": "object", "properties": {}, "required": ["x"], "additionalProperties": False},
            {"type": "object", "properties": {}, "required": ["x"], "additionalProperties": False},
            {"type": "object"},
        ),
    ],
)
def test_what_can_be_said_otherwise_is_rewritten(schema, json_form, openapi_form):
    assert json_schema(schema, Dropped()) == json_form
    assert openapi_schema(schema, Dropped()) == openapi_form


@st.composite
def conversations(draw):
    """Turns in an order that every provider takes: each call is followed by its result."""
    messages = [
        Message(draw(st.sampled_from(["system", "developer"])), (Text(draw(texts)),))
        for _ in range(draw(st.integers(0, 2)))
    ]
    for turn in range(draw(st.integers(1, 3))):
        user = draw(
            st.lists(
                st.builds(Text, texts)
                | st.builds(lambda text: Image(f"data:image/png;base64,{text}"), words)
                | st.builds(Audio, words, st.sampled_from(["wav", "mp3"]))
                | st.builds(
                    lambda text: File("", "a.pdf", f"data:application/pdf;base64,{text}"), words
                ),
                min_size=1,
                max_size=3,
            )
        )
        messages.append(Message("user", tuple(user)))
        calls = [
            ToolCall(
                f"c{turn}_{number}",
                name,
                json.dumps(draw(st.dictionaries(words, json_values, max_size=2))),
            )
            for number, name in enumerate(draw(st.lists(words, max_size=2)))
        ]
        prose = draw(
            st.lists(
                st.builds(Text, texts) | st.builds(Refusal, texts) | st.builds(Reasoning, texts),
                max_size=2,
            )
        )
        messages.append(Message("assistant", (*prose, *calls)))
        messages += [
            Message("tool", (ToolResult(call.id, (Text(draw(texts)),), draw(st.booleans())),))
            for call in calls
        ]
    return tuple(messages)


def _told(messages):
    """Texts in the order of the canon; results by the text that they hold."""
    for message in messages:
        for part in message.parts:
            match part:
                case Text(text=text) | Refusal(text=text):
                    yield text
                case ToolCall(name=name, arguments=arguments):
                    yield f"{name}({json.dumps(json.loads(arguments), sort_keys=True)})"
                case ToolResult(parts=(Text(text=text),)):
                    yield text
                case Image(url=url):
                    yield url.rpartition(",")[2]
                case Audio(content=content) | File(content=content):
                    yield content.rpartition(",")[2]


def _arrived(body):
    contents = [body.get("systemInstruction", {"parts": []}), *body["contents"]]
    for part in (part for content in contents for part in content["parts"]):
        match part:
            case {"functionCall": {"name": name, "args": args}}:
                yield f"{name}({json.dumps(args, sort_keys=True)})"
            case {"functionResponse": {"response": response}}:
                yield response.get("output", response.get("error", json.dumps(response)))
            case {"inlineData": {"data": content}}:
                yield content
            case {"text": text}:
                yield text


@examples(250)
@given(request=requests(), messages=conversations(), model=MODELS, extra=extras)
def test_what_is_not_declared_as_lost_arrives_and_google_refuses_none_of_it(
    request, messages, model, extra
):
    request = replace(request, messages=messages, extra=extra)
    draft = GEMINI.encode(
        request, EncodeTarget(provider="maker", upstream_id=model, streamed=request.streamed)
    )
    assert draft.path.startswith(f"/models/{model}:")
    assert {name.partition(".")[0] for name in draft.dropped} <= DROPPED.keys() | extra.keys()
    body = json.loads(json.dumps(draft.body))
    assert rejection_message(model, body) == ""
    arrived = [text for text in _arrived(body) if not text.startswith(SCHEMA_INSTRUCTION)]
    assert sorted(map(_loose, arrived)) == sorted(map(_loose, _told(messages)))
    config, drawn = body.get("generationConfig", {}), request.sampling
    for field, value in (
        ("temperature", drawn.temperature),
        ("topP", drawn.top_p),
        ("topK", drawn.top_k),
        ("maxOutputTokens", request.max_output),
        ("presencePenalty", drawn.presence_penalty),
        ("frequencyPenalty", drawn.frequency_penalty),
    ):
        assert config.get(field) == value
    assert config.get("candidateCount", 1) == drawn.n
    assert tuple(config.get("stopSequences", ())) == drawn.stop[:5]
    declared = [
        function for tool in body.get("tools", ()) for function in tool["functionDeclarations"]
    ]
    assert [function["name"] for function in declared] == [tool.name for tool in request.tools]


def _loose(text):
    """A result that is a JSON object arrives as one."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else text


@pytest.mark.parametrize("provider", ["maker", "stranger"])
@examples(200)
@given(text=texts)
def test_no_seal_reaches_a_stranger(provider, text):
    seal = f"gwz.maker.{SIGNATURE}"
    parts = (
        Reasoning(text, ({"type": "reasoning.text", "signature": seal},)),
        Text(text, sealed=seal),
        ToolCall("c", "f", "{}", sealed=seal),
    )
    request = replace(
        _request(), messages=(Message("user", (Text("hi"),)), Message("assistant", parts))
    )
    draft = GEMINI.encode(
        request, EncodeTarget(provider=provider, upstream_id="gemini-3-pro", streamed=False)
    )
    body = json.dumps(draft.body)
    assert "gwz." not in body
    assert body.count(SIGNATURE) == (3 if provider == "maker" else 0)
    assert draft.dropped == (() if provider == "maker" else ("seal",))
    assert rejection_message("gemini-3-pro", draft.body or {}) == ""


def _request():
    from gatewayz.core.requests import ChatRequest

    return ChatRequest(dialect="openai_chat", model="m", messages=())


def test_what_images_and_vectors_cannot_say_is_declared_and_named():
    target = EncodeTarget(provider="google", upstream_id="gemini-2.5-flash-image", streamed=False)
    picture = ImageRequest(
        dialect="openai_images",
        model="m",
        prompt="a cat",
        quality="hd",
        style="vivid",
        user="u",
        negative="dogs",
        size=(100, 4_000),
    )
    draft = UPSTREAMS["gemini_images"].encode(picture, target)
    assert draft.dropped == tuple(IMAGES_DROPPED)
    vectors = EmbeddingRequest(dialect="openai_embeddings", model="m", texts=("a",), user="u")
    for dialect in ("gemini_embeddings", "vertex_embeddings"):
        draft = UPSTREAMS[dialect].encode(vectors, target)
        assert draft.dropped == tuple(EMBEDDINGS_DROPPED)
