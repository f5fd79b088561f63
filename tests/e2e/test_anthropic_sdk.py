"""The official Anthropic SDK over real sockets, on upstreams of every shape."""

import json

import anthropic
import pytest

from tests.support.house import house, offers

TOOL = {
    "name": "weather",
    "description": "Tells the weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}
CLOCK = {"name": "clock", "input_schema": {"type": "object", "properties": {}}}
HI = [{"role": "user", "content": "Tell me something, please"}]
DIALECTS = ["openai_chat", "anthropic_messages", "gemini"]
MAX = {"max_tokens": 4_000}


@pytest.fixture(params=DIALECTS)
async def here(request, tmp_path):
    async with house(
        tmp_path,
        dialect=request.param,
        quirks={"reasoning_history": "reasoning_details"}
        if request.param == "openai_chat"
        else None,
    ) as one:
        one.dialect = request.param
        yield one


@pytest.fixture
async def native(tmp_path):
    async with house(tmp_path, dialect="anthropic_messages") as one:
        yield one


def shown(reply):
    """The blocks that say something; seals of texts and calls travel in redacted blocks beside them."""
    return [block for block in reply.content if block.type not in {"redacted_thinking"}]


async def both(here, scene, **asked):
    """The message of a scene, whole and from the stream helper."""
    client = here.claude()
    asked = {"messages": HI, **MAX, **asked}
    whole = await client.messages.create(model=f"first/{scene}", **asked)
    async with client.messages.stream(model=f"first/{scene}", **asked) as stream:
        kinds = [event.type async for event in stream]
        streamed = await stream.get_final_message()
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    return whole, streamed


async def test_text_whole_and_streamed(here):
    whole, streamed = await both(here, "echo")
    for reply in (whole, streamed):
        assert [(block.type, block.text) for block in reply.content] == [
            ("text", "Tell me something, please")
        ]
        assert (reply.role, reply.type, reply.stop_reason, reply.stop_sequence) == (
            "assistant",
            "message",
            "end_turn",
            None,
        )
        assert reply.id.startswith("msg_01")
        assert reply.model == "first/echo"
        invoice = here.upstream.invoices[-1]
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (
            invoice.prompt_tokens,
            invoice.completion_tokens,
        )
    assert here.last.usage.completion == invoice.completion_tokens


async def test_the_events_of_a_stream_come_in_order(here):
    events = [
        event
        async for event in await here.claude().messages.create(
            model="first/parallel-tools", messages=HI, tools=[TOOL, CLOCK], stream=True, **MAX
        )
    ]
    kinds = [event.type for event in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert (
        kinds.count("message_start")
        == kinds.count("message_delta")
        == kinds.count("message_stop")
        == 1
    )
    running = None
    for event in events[1:-2]:
        if event.type == "content_block_start":
            assert running is None
            running = event.index
        assert event.index == running
        if event.type == "content_block_stop":
            running = None
    assert running is None
    starts = [event for event in events if event.type == "content_block_start"]
    assert [event.index for event in starts] == list(range(len(starts)))
    assert [
        event.content_block.name for event in starts if event.content_block.type == "tool_use"
    ] == ["weather", "clock"]


async def test_the_system_prompt_arrives_in_every_form(here):
    blocks = [
        {"type": "text", "text": "Be brief"},
        {"type": "text", "text": "Be kind", "cache_control": {"type": "ephemeral"}},
    ]
    messages = [
        *HI,
        {"role": "assistant", "content": "Yes?"},
        {"role": "system", "content": "The mode has changed"},
        {"role": "user", "content": "Go on"},
    ]
    reply = await here.claude().messages.create(
        model="first/echo", system=blocks, messages=messages, **MAX
    )
    assert reply.content[0].text.endswith("Go on")
    sent = json.dumps(here.sent)
    assert all(text in sent for text in ("Be brief", "Be kind", "The mode has changed"))
    assert ("cache_control" in sent) == (here.dialect == "anthropic_messages")
    assert ("cache_control" in here.last.dropped) == (here.dialect != "anthropic_messages")
    if here.dialect == "openai_chat":
        assert [message["role"] for message in here.sent["messages"]] == [
            "system",
            "user",
            "assistant",
            "system",
            "user",
        ]


@pytest.mark.parametrize(
    "choice", [{"type": "any"}, {"type": "auto"}, {"type": "tool", "name": "weather"}]
)
async def test_one_tool_call(here, choice):
    whole, streamed = await both(here, "tools", tools=[TOOL], tool_choice=choice)
    for reply in (whole, streamed):
        (tool,) = shown(reply)
        assert (tool.type, tool.name, tool.input) == (
            "tool_use",
            "weather",
            {"city": "Paris", "days": 7},
        )
        assert tool.id
        assert reply.stop_reason == "tool_use"


async def test_parallel_tool_calls_and_one_at_a_time(here):
    whole, streamed = await both(here, "parallel-tools", tools=[TOOL, CLOCK])
    for reply in (whole, streamed):
        assert [(block.name, block.input) for block in shown(reply)] == [
            ("weather", {"city": "Paris", "days": 7}),
            ("clock", {}),
        ]
        assert len({block.id for block in shown(reply)}) == 2
    if here.dialect != "gemini":
        one = await here.claude().messages.create(
            model="first/parallel-tools",
            messages=HI,
            tools=[TOOL, CLOCK],
            **MAX,
            tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        )
        assert len(one.content) == 1


async def test_a_tool_loop_with_an_error_and_an_image(here):
    client = here.claude()
    first = await client.messages.create(
        model="first/parallel-tools", messages=HI, tools=[TOOL, CLOCK], **MAX
    )
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
    }
    calls = shown(first)
    results = [
        {
            "type": "tool_result",
            "tool_use_id": calls[0].id,
            "content": [{"type": "text", "text": "a map"}, image],
        },
        {
            "type": "tool_result",
            "tool_use_id": calls[1].id,
            "content": "no clock here",
            "is_error": True,
        },
    ]
    messages = [
        *HI,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [*results, {"type": "text", "text": "And?"}]},
    ]
    second = await client.messages.create(
        model="first/tools", messages=messages, tools=[TOOL, CLOCK], **MAX
    )
    assert second.content[0].text.startswith("The tool said:")
    assert "no clock here" in second.content[0].text
    sent = json.dumps(here.sent)
    assert "iVBORw0KGgo=" in sent
    assert "And?" in sent
    if here.dialect == "openai_chat":
        assert [message["role"] for message in here.sent["messages"]] == [
            "user",
            "assistant",
            "tool",
            "tool",
            "user",
        ]
        assert here.sent["messages"][3]["content"] == "Error: no clock here"
        assert [part["type"] for part in here.sent["messages"][4]["content"]] == [
            "image_url",
            "text",
        ]


