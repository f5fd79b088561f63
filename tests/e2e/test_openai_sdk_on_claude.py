"""The official OpenAI SDK on an Anthropic upstream, which refuses what Anthropic refuses."""

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.support.running_gateway import model_with_offers, run_gateway

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
HI: Any = [{"role": "user", "content": "Tell me something, please"}]
PNG = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture
async def gateway(tmp_path):
    async with run_gateway(tmp_path, dialects={"first": "anthropic_messages"}) as running:
        yield running


async def both(gateway, scene, **fields):
    """The message of a scene, whole and folded from its stream, and both requests upstream."""
    client = gateway.client()
    fields = {"messages": HI, **fields}
    whole = await client.chat.completions.create(model=f"first/{scene}", **fields)
    first = gateway.sent
    async with client.chat.completions.stream(model=f"first/{scene}", **fields) as stream:
        streamed = await stream.get_final_completion()
    second = dict(gateway.sent)
    assert second.pop("stream") is True
    assert first == second
    return whole, streamed, first


async def test_text_whole_and_streamed(gateway):
    whole, streamed, sent = await both(gateway, "echo")
    assert sent == {"model": "echo", "messages": HI, "max_tokens": 4_096}
    request = gateway.upstream.requests[-1]
    assert request.path == "/first/v1/messages"
    assert request.headers["x-api-key"] == "sk-first-canary"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in request.headers
    for reply in (whole, streamed):
        assert reply.choices[0].message.content == "Tell me something, please"
        assert reply.choices[0].finish_reason == "stop"
        assert reply.id.startswith("chatcmpl-01")
        assert reply.model == "first/echo"
    invoice = gateway.upstream.invoices[-1]
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (
        invoice.prompt_tokens,
        invoice.completion_tokens,
    )
    assert (gateway.last.usage.prompt, gateway.last.usage.completion) == (
        invoice.prompt_tokens,
        invoice.completion_tokens,
    )


async def test_system_and_developer_messages_become_the_system_prompt(gateway):
    messages = [
        {"role": "system", "content": "Be brief"},
        {"role": "developer", "content": "Be kind"},
        *HI,
        {"role": "system", "content": "Be quick"},
    ]
    await gateway.client().chat.completions.create(model="first/echo", messages=messages)
    assert [block["text"] for block in gateway.sent["system"]] == [
        "Be brief",
        "Be kind",
        "Be quick",
    ]
    assert gateway.sent["messages"] == HI


async def test_turns_alternate_and_begin_with_the_user(gateway):
    messages = [
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "The answer is "},
    ]
    await gateway.client().chat.completions.create(model="first/echo", messages=messages)
    assert [turn["role"] for turn in gateway.sent["messages"]] == [
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert [block["text"] for block in gateway.sent["messages"][2]["content"]] == ["a", "b", "c"]
    assert gateway.sent["messages"][3]["content"] == "The answer is"


@pytest.mark.parametrize(
    ("fields", "arrives", "dropped"),
    [
        ({"temperature": 0.5}, {"temperature": 0.5}, ""),
        ({"temperature": 1.8}, {"temperature": 1}, ""),
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, "top_p"),
        ({"stop": ["END", "  "]}, {"stop_sequences": ["END"]}, "stop"),
        ({"max_tokens": 20}, {"max_tokens": 20}, ""),
        ({"max_completion_tokens": 21}, {"max_tokens": 21}, ""),
        ({"user": "someone"}, {"metadata": {"user_id": "someone"}}, ""),
        (
            {"seed": 7, "presence_penalty": 0.1, "frequency_penalty": 0.2, "logit_bias": {"1": 2}},
            {},
            "seed, presence_penalty, frequency_penalty, logit_bias",
        ),
        ({"logprobs": True, "top_logprobs": 2}, {}, "logprobs, top_logprobs"),
        ({"metadata": {"a": "b"}, "store": True}, {}, "metadata, store"),
        ({"service_tier": "flex"}, {}, "service_tier"),
        ({"parallel_tool_calls": False}, {}, "parallel_tool_calls"),
        ({"extra_body": {"brand_new_field": 1}}, {}, "brand_new_field"),
    ],
)
async def test_a_parameter_is_said_in_anthropics_words_or_named_as_dropped(
    gateway, fields, arrives, dropped
):
    raw = await gateway.client().chat.completions.with_raw_response.create(
        model="first/echo", messages=HI, **fields
    )
    assert {
        name: value
        for name, value in gateway.sent.items()
        if name not in {"model", "messages", "max_tokens"}
    } | {"max_tokens": gateway.sent["max_tokens"]} == {"max_tokens": 4_096, **arrives}
    assert raw.headers.get("x-gatewayz-dropped", "") == dropped
    assert ", ".join(gateway.last.dropped) == dropped


