"""The official OpenAI SDK over real sockets: every feature, at the upstream and in the answer."""

import asyncio
import json
from typing import Any

import aiohttp
import openai
import pytest
from pydantic import BaseModel

from tests.support.running_gateway import model_with_offers, run_gateway

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
HI: Any = [{"role": "user", "content": "Tell me something, please"}]


@pytest.fixture
async def gateway(tmp_path):
    async with run_gateway(tmp_path) as running:
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
    assert second.pop("stream_options") == {"include_usage": True}
    assert first == second
    return whole, streamed, first


async def test_text_whole_and_streamed(gateway):
    whole, streamed, sent = await both(gateway, "echo")
    assert sent == {"model": "echo", "messages": HI}
    for reply in (whole, streamed):
        assert reply.choices[0].message.content == "Tell me something, please"
        assert reply.choices[0].message.role == "assistant"
        assert reply.choices[0].finish_reason == "stop"
        assert reply.id.startswith("chatcmpl-01")
        assert reply.model == "first/echo"
    assert whole.usage.prompt_tokens == gateway.upstream.invoices[-2].prompt_tokens
    assert whole.usage.completion_tokens == gateway.upstream.invoices[-2].completion_tokens


async def test_the_upstream_sees_its_own_key_and_none_of_the_clients(gateway):
    await gateway.client(
        default_headers={"X-Strange": "1", "Cookie": "a=b"}
    ).chat.completions.create(model="first/echo", messages=HI)
    headers = gateway.upstream.requests[-1].headers
    assert headers["authorization"] == "Bearer sk-first-canary"
    assert gateway.key not in json.dumps(headers)
    assert not {"x-strange", "cookie", "x-stainless-lang"} & headers.keys()
    assert headers["traceparent"].startswith("00-")
    assert gateway.upstream.requests[-1].path == "/first/v1/chat/completions"


@pytest.mark.parametrize(
    ("fields", "arrives"),
    [
        (
            {"temperature": 0.5, "top_p": 0.9, "presence_penalty": 0.25, "frequency_penalty": -0.5},
            None,
        ),
        ({"seed": 7}, None),
        ({"stop": ["END", "STOP"]}, None),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"logit_bias": {"50256": -100}}, None),
        ({"logprobs": True, "top_logprobs": 2}, None),
        ({"max_tokens": 20}, None),
        ({"max_completion_tokens": 20}, {"max_tokens": 20}),
        ({"user": "someone"}, None),
        ({"metadata": {"a": "b"}, "store": True}, None),
        ({"service_tier": "flex"}, None),
        ({"prediction": {"type": "content", "content": "Tell me"}}, None),
        ({"modalities": ["text"]}, None),
        ({"verbosity": "low", "prompt_cache_key": "k", "safety_identifier": "s"}, None),
        (
            {"extra_body": {"brand_new_field": {"deep": [1, 2.5, "x"]}}},
            {"brand_new_field": {"deep": [1, 2.5, "x"]}},
        ),
        ({"web_search_options": {"search_context_size": "low"}}, None),
    ],
)
async def test_a_parameter_reaches_the_upstream_as_it_was_given(gateway, fields, arrives):
    await gateway.client().chat.completions.create(model="first/echo", messages=HI, **fields)
    assert {
        name: value for name, value in gateway.sent.items() if name not in {"model", "messages"}
    } == (arrives or fields)


async def test_what_the_gateway_owns_is_consumed(gateway):
    body = {
        "provider": {"order": ["first"]},
        "models": ["first/hello"],
        "session_id": "s",
        "route": "fallback",
    }
    await gateway.client().chat.completions.create(model="first/echo", messages=HI, extra_body=body)
    assert gateway.sent == {"model": "echo", "messages": HI}


async def test_one_tool_call(gateway):
    whole, streamed, sent = await both(gateway, "tools", tools=[TOOL], tool_choice="required")
    assert sent["tools"] == [TOOL]
    assert sent["tool_choice"] == "required"
    for reply in (whole, streamed):
        (tool,) = reply.choices[0].message.tool_calls
        assert tool.function.name == "weather"
        assert json.loads(tool.function.arguments) == {"city": "Paris", "days": 7}
        assert reply.choices[0].finish_reason == "tool_calls"