async def test_images_and_documents(here):
    content = [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
        },
        {
            "type": "document",
            "title": "a.pdf",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        },
        {"type": "text", "text": "What is this?"},
    ]
    reply = await here.claude().messages.create(
        model="first/vision", messages=[{"role": "user", "content": content}], **MAX
    )
    assert "I see 1 image(s): data:image/png;base64" in reply.content[0].text
    assert "JVBERi0=" in json.dumps(here.sent)


@pytest.mark.parametrize(
    ("asked", "chat", "gemini"),
    [
        (
            {"temperature": 0.5, "top_p": 0.9, "top_k": 5},
            {"temperature": 0.5, "top_p": 0.9, "top_k": 5},
            {"temperature": 0.5, "topP": 0.9, "topK": 5},
        ),
        ({"stop_sequences": ["END"]}, {"stop": ["END"]}, {"stopSequences": ["END"]}),
    ],
)
async def test_parameters_are_said_in_each_dialects_words(here, asked, chat, gemini):
    await here.claude().messages.create(model="first/echo", messages=HI, **MAX, extra_body=asked)
    want = {
        "openai_chat": {**chat, "max_tokens": 4_000},
        "anthropic_messages": {**asked, **MAX},
        "gemini": {**gemini, "maxOutputTokens": 4_000},
    }[here.dialect]
    sent = here.sent["generationConfig"] if here.dialect == "gemini" else here.sent
    assert {name: sent.get(name) for name in want} == want


async def test_why_it_stopped(here):
    for scene, reason in (("length", "max_tokens"), ("filter", "refusal")):
        whole, streamed = await both(here, scene)
        assert (whole.stop_reason, streamed.stop_reason) == (reason, reason)


async def test_structured_output(here):
    format_ = {
        "type": "json_schema",
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "additionalProperties": False,
        },
    }
    reply = await here.claude().messages.create(
        model="first/json", messages=HI, output_config={"format": format_}, **MAX
    )
    assert json.loads(reply.content[0].text) == {"city": "Paris"}