async def test_several_choices_go_to_who_can(tmp_path):
    async with run_gateway(
        tmp_path,
        dialects={"first": "anthropic_messages"},
        models=[model_with_offers(("first", "echo"), ("second", "echo"))],
    ) as gateway:
        reply = await gateway.client().chat.completions.create(model="test/model", messages=HI, n=2)
        assert len(reply.choices) == 2
        assert gateway.last.served == "second"
        with pytest.raises(openai.BadRequestError, match="one answer a call"):
            await gateway.client().chat.completions.create(model="first/echo", messages=HI, n=2)


@pytest.mark.parametrize(
    ("choice", "want"),
    [
        ("required", {"type": "any"}),
        ("auto", {"type": "auto"}),
        (
            {"type": "function", "function": {"name": "weather"}},
            {"type": "tool", "name": "weather"},
        ),
    ],
)
async def test_one_tool_call(gateway, choice, want):
    whole, streamed, sent = await both(gateway, "tools", tools=[TOOL], tool_choice=choice)
    assert sent["tools"] == [
        {
            "name": "weather",
            "description": "Tells the weather",
            "input_schema": TOOL["function"]["parameters"],
        }
    ]
    assert sent["tool_choice"] == want
    for reply in (whole, streamed):
        (tool,) = reply.choices[0].message.tool_calls
        assert tool.function.name == "weather"
        assert json.loads(tool.function.arguments) == {"city": "Paris", "days": 7}
        assert reply.choices[0].finish_reason == "tool_calls"


async def test_parallel_tool_calls_and_one_at_a_time(gateway):
    whole, streamed, _ = await both(gateway, "parallel-tools", tools=[TOOL, CLOCK])
    for reply in (whole, streamed):
        assert [tool.function.name for tool in reply.choices[0].message.tool_calls] == [
            "weather",
            "clock",
        ]
        assert json.loads(reply.choices[0].message.tool_calls[1].function.arguments) == {}
        assert len({tool.id for tool in reply.choices[0].message.tool_calls}) == 2
    reply = await gateway.client().chat.completions.create(
        model="first/parallel-tools", messages=HI, tools=[TOOL], parallel_tool_calls=False
    )
    assert len(reply.choices[0].message.tool_calls) == 1
    assert gateway.sent["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


async def test_a_tool_loop_with_ids_that_anthropic_would_refuse(gateway):
    calls = [
        {
            "id": "functions.weather:0",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
        },
        {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": ""}},
    ]
    messages = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "functions.weather:0", "content": "sunny"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]},
        {"role": "user", "content": "And?"},
    ]
    reply = await gateway.client().chat.completions.create(
        model="first/tools", messages=messages, tools=[TOOL, CLOCK]
    )
    assert reply.choices[0].message.content == "The tool said: noon"
    used, answered = gateway.sent["messages"][1]["content"], gateway.sent["messages"][2]["content"]
    assert [block["input"] for block in used] == [{"city": "Paris"}, {}]
    assert [block["type"] for block in answered] == ["tool_result", "tool_result", "text"]
    assert [block["id"] for block in used] == [block["tool_use_id"] for block in answered[:2]]


