"""Each quirk does what its name says to the body of a request, and nothing else does."""

import json

import msgspec
import pytest

from gatewayz.core.conversation import (
    Image,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from gatewayz.core.requests import ResponseFormat
from gatewayz.dialects.kit.base import EncodeTarget
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.model_ids import native_id
from gatewayz.providers.quirks import SCHEMA_INSTRUCTION, apply_quirks, why_not_served
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.request import RequestOptions, build_request, decode_options
from gatewayz.providers.spec import Quirks
from tests.contract.test_provider_rows import EVERYTHING


def body_after(quirks, request=EVERYTHING, model="m"):
    draft = UPSTREAMS["openai_chat"].encode(
        request, EncodeTarget(provider="p", upstream_id=model, streamed=request.streamed)
    )
    assert draft.body is not None
    apply_quirks(draft.body, Quirks(**quirks), model, "openai_chat")
    return draft.body


THOUGHT = msgspec.structs.replace(
    EVERYTHING,
    messages=(
        Message(
            "assistant",
            (
                Reasoning("hm", ({"type": "reasoning.text", "text": "hm"},)),
                ToolCall("c", "f", "{}"),
            ),
        ),
        Message("tool", (ToolResult("c", (Text("ok"), Text("then"))),)),
    ),
)
TOOL_LOOP = msgspec.structs.replace(
    EVERYTHING,
    messages=(
        Message("assistant", (ToolCall("c", "f", "{}"),)),
        Message("tool", (ToolResult("c", (Text("ok"),)),)),
    ),
)
SCHEMA = msgspec.structs.replace(
    EVERYTHING, format=ResponseFormat(kind="json_schema", name="n", schema={"type": "object"})
)
FORCED = msgspec.structs.replace(EVERYTHING, tool_choice=ToolChoice("required"))


@pytest.mark.parametrize(
    ("quirks", "request_", "model", "look", "want"),
    [
        (
            {"max_tokens_field": "by_model"},
            EVERYTHING,
            "o3-mini",
            lambda b: b.get("max_completion_tokens"),
            50,
        ),
        (
            {"max_tokens_field": "by_model"},
            EVERYTHING,
            "gpt-5-chat-latest",
            lambda b: b.get("max_tokens"),
            50,
        ),
        (
            {"always_send_limit": True},
            msgspec.structs.replace(EVERYTHING, max_output=None),
            "m",
            lambda b: b["max_tokens"],
            4096,
        ),
        (
            {"drop_by_model": {"^kimi": ["temperature"]}},
            EVERYTHING,
            "kimi-k3",
            lambda b: "temperature" in b,
            False,
        ),
        (
            {"drop_by_model": {"^kimi": ["temperature"]}},
            EVERYTHING,
            "other",
            lambda b: "temperature" in b,
            True,
        ),
        (
            {"drop_when_reasoning": ["stop"], "reasoning_send": "reasoning_effort"},
            EVERYTHING,
            "m",
            lambda b: "stop" in b,
            False,
        ),
        (
            {"allow_only": ["model", "messages"]},
            EVERYTHING,
            "m",
            lambda b: sorted(b),
            ["messages", "model"],
        ),
        ({"rename": {"seed": "random_seed"}}, EVERYTHING, "m", lambda b: b.get("random_seed"), 7),
        (
            {"extra_body": {"reasoning_split": True}},
            EVERYTHING,
            "m",
            lambda b: b["reasoning_split"],
            True,
        ),
        (
            {"extra_body_by_model": {"^qwen": {"reasoning_format": "parsed"}}},
            EVERYTHING,
            "qwen/qwen3",
            lambda b: b["reasoning_format"],
            "parsed",
        ),
        (
            {"extra_body_with_streamed_tools": {"tool_stream": True}},
            EVERYTHING,
            "m",
            lambda b: b["tool_stream"],
            True,
        ),
        (
            {"drop_message_fields": ["name"]},
            EVERYTHING,
            "m",
            lambda b: "name" in b["messages"][1],
            False,
        ),
        (
            {"flatten_content": True},
            THOUGHT,
            "m",
            lambda b: b["messages"][1]["content"],
            "ok\nthen",
        ),
        ({"tool_choice_required": False}, FORCED, "m", lambda b: b["tool_choice"], "auto"),
        ({"required_word": "any"}, FORCED, "m", lambda b: b["tool_choice"], "any"),
        (
            {"json_mode": "json_object"},
            SCHEMA,
            "m",
            lambda b: (b["response_format"], "JSON Schema" in b["messages"][0]["content"]),
            ({"type": "json_object"}, True),
        ),
        (
            {"json_mode": "json_schema_only"},
            msgspec.structs.replace(EVERYTHING, format=ResponseFormat(kind="json_object")),
            "m",
            lambda b: b["response_format"]["type"],
            "json_schema",
        ),
        (
            {"reasoning_send": "reasoning_effort_none_high"},
            EVERYTHING,
            "m",
            lambda b: b["reasoning_effort"],
            "high",
        ),
        (
            {"reasoning_send": "reasoning_effort", "effort_by_model": {"^qwen": {"*": "default"}}},
            EVERYTHING,
            "qwen3",
            lambda b: b["reasoning_effort"],
            "default",
        ),
        (
            {"reasoning_history": "reasoning_content"},
            THOUGHT,
            "m",
            lambda b: {"reasoning_content", "reasoning_details"} & b["messages"][0].keys(),
            {"reasoning_content"},
        ),
        (
            {"reasoning_history_by_model": {"^mini": "think_tags"}},
            THOUGHT,
            "mini",
            lambda b: b["messages"][0]["content"],
            "<think>\nhm\n</think>\n\n",
        ),
        (
            {"thoughts_required": "^deep"},
            TOOL_LOOP,
            "deepseek",
            lambda b: b["thinking"],
            {"type": "disabled"},
        ),
        (
            {"thoughts_required": "^deep"},
            TOOL_LOOP,
            "other",
            lambda b: "thinking" in b,
            False,
        ),
        (
            {"tool_id_length_by_model": {"": 9}},
            TOOL_LOOP,
            "m",
            lambda b: len(b["messages"][0]["tool_calls"][0]["id"]),
            9,
        ),
        (
            {"drop_inside": ["tool_calls"]},
            TOOL_LOOP,
            "m",
            lambda b: "tool_calls" in b["messages"][0],
            False,
        ),
        (
            {"efforts": ["low"], "reasoning_send": "reasoning_effort"},
            EVERYTHING,
            "m",
            lambda b: b["reasoning_effort"],
            "low",
        ),
        (
            {
                "efforts": ["low"],
                "efforts_by_model": {"^m": ["medium", "xhigh"]},
                "reasoning_send": "reasoning_effort",
            },
            EVERYTHING,
            "m",
            lambda b: b["reasoning_effort"],
            "medium",
        ),
        (
            {"reasoning_history": "reasoning"},
            THOUGHT,
            "m",
            lambda b: b["messages"][0]["reasoning"],
            "hm",
        ),
        (
            {},
            THOUGHT,
            "m",
            lambda b: (
                {"reasoning_content", "reasoning_details", "reasoning"} & b["messages"][0].keys()
            ),
            set(),
        ),
        ({"stream_usage": "always"}, EVERYTHING, "m", lambda b: "stream_options" in b, False),
        ({"temperature_range": [0.01, 0.5]}, EVERYTHING, "m", lambda b: b["temperature"], 0.5),
        ({"drop": ["seed"]}, EVERYTHING, "m", lambda b: "seed" in b, False),
        (
            {"developer_role": "keep"},
            EVERYTHING,
            "m",
            lambda b: b["messages"][0]["role"],
            "developer",
        ),
    ],
)
def test_a_quirk_does_what_its_name_says(quirks, request_, model, look, want):
    settings = msgspec.convert(quirks, Quirks)
    draft = body_after(msgspec.structs.asdict(settings), request_, model)
    assert look(draft) == want


def test_a_schema_in_words_is_json_whatever_it_holds():
    schema = {
        "type": "object",
        "properties": {"it's": {"type": ["string", "null"], "default": None, "enum": ['"', "ä"]}},
        "additionalProperties": False,
        "required": ["it's"],
    }
    request = msgspec.structs.replace(
        EVERYTHING, format=ResponseFormat(kind="json_schema", name="n", schema=schema)
    )
    instruction, *messages = body_after({"json_mode": "json_object"}, request)["messages"]
    assert instruction["role"] == "system"
    assert json.loads(instruction["content"].removeprefix(SCHEMA_INSTRUCTION)) == schema
    assert len(messages) == len(EVERYTHING.messages)


def test_inline_images_only_keeps_web_addresses_away():
    request = msgspec.structs.replace(
        EVERYTHING, messages=(Message("user", (Image("https://example.org/a.png"),)),)
    )
    assert why_not_served(request, Quirks(inline_images_only=True))
    inline = msgspec.structs.replace(
        EVERYTHING, messages=(Message("user", (Image("data:image/png;base64,AA"),)),)
    )
    assert not why_not_served(inline, Quirks(inline_images_only=True))


def test_model_prefixes_are_added_and_taken_away():
    fireworks, google = (
        providers_from(provider_rows(), {}, {})[name] for name in ("fireworks", "google-ai-studio")
    )
    assert native_id("llama", fireworks) == "accounts/fireworks/models/llama"
    assert native_id("accounts/me/models/x", fireworks) == "accounts/me/models/x"
    assert native_id("models/gemini-3", google) == "gemini-3"


def test_quirks_of_answers_reach_the_reader():
    quirks = Quirks(
        think="tags",
        stops={"eos": "stop"},
        reasoning_outside=True,
        error_path=("base_resp", "status_code"),
        model_prefix="p/",
        model_prefix_strip="models/",
    )
    provider = msgspec.structs.replace(
        providers_from(provider_rows(), {}, {})["openai"], quirks=quirks
    )
    reading = decode_options(provider, EVERYTHING, "openai_chat")
    assert (reading.think, reading.stops, reading.reasoning_outside, reading.error_path) == (
        "tags",
        {"eos": "stop"},
        True,
        ("base_resp", "status_code"),
    )
    assert native_id("x", provider) == "p/x"
    assert native_id("models/x", provider) == "x"


@pytest.mark.parametrize("provider", sorted(provider_rows()))
@pytest.mark.parametrize("streamed", [False, True])
def test_a_limit_that_we_set_reaches_every_provider_in_its_own_field(provider, streamed):
    """Whatever the row leaves out, renames or adds: the tokens that are held are what it may answer."""
    limit = 3_217
    request = msgspec.structs.replace(EVERYTHING, max_output=None, streamed=streamed)
    row = providers_from(provider_rows(), {}, {})[provider]
    models = {"google-vertex": ("gemini-2.5-pro", "claude-sonnet-4-5", "meta/llama-4")}
    for model in models.get(provider, ("model", "gpt-5", "o3")):
        if provider == "fal":
            continue
        options = RequestOptions(max_output=limit, output_limit=limit)
        built = build_request(request, row, None, model, options)
        sent = json.loads(built.wire(next(built.steps).draft).body)
        fields = sent | sent.get("generationConfig", {})
        names = ("max_tokens", "max_completion_tokens", "maxOutputTokens")
        assert [fields[name] for name in names if name in fields] == [limit]
        without = build_request(request, row, None, model, RequestOptions())
        body = json.loads(without.wire(next(without.steps).draft).body)
        told = body | body.get("generationConfig", {})
        # Nobody else is told anything new.
        usual = (
            row.quirks.always_send_limit or "anthropic_version" in body or provider == "anthropic"
        )
        assert usual or not set(names) & told.keys()