async def test_parallel_tool_calls_interleave(gateway):
    other = {
        "type": "function",
        "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}},
    }
    # The SDK parses the arguments of a strict tool as soon as another call begins, which only
    # sequential calls survive.
    loose: Any = {"type": "function", "function": {**TOOL["function"], "strict": False}}
    whole, streamed, _ = await both(gateway, "parallel-tools", tools=[loose, other])
    for reply in (whole, streamed):
        assert [tool.function.name for tool in reply.choices[0].message.tool_calls] == [
            "weather",
            "clock",
        ]
        assert len({tool.id for tool in reply.choices[0].message.tool_calls}) == 2
    await gateway.client().chat.completions.create(
        model="first/parallel-tools", messages=HI, tools=[TOOL], parallel_tool_calls=False
    )
    assert gateway.sent["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    "choice", ["none", "auto", {"type": "function", "function": {"name": "weather"}}]
)
async def test_tool_choice_in_every_form(gateway, choice):
    await gateway.client().chat.completions.create(
        model="first/tools", messages=HI, tools=[TOOL], tool_choice=choice
    )
    assert gateway.sent["tool_choice"] == choice


async def test_a_tool_loop(gateway):
    client = gateway.client()
    first = await client.chat.completions.create(model="first/tools", messages=HI, tools=[TOOL])
    tool = first.choices[0].message.tool_calls[0]
    turn = first.choices[0].message.model_dump(exclude_none=True)
    result = {"role": "tool", "tool_call_id": tool.id, "content": "sunny"}
    second = await client.chat.completions.create(
        model="first/tools", messages=[*HI, turn, result], tools=[TOOL]
    )
    assert second.choices[0].message.content == "The tool said: sunny"
    assert gateway.sent["messages"][1]["tool_calls"][0]["id"] == tool.id
    assert gateway.sent["messages"][2] == result


@pytest.mark.parametrize(
    "scene",
    [
        "tools-no-index",
        "tools-zero-index",
        "tools-no-id",
        "tools-object-arguments",
        "tools-wrong-finish",
    ],
)
async def test_tool_calls_of_sloppy_providers_are_mended(gateway, scene):
    whole, streamed, _ = await both(gateway, scene, tools=[TOOL])
    for reply in (whole, streamed):
        for tool in reply.choices[0].message.tool_calls:
            assert tool.id
            assert tool.type == "function"
            assert json.loads(tool.function.arguments) == {"city": "Paris", "days": 7}
        assert reply.choices[0].finish_reason == "tool_calls"


async def test_json_object(gateway):
    whole, _, sent = await both(gateway, "json", response_format={"type": "json_object"})
    assert sent["response_format"] == {"type": "json_object"}
    assert json.loads(whole.choices[0].message.content)["answer"] == "yes"


async def test_structured_output_is_parsed(gateway):
    class Weather(BaseModel):
        city: str
        degrees: int

    reply = await gateway.client().chat.completions.parse(
        model="first/json", messages=HI, response_format=Weather
    )
    assert reply.choices[0].message.parsed == Weather(city="Paris", degrees=7)
    assert gateway.sent["response_format"]["json_schema"]["strict"] is True


async def test_images_sound_and_files_go_on(gateway):
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}},
        {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,CCCC"},
        },
    ]
    whole, _, sent = await both(gateway, "vision", messages=[{"role": "user", "content": parts}])
    assert sent["messages"][0]["content"] == parts
    assert "1 image(s)" in whole.choices[0].message.content


async def test_sound_comes_back(gateway):
    whole, streamed, sent = await both(
        gateway, "audio", modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"}
    )
    assert sent["audio"] == {"voice": "alloy", "format": "wav"}
    assert whole.choices[0].message.audio.data
    raw = await gateway.client().chat.completions.create(
        model="first/audio", messages=HI, stream=True
    )
    audio = [
        chunk.choices[0].delta.audio
        async for chunk in raw
        if chunk.choices and getattr(chunk.choices[0].delta, "audio", None)
    ]
    assert "".join(piece.transcript or "" for piece in audio) == "I heard 0 sound(s): "
    assert "".join(piece.data or "" for piece in audio) == whole.choices[0].message.audio.data