async def test_images_and_files_go_on(gateway):
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "high"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
        },
    ]
    raw = await gateway.client().chat.completions.with_raw_response.create(
        model="first/vision", messages=[{"role": "user", "content": parts}]
    )
    assert "2 image(s)" in raw.parse().choices[0].message.content
    assert gateway.sent["messages"][0]["content"][1:] == [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
        },
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "a.pdf",
        },
    ]
    assert raw.headers["x-gatewayz-dropped"] == "detail"
    sound = [{"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}}]
    with pytest.raises(openai.BadRequestError, match="audio"):
        await gateway.client().chat.completions.create(
            model="first/audio", messages=[{"role": "user", "content": sound}]
        )


async def test_structured_output_is_asked_for_as_the_model_takes_it(gateway):
    class Weather(BaseModel):
        city: str
        degrees: int

    client = gateway.client()
    reply = await client.chat.completions.parse(
        model="first/claude-sonnet-4-5/json", messages=HI, response_format=Weather
    )
    assert reply.choices[0].message.parsed == Weather(city="Paris", degrees=7)
    assert gateway.sent["output_config"]["format"]["schema"]["additionalProperties"] is False
    assert gateway.last.dropped == ("format_name",)
    format_ = {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": Weather.model_json_schema()},
    }
    await client.chat.completions.create(model="first/json", messages=HI, response_format=format_)
    assert "JSON Schema" in gateway.sent["system"]
    assert gateway.last.dropped == ("format_name", "response_format")
    await client.chat.completions.create(
        model="first/claude-sonnet-4-5/json", messages=HI, response_format={"type": "json_object"}
    )
    assert gateway.sent["system"].startswith("Answer with a JSON object")


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "word"),
    [
        ("claude-opus-4-8", "high", {"type": "adaptive", "display": "summarized"}, "high"),
        ("claude-sonnet-4-5", "low", {"type": "enabled", "budget_tokens": 2_048}, None),
        ("claude-3-5-haiku", "high", None, None),
    ],
)
async def test_reasoning_effort_is_asked_for_as_the_model_takes_it(
    gateway, model, effort, thinking, word
):
    await gateway.client().chat.completions.create(
        model=f"first/{model}", messages=HI, reasoning_effort=effort
    )
    assert gateway.sent.get("thinking") == thinking
    assert gateway.sent.get("output_config", {}).get("effort") == word
    assert gateway.last.dropped == (("reasoning_effort",) if thinking is None else ())


async def test_thinking_comes_out_and_goes_back_signed(gateway):
    client = gateway.client()
    fields = {"messages": HI, "tools": [TOOL], "reasoning_effort": "medium"}
    whole, streamed, _ = await both(gateway, "reasoning-tools", **fields)
    for reply in (whole, streamed):
        message = reply.choices[0].message
        assert message.reasoning_content.startswith("The user wants")
        details = message.reasoning_details
        turn = {
            "role": "assistant",
            "content": message.content,
            "reasoning_content": message.reasoning_content,
            "reasoning_details": details,
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
                for call in message.tool_calls
            ],
        }
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
        again = await client.chat.completions.create(
            model="first/reasoning-tools",
            messages=[*HI, turn, result],
            tools=[TOOL],
            reasoning_effort="medium",
        )
        assert again.choices[0].message.content == "The tool said: sunny"
        first = gateway.sent["messages"][1]["content"][0]
        assert (first["type"], first["thinking"]) == ("thinking", message.reasoning_content)
        assert not first["signature"].startswith("gwz.")
        assert gateway.sent["thinking"]["type"] == "enabled"


async def test_thinking_that_others_signed_stays_behind_and_is_named(gateway):
    details = [{"type": "reasoning.text", "text": "hm", "signature": "gwz.second.AAAA"}]
    turn = {
        "role": "assistant",
        "content": None,
        "reasoning_content": "hm",
        "reasoning_details": details,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        ],
    }
    result = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    reply = await gateway.client().chat.completions.create(
        model="first/claude-sonnet-4-5",
        messages=[*HI, turn, result],
        tools=[TOOL],
        reasoning_effort="high",
    )
    assert reply.choices[0].message.content
    assert set(gateway.last.dropped) == {"seal", "reasoning", "reasoning_effort"}
    assert "thinking" not in gateway.sent