async def test_thinking_round_trip(here):
    scene = "reasoning-tools"
    asked = {"tools": [TOOL], "thinking": {"type": "enabled", "budget_tokens": 2_000}}
    whole, streamed = await both(here, scene, **asked)
    for reply in (whole, streamed):
        if here.dialect != "gemini":
            assert reply.content[0].type == "thinking"
            assert reply.content[0].thinking.startswith("The user wants")
        tool = next(block for block in reply.content if block.type == "tool_use")
        seals = [block.signature for block in reply.content if block.type == "thinking"] + [
            block.data for block in reply.content if block.type == "redacted_thinking"
        ]
        assert any("gwz.first." in seal for seal in seals)
        messages = [
            *HI,
            {"role": "assistant", "content": reply.content},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": tool.id, "content": "sunny"}],
            },
        ]
        again = await here.claude().messages.create(
            model=f"first/{scene}", messages=messages, **asked, **MAX
        )
        assert shown(again)[-1].text == "The tool said: sunny"
        assert "seal" not in here.last.dropped
        assert "gwz." not in json.dumps(here.sent)


async def test_a_conversation_moves_between_providers_of_every_dialect(tmp_path):
    dialects = {
        "first": "anthropic_messages",
        "second": "anthropic_messages",
        "third": "openai_chat",
        "fourth": "gemini",
    }
    async with house(tmp_path, providers=tuple(dialects), dialects=dialects) as here:
        client = here.claude()
        asked = {"tools": [TOOL], "thinking": {"type": "enabled", "budget_tokens": 2_000}, **MAX}
        for start in dialects:
            reply = await client.messages.create(
                model=f"{start}/reasoning-tools", messages=HI, **asked
            )
            tool = next(block for block in reply.content if block.type == "tool_use")
            messages = [
                *HI,
                {"role": "assistant", "content": reply.content},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": tool.id, "content": "sunny"}
                    ],
                },
            ]
            for end in dialects:
                again = await client.messages.create(
                    model=f"{end}/reasoning-tools", messages=messages, **asked
                )
                assert shown(again)[-1].text == "The tool said: sunny", (start, end)
                assert "gwz." not in json.dumps(here.sent)
                sealed = "gwz." in json.dumps([block.model_dump() for block in reply.content])
                assert ("seal" in here.last.dropped) == (sealed and start != end), (
                    start,
                    end,
                    here.last.dropped,
                )


async def test_claude_code_with_a_model_it_does_not_know(here):
    """What Claude Code sends for gpt-…: adaptive thinking, an effort, a system message inside, beta flags, large tools."""
    raw = await here.claude().beta.messages.with_raw_response.create(
        model="first/echo",
        messages=[
            *HI,
            {"role": "assistant", "content": "Yes?"},
            {"role": "system", "content": "Now in plan mode"},
            {"role": "user", "content": "Go"},
        ],
        betas=["mid-conversation-system-2026-04-07", "context-management-2025-06-27"],
        thinking={"type": "adaptive"},
        output_config={"effort": "high"},
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
        metadata={"user_id": "user_" + "a" * 100},
        tools=[TOOL],
        extra_headers={"X-Claude-Code-Session-Id": "session-1"},
        **MAX,
    )
    assert (await raw.parse()).content[0].text.endswith("Go")
    request = here.upstream.requests[-1]
    dropped = raw.headers.get("x-gatewayz-dropped", "")
    if here.dialect == "anthropic_messages":
        assert (
            request.headers["anthropic-beta"]
            == "mid-conversation-system-2026-04-07,context-management-2025-06-27"
        )
        assert here.sent["messages"][2] == {"role": "system", "content": "Now in plan mode"}
        assert here.sent["thinking"] == {"type": "adaptive"}
        assert here.sent["output_config"] == {"effort": "high"}
        assert here.sent["context_management"] == {"edits": [{"type": "clear_tool_uses_20250919"}]}
        assert dropped == ""
    else:
        assert "anthropic-beta" not in request.headers
        assert {"anthropic-beta", "context_management"} <= set(dropped.split(", "))
        assert "context_management" not in here.sent
    if here.dialect == "openai_chat":
        assert len(here.sent["user"]) == 64