async def test_several_choices(gateway):
    client = gateway.client()
    whole = await client.chat.completions.create(model="first/echo", messages=HI, n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    stream = await client.chat.completions.create(model="first/echo", messages=HI, n=3, stream=True)
    seen: dict[int, str] = {}
    async for chunk in stream:
        for choice in chunk.choices:
            seen[choice.index] = seen.get(choice.index, "") + (choice.delta.content or "")
    assert seen == dict.fromkeys(range(3), "Tell me something, please")


async def test_logprobs_come_back(gateway):
    whole, streamed, _ = await both(gateway, "logprobs", logprobs=True, top_logprobs=2)
    assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 2
    assert (
        "".join(item.token for item in streamed.choices[0].logprobs.content)
        == "Tell me something, please"
    )


@pytest.mark.parametrize(
    "scene", ["reasoning", "reasoning-field", "reasoning-details", "reasoning-parts"]
)
async def test_reasoning_comes_out_in_one_place(gateway, scene):
    client = gateway.client()
    whole = await client.chat.completions.create(model=f"first/{scene}", messages=HI)
    assert whole.choices[0].message.reasoning_content.startswith("The user wants")
    assert whole.choices[0].message.content == HI[0]["content"]
    thought = text = ""
    async for chunk in await client.chat.completions.create(
        model=f"first/{scene}", messages=HI, stream=True
    ):
        thought += getattr(chunk.choices[0].delta, "reasoning_content", None) or ""
        text += chunk.choices[0].delta.content or ""
    assert thought == whole.choices[0].message.reasoning_content
    assert text == HI[0]["content"]
    assert (
        whole.usage.completion_tokens_details.reasoning_tokens == gateway.last.usage.reasoning > 0
    )


@pytest.mark.parametrize(("scene", "think"), [("think-tags", "tags"), ("think-tags-open", "open")])
async def test_reasoning_in_tags_comes_out_in_one_place(tmp_path, scene, think):
    async with run_gateway(tmp_path, quirks={"think": think}) as gateway:
        client = gateway.client()
        whole = await client.chat.completions.create(model=f"first/{scene}", messages=HI)
        assert whole.choices[0].message.content == HI[0]["content"]
        message: Any = whole.choices[0].message
        assert message.reasoning_content.strip().startswith("The user wants")
        text = ""
        async for chunk in await client.chat.completions.create(
            model=f"first/{scene}", messages=HI, stream=True
        ):
            text += chunk.choices[0].delta.content or ""
        assert text == HI[0]["content"]


async def test_developer_messages_become_system_unless_the_provider_knows_them(gateway):
    messages = [{"role": "developer", "content": "Be brief"}, *HI]
    await gateway.client().chat.completions.create(
        model="first/echo", messages=messages, reasoning_effort="high"
    )
    assert gateway.sent["messages"][0]["role"] == "system"
    assert "reasoning_effort" not in gateway.sent
    await gateway.client().chat.completions.create(
        model="simulator/echo", messages=messages, reasoning_effort="high"
    )
    content = gateway.built.simulator.requests[-1].content
    assert content["messages"][0]["role"] == "developer"
    assert content["reasoning_effort"] == "high"


async def test_refusals_and_annotations(gateway):
    whole, streamed, _ = await both(gateway, "refusal")
    for reply in (whole, streamed):
        assert reply.choices[0].message.refusal == "I cannot help with that."
    cited = await gateway.client().chat.completions.create(model="first/annotations", messages=HI)
    assert cited.choices[0].message.annotations[0].url_citation.title == "France"


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


async def test_max_tokens_cuts(gateway):
    reply = await gateway.client().chat.completions.create(
        model="first/long", messages=HI, max_tokens=5
    )
    assert reply.choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    "scene",
    [
        "unicode",
        "no-role",
        "nothing",
        "fault-invalid-utf8-2",
        "fault-bom-2",
        "fault-one-byte-2",
        "fault-no-done",
        "fault-json-for-stream",
    ],
)
async def test_odd_streams_are_read_to_their_end(gateway, scene):
    stream = await gateway.client().chat.completions.create(
        model=f"first/{scene}", messages=HI, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[0].choices[0].delta.role == "assistant"
    if scene == "unicode":
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text == "line\u2028sep\r\né\u0301👩‍👩‍👧data: not a frame\n\n\u0000ok"


@pytest.mark.parametrize(
    "place", ["echo", *(f"usage-{place}" for place in (1, 2, 3, 4, 5, 6, 7)), "usage-twice"]
)
async def test_usage_is_known_wherever_it_stands(gateway, place):
    model = f"first/{place}"
    stream = await gateway.client().chat.completions.create(
        model=model, messages=HI, stream=True, stream_options={"include_usage": True}
    )
    usages = [chunk.usage async for chunk in stream if chunk.usage is not None]
    invoice = gateway.upstream.invoices[-1]
    assert [(usage.prompt_tokens, usage.completion_tokens) for usage in usages] == [
        (invoice.prompt_tokens, invoice.completion_tokens)
    ]
    assert not gateway.last.usage.estimated
    quiet = await gateway.client().chat.completions.create(model=model, messages=HI, stream=True)
    assert [chunk.usage async for chunk in quiet if chunk.usage is not None] == []
    for records in (gateway.last,):
        assert records.usage.prompt == invoice.prompt_tokens
        assert records.usage.completion == invoice.completion_tokens


async def test_missing_usage_is_estimated_and_marked(gateway):
    async for _ in await gateway.client().chat.completions.create(
        model="first/usage-9", messages=HI, stream=True
    ):
        pass
    assert gateway.last.usage.estimated
    invoice = gateway.upstream.invoices[-1]
    assert gateway.last.usage.completion == pytest.approx(invoice.completion_tokens, rel=0.5)


@pytest.mark.parametrize(
    "scene", ["usage-cached-over", "usage-negative", "usage-floats", "usage-strings", "usage-huge"]
)
async def test_usage_that_makes_no_sense_is_repaired(gateway, scene):
    reply = await gateway.client().chat.completions.create(model=f"first/{scene}", messages=HI)
    usage = gateway.last.usage
    assert usage.repaired
    assert min(usage.input, usage.output, usage.cache_read) >= 0
    assert isinstance(reply.usage.prompt_tokens, int)


async def test_models_are_listed_and_found(tmp_path):
    async with run_gateway(
        tmp_path,
        models=[
            model_with_offers(("first", "echo"), model="family/model-1") | {"aliases": ["alias"]}
        ],
    ) as gateway:
        listed = [model.id async for model in gateway.client().models.list()]
        assert listed[0] == "family/model-1"
        assert all(other.startswith("simulator/") for other in listed[1:])
        assert (await gateway.client().models.retrieve("family/model-1")).owned_by == "family"
        assert (await gateway.client().models.retrieve("alias")).id == "family/model-1"
        for name in ("family/model-1", "alias", "model-1"):
            reply = await gateway.client().chat.completions.create(model=name, messages=HI)
            assert reply.model == name
            assert gateway.last.served == "first"
            assert gateway.last.cost > 0
        with pytest.raises(openai.NotFoundError):
            await gateway.client().models.retrieve("family/none")


async def test_headers_tell_what_happened(tmp_path):
    async with run_gateway(tmp_path, models=[model_with_offers(("first", "echo"))]) as gateway:
        raw = await gateway.client().chat.completions.with_raw_response.create(
            model="test/model", messages=HI
        )
        assert raw.headers["x-gatewayz-provider"] == "first"
        assert raw.headers["x-gatewayz-attempts"] == "1"
        assert float(raw.headers["x-gatewayz-cost"]) > 0
        assert raw.parse().id == f"chatcmpl-{raw.headers['x-request-id']}"
        assert raw.headers["x-ratelimit-remaining-requests"]


async def test_a_clients_timeout_is_obeyed(gateway):
    with pytest.raises(openai.InternalServerError) as caught:
        await gateway.client().chat.completions.create(
            model="first/fault-hang-headers",
            messages=HI,
            extra_headers={"X-Request-Timeout-Ms": "150"},
        )
    assert caught.value.status_code == 504
    await gateway.wait_until_idle()


async def test_log_and_metrics_tell_of_calls_and_hold_no_secret(gateway, tmp_path):
    await gateway.client().chat.completions.create(
        model="first/echo", messages=[{"role": "user", "content": "PROMPT-CANARY"}]
    )
    with pytest.raises(openai.APIError):
        await gateway.client().chat.completions.create(
            model="first/fault-401", messages=[{"role": "user", "content": "PROMPT-CANARY"}]
        )
    gateway.built.bus.flush()
    log = ""
    while log.count('"event":"call"') < 2:
        await asyncio.sleep(0.02)
        log = (tmp_path / "log.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert sorted(line["event"] for line in lines) == ["attempt_failed", "breaker", "call", "call"]
    assert lines[0]["provider"] == "first"
    assert "canary" not in log.lower()
    assert gateway.key not in log
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{gateway.url}/metrics", headers={"x-api-key": gateway.key}) as response,
    ):
        page = await response.text()
    assert (
        'gatewayz_calls_total{endpoint="/v1/chat/completions",fault="none",model="first/echo",provider="first",status="200"} 1.0'
        in page
    )
    assert (
        'gatewayz_attempts_total{endpoint="/v1/chat/completions",fault="upstream_auth",provider="first"} 1.0'
        in page
    )