@pytest.mark.parametrize(
    ("scene", "finish"), [("length", "length"), ("filter", "content_filter"), ("eos", "stop")]
)
async def test_why_it_stopped(gateway, scene, finish):
    client = gateway.client()
    whole = await client.chat.completions.create(model=f"first/{scene}", messages=HI)
    assert whole.choices[0].finish_reason == finish
    reasons = [
        chunk.choices[0].finish_reason
        async for chunk in await client.chat.completions.create(
            model=f"first/{scene}", messages=HI, stream=True
        )
    ]
    assert reasons[-1] == finish


@pytest.mark.parametrize(
    "scene",
    [
        "unicode",
        "nothing",
        "fault-invalid-utf8-2",
        "fault-bom-2",
        "fault-one-byte-2",
        "fault-json-for-stream",
        "exchange-unknown_event",
        "exchange-web_search",
        "exchange-stream_redacted",
    ],
)
async def test_odd_streams_are_read_to_their_end(gateway, scene):
    stream = await gateway.client().chat.completions.create(
        model=f"first/{scene}", messages=HI, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason == "stop"
    if scene == "unicode":
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text == "line\u2028sep\r\né\u0301👩‍👩‍👧data: not a frame\n\n\u0000ok"


@pytest.mark.parametrize(
    "scene", ["fault-no-done", "fault-cut-2", "fault-rst-2", "fault-end-2", "fault-sse-error-2"]
)
async def test_a_stream_without_its_end_is_an_error(gateway, scene):
    text = ""
    with pytest.raises(openai.APIError):
        async for chunk in await gateway.client().chat.completions.create(
            model=f"first/{scene}", messages=HI, stream=True
        ):
            text += chunk.choices[0].delta.content or ""
    assert text.startswith(" word0 word1")
    await gateway.wait_until_idle()
    assert gateway.last.fault == ("upstream_overloaded" if "sse-error" in scene else "upstream_cut")
    if scene != "fault-no-done":
        assert gateway.last.usage.estimated
        assert gateway.last.usage.output > 0


@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("first/unknown-scene", openai.NotFoundError, 404),
        ("first/fault-400", openai.BadRequestError, 400),
        ("first/fault-context", openai.BadRequestError, 400),
        ("first/fault-429", openai.RateLimitError, 429),
        ("first/fault-401", openai.InternalServerError, 503),
        ("first/fault-402", openai.InternalServerError, 503),
        ("first/fault-500", openai.InternalServerError, 502),
        ("first/fault-529", openai.InternalServerError, 503),
        ("first/exchange-error_400_credit", openai.InternalServerError, 503),
        ("first/exchange-error_first", openai.InternalServerError, 502),
        ("first/fault-html-200", openai.InternalServerError, 502),
        ("first/fault-no-choices", openai.InternalServerError, 502),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_each_error_is_the_sdks_class(gateway, model, error, status, streamed):
    with pytest.raises(error) as caught:
        await gateway.client().chat.completions.create(model=model, messages=HI, stream=streamed)
    assert caught.value.status_code == status
    assert caught.value.body["message"]
    assert "canary" not in str(caught.value)


async def test_an_unsupported_parameter_is_left_out_and_asked_again(gateway):
    gateway.upstream.script("echo", ["fault-unsupported-temperature", "echo"])
    await gateway.client().chat.completions.create(model="first/echo", messages=HI, temperature=0.5)
    assert "temperature" not in gateway.sent
    assert gateway.last.dropped == ("temperature",)


async def test_failover_between_dialects(tmp_path):
    async with run_gateway(
        tmp_path,
        dialects={"first": "anthropic_messages"},
        models=[model_with_offers(("first", "fault-529"), ("second", "echo"))],
    ) as gateway:
        for streamed in (False, True):
            reply = await gateway.client().chat.completions.create(
                model="test/model", messages=HI, stream=streamed
            )
            text = (
                "".join([chunk.choices[0].delta.content or "" async for chunk in reply])
                if streamed
                else reply.choices[0].message.content
            )
            assert text == HI[0]["content"]
            if not streamed:
                # Afterwards the conversation stays with whom it was served by.
                assert [row.fault for row in gateway.last.attempts] == ["upstream_overloaded", ""]
            assert gateway.last.served == "second"
