"""The official Anthropic SDK over real sockets, on upstreams of every shape."""

import json
from typing import Any

import pytest

from tests.support.running_gateway import run_gateway

TOOL: Any = {
    "name": "weather",
    "description": "Tells the weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}
CLOCK = {"name": "clock", "input_schema": {"type": "object", "properties": {}}}
HI: Any = [{"role": "user", "content": "Tell me something, please"}]
DIALECTS = ["openai_chat", "anthropic_messages", "gemini"]
MAX: dict[str, Any] = {"max_tokens": 4_000}


@pytest.fixture(params=DIALECTS)
async def gateway(request, tmp_path):
    async with run_gateway(
        tmp_path,
        dialect=request.param,
        quirks={"reasoning_history": "reasoning_details"}
        if request.param == "openai_chat"
        else None,
    ) as running:
        running.dialect = request.param
        yield running


@pytest.fixture
async def native(tmp_path):
    async with run_gateway(tmp_path, dialect="anthropic_messages") as running:
        yield running


def shown(reply):
    """The blocks without those that only carry the seal of a text or a call."""
    return [block for block in reply.content if block.type not in {"redacted_thinking"}]


async def both(gateway, scene, **options):
    """The message of a scene, whole and from the stream helper."""
    client = gateway.anthropic_client()
    options = {"messages": HI, **MAX, **options}
    whole = await client.messages.create(model=f"first/{scene}", **options)
    async with client.messages.stream(model=f"first/{scene}", **options) as stream:
        kinds = [event.type async for event in stream]
        streamed = await stream.get_final_message()
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    return whole, streamed


async def test_text_whole_and_streamed(gateway):
    whole, streamed = await both(gateway, "echo")
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
        invoice = gateway.upstream.invoices[-1]
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (
            invoice.prompt_tokens,
            invoice.completion_tokens,
        )
    assert gateway.last.usage.completion == invoice.completion_tokens


async def test_the_events_of_a_stream_come_in_order(gateway):
    events = [
        event
        async for event in await gateway.anthropic_client().messages.create(
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


async def test_the_system_prompt_arrives_in_every_form(gateway):
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
    reply = await gateway.anthropic_client().messages.create(
        model="first/echo", system=blocks, messages=messages, **MAX
    )
    assert reply.content[0].text.endswith("Go on")
    sent = json.dumps(gateway.sent)
    assert all(text in sent for text in ("Be brief", "Be kind", "The mode has changed"))
    assert ("cache_control" in sent) == (gateway.dialect == "anthropic_messages")
    assert ("cache_control" in gateway.last.dropped) == (gateway.dialect != "anthropic_messages")
    if gateway.dialect == "openai_chat":
        roles = [message["role"] for message in gateway.sent["messages"]]
        assert roles == ["system", "user", "assistant", "system", "user"]


@pytest.mark.parametrize(
    "choice", [{"type": "any"}, {"type": "auto"}, {"type": "tool", "name": "weather"}]
)
async def test_one_tool_call(gateway, choice):
    whole, streamed = await both(gateway, "tools", tools=[TOOL], tool_choice=choice)
    for reply in (whole, streamed):
        (tool,) = shown(reply)
        assert (tool.type, tool.name, tool.input) == (
            "tool_use",
            "weather",
            {"city": "Paris", "days": 7},
        )
        assert tool.id
        assert reply.stop_reason == "tool_use"


async def test_parallel_tool_calls_and_one_at_a_time(gateway):
    whole, streamed = await both(gateway, "parallel-tools", tools=[TOOL, CLOCK])
    for reply in (whole, streamed):
        assert [(block.name, block.input) for block in shown(reply)] == [
            ("weather", {"city": "Paris", "days": 7}),
            ("clock", {}),
        ]
        assert len({block.id for block in shown(reply)}) == 2
    if gateway.dialect != "gemini":
        message = await gateway.anthropic_client().messages.create(
            model="first/parallel-tools",
            messages=HI,
            tools=[TOOL, CLOCK],
            **MAX,
            tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        )
        assert len(message.content) == 1


async def test_a_tool_loop_with_an_error_and_an_image(gateway):
    client = gateway.anthropic_client()
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
    sent = json.dumps(gateway.sent)
    assert "iVBORw0KGgo=" in sent
    assert "And?" in sent
    if gateway.dialect == "openai_chat":
        assert [message["role"] for message in gateway.sent["messages"]] == [
            "user",
            "assistant",
            "tool",
            "tool",
            "user",
        ]
        assert gateway.sent["messages"][3]["content"] == "Error: no clock here"
        assert [part["type"] for part in gateway.sent["messages"][4]["content"]] == [
            "image_url",
            "text",
        ]


async def test_images_and_documents(gateway):
    image = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    document = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    content = [
        {"type": "image", "source": image},
        {"type": "document", "title": "a.pdf", "source": document},
        {"type": "text", "text": "What is this?"},
    ]
    reply = await gateway.anthropic_client().messages.create(
        model="first/vision", messages=[{"role": "user", "content": content}], **MAX
    )
    assert "I see 1 image(s): data:image/png;base64" in reply.content[0].text
    assert "JVBERi0=" in json.dumps(gateway.sent)


@pytest.mark.parametrize(
    ("options", "chat", "gemini"),
    [
        (
            {"temperature": 0.5, "top_p": 0.9, "top_k": 5},
            {"temperature": 0.5, "top_p": 0.9, "top_k": 5},
            {"temperature": 0.5, "topP": 0.9, "topK": 5},
        ),
        ({"stop_sequences": ["END"]}, {"stop": ["END"]}, {"stopSequences": ["END"]}),
    ],
)
async def test_parameters_are_said_in_each_dialects_words(gateway, options, chat, gemini):
    await gateway.anthropic_client().messages.create(
        model="first/echo", messages=HI, **MAX, extra_body=options
    )
    want = {
        "openai_chat": {**chat, "max_tokens": 4_000},
        "anthropic_messages": {**options, **MAX},
        "gemini": {**gemini, "maxOutputTokens": 4_000},
    }[gateway.dialect]
    sent = gateway.sent["generationConfig"] if gateway.dialect == "gemini" else gateway.sent
    assert {name: sent.get(name) for name in want} == want


async def test_why_it_stopped(gateway):
    for scene, reason in (("length", "max_tokens"), ("filter", "refusal")):
        whole, streamed = await both(gateway, scene)
        assert (whole.stop_reason, streamed.stop_reason) == (reason, reason)


async def test_structured_output(gateway):
    properties = {"city": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    format_ = {"type": "json_schema", "schema": schema}
    reply = await gateway.anthropic_client().messages.create(
        model="first/json", messages=HI, output_config={"format": format_}, **MAX
    )
    assert json.loads(reply.content[0].text) == {"city": "Paris"}


async def test_thinking_round_trip(gateway):
    scene = "reasoning-tools"
    options = {"tools": [TOOL], "thinking": {"type": "enabled", "budget_tokens": 2_000}}
    whole, streamed = await both(gateway, scene, **options)
    for reply in (whole, streamed):
        if gateway.dialect != "gemini":
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
        again = await gateway.anthropic_client().messages.create(
            model=f"first/{scene}", messages=messages, **options, **MAX
        )
        assert shown(again)[-1].text == "The tool said: sunny"
        assert "seal" not in gateway.last.dropped
        assert "gwz." not in json.dumps(gateway.sent)


async def test_a_conversation_moves_between_providers_of_every_dialect(tmp_path):
    dialects = {
        "first": "anthropic_messages",
        "second": "anthropic_messages",
        "third": "openai_chat",
        "fourth": "gemini",
    }
    async with run_gateway(tmp_path, providers=tuple(dialects), dialects=dialects) as gateway:
        client = gateway.anthropic_client()
        thinking = {"type": "enabled", "budget_tokens": 2_000}
        options: dict[str, Any] = {"tools": [TOOL], "thinking": thinking, **MAX}
        for start in dialects:
            reply = await client.messages.create(
                model=f"{start}/reasoning-tools", messages=HI, **options
            )
            tool = next(block for block in reply.content if block.type == "tool_use")
            messages: Any = [
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
                    model=f"{end}/reasoning-tools", messages=messages, **options
                )
                assert shown(again)[-1].text == "The tool said: sunny", (start, end)
                assert "gwz." not in json.dumps(gateway.sent)
                sealed = "gwz." in json.dumps([block.model_dump() for block in reply.content])
                assert ("seal" in gateway.last.dropped) == (sealed and start != end), (
                    start,
                    end,
                    gateway.last.dropped,
                )


async def test_claude_code_with_a_model_it_does_not_know(gateway):
    """What Claude Code sends for gpt-…: an effort, a system message inside, beta flags, tools."""
    raw = await gateway.anthropic_client().beta.messages.with_raw_response.create(
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
    request = gateway.upstream.requests[-1]
    dropped = raw.headers.get("x-gatewayz-dropped", "")
    if gateway.dialect == "anthropic_messages":
        assert (
            request.headers["anthropic-beta"]
            == "mid-conversation-system-2026-04-07,context-management-2025-06-27"
        )
        assert gateway.sent["messages"][2] == {"role": "system", "content": "Now in plan mode"}
        assert gateway.sent["thinking"] == {"type": "adaptive"}
        assert gateway.sent["output_config"] == {"effort": "high"}
        assert gateway.sent["context_management"] == {
            "edits": [{"type": "clear_tool_uses_20250919"}]
        }
        assert dropped == ""
    else:
        assert "anthropic-beta" not in request.headers
        assert {"anthropic-beta", "context_management"} <= set(dropped.split(", "))
        assert "context_management" not in gateway.sent
    if gateway.dialect == "openai_chat":
        assert len(gateway.sent["user"]) == 64