ERRORS = [
    ("nobody/knows", anthropic.NotFoundError, 404, "not_found_error"),
    ("first/unknown-scene", anthropic.NotFoundError, 404, "not_found_error"),
    ("first/fault-400", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("first/fault-context", anthropic.BadRequestError, 400, "invalid_request_error"),
    ("first/fault-429", anthropic.RateLimitError, 429, "rate_limit_error"),
    ("first/fault-401", anthropic.InternalServerError, 503, "api_error"),
    ("first/fault-500", anthropic.InternalServerError, None, "api_error"),
    ("first/fault-529", anthropic.InternalServerError, 529, "overloaded_error"),
    ("first/fault-504", anthropic.InternalServerError, 504, "timeout_error"),
]


@pytest.mark.parametrize(("model", "error", "status", "kind"), ERRORS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_each_error_is_the_sdks_class(here, model, error, status, kind, streamed):
    with pytest.raises(error) as caught:
        await here.claude().messages.create(model=model, messages=HI, stream=streamed, **MAX)
    assert caught.value.status_code == (
        status or (500 if here.dialect == "anthropic_messages" else 502)
    )
    body = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["error"]["message"]
    assert body["request_id"] == caught.value.request_id
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("scene", ["fault-cut-2", "fault-sse-error-2", "fault-rst-3"])
async def test_an_error_after_the_first_block_ends_the_stream_typed(here, scene):
    text = ""
    with pytest.raises(anthropic.APIStatusError) as caught:
        async for event in await here.claude().messages.create(
            model=f"first/{scene}", messages=HI, stream=True, **MAX
        ):
            text += event.delta.text if event.type == "content_block_delta" else ""
    assert text.startswith(" word0")
    assert caught.value.body["error"]["type"] in {"api_error", "overloaded_error"}
    await here.settled()
    assert here.last.usage.output > 0


async def test_a_client_that_leaves_cancels_upstream(here):
    stream = await here.claude().messages.create(
        model="first/slow", messages=HI, stream=True, **MAX
    )
    async for event in stream:
        if event.type == "content_block_delta":
            break
    await stream.close()
    await here.settled()
    assert here.upstream.invoices[-1].aborted
    assert here.last.fault == "client_gone"
    assert here.last.usage.output > 0


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("sk-ant-wrong", anthropic.AuthenticationError),
        ("gw_live_" + "a" * 49, anthropic.AuthenticationError),
    ],
)
async def test_a_bad_key_is_an_authentication_error(native, key, error):
    with pytest.raises(error) as caught:
        await native.claude(api_key=key).messages.create(model="first/echo", messages=HI, **MAX)
    assert caught.value.body["error"]["type"] == "authentication_error"
    assert (
        await native.claude(api_key=None, auth_token=native.key).messages.create(
            model="first/echo", messages=HI, **MAX
        )
    ).content


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": "hi"},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "nobody", "content": "x"}]},
        {"temperature": "hot"},
        {"max_tokens": None},
        {"max_tokens": -1},
        {"tools": {}},
        {"stop_sequences": 5},
        {"tool_choice": 7},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "name": "x", "input": {}}]}
            ]
        },
        {"thinking": {"type": "enabled"}},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]},
        {"system": 5},
        {"metadata": "me"},
        {"stream": "yes"},
        {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
        {"tools": [{"input_schema": {}}]},
        {"thinking": {}},
        {"output_config": []},
        {"tool_choice": {}},
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": "no"}},
        {"provider": []},
        {"model": 5},
    ],
)
async def test_bad_input_is_a_bad_request_that_names_the_field(native, body):
    given = {"model": "first/echo", "messages": HI, **MAX, **body}
    answered = await native.claude()._client.post(
        f"{native.url}/v1/messages", json=given, headers={"x-api-key": native.key}
    )
    assert answered.status_code == 400
    said = answered.json()
    assert said["error"]["type"] == "invalid_request_error"
    assert next(iter(body)) in said["error"]["message"]
    assert not native.upstream.requests


async def test_affinity_follows_claude_codes_session(tmp_path):
    async with house(tmp_path, models=[offers(("first", "echo"), ("second", "echo"))]) as here:
        here.upstream.script("echo", ["fault-503", "echo"])
        session = {"extra_headers": {"X-Claude-Code-Session-Id": "s-1"}}
        await here.claude().messages.create(model="test/model", messages=HI, **MAX, **session)
        assert here.last.served == "second"
        for text in ("something else", "again"):
            await here.claude().messages.create(
                model="test/model", messages=[{"role": "user", "content": text}], **MAX, **session
            )
            assert here.last.served == "second"
        await here.claude().messages.create(
            model="test/model", messages=[{"role": "user", "content": "another"}], **MAX
        )
        assert here.last.served == "first"


async def test_the_sdk_retries_what_is_overloaded(here):
    here.upstream.script("echo", ["fault-529", "echo"])
    reply = await here.claude(max_retries=2).messages.create(model="first/echo", messages=HI, **MAX)
    assert reply.content[0].text
