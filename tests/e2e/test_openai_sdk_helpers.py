"""The helpers of the official OpenAI SDK over every dialect: folded streams, parsed answers."""

from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.support.running_gateway import run_gateway

HI: Any = [{"role": "user", "content": "Tell me something, please"}]
MODELS = {
    "openai_chat": "gpt-4o",
    "anthropic_messages": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
}


class Weather(BaseModel):
    """Tells the weather"""

    city: str
    days: int


class Clock(BaseModel):
    """Tells the time"""

    zone: str


TOOLS = [
    openai.pydantic_function_tool(Weather, name="weather"),
    openai.pydantic_function_tool(Clock, name="clock"),
]


@pytest.fixture(params=MODELS)
async def gateway(request, tmp_path):
    async with run_gateway(tmp_path, dialect=request.param) as running:
        running.model = MODELS[request.param]
        running.dialect = request.param
        yield running


def playing(gateway, *scenes):
    gateway.upstream.script(gateway.model, list(scenes))
    return f"first/{gateway.model}"


async def stream_helper(gateway, scene, **fields):
    """The final completion of the stream helper, and the kinds of its events."""
    async with gateway.client().chat.completions.stream(
        model=playing(gateway, scene), messages=HI, stream_options={"include_usage": True}, **fields
    ) as stream:
        events = [event async for event in stream]
        return await stream.get_final_completion(), events


async def test_the_stream_helper_folds_to_what_a_whole_answer_says(gateway):
    whole = await gateway.client().chat.completions.create(
        model=playing(gateway, "echo"), messages=HI
    )
    final, events = await stream_helper(gateway, "echo")
    assert final.choices[0].message.content == whole.choices[0].message.content == HI[0]["content"]
    assert final.choices[0].finish_reason == whole.choices[0].finish_reason == "stop"
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (
        whole.usage.prompt_tokens,
        whole.usage.completion_tokens,
    )
    assert (
        "".join(event.delta for event in events if event.type == "content.delta")
        == HI[0]["content"]
    )
    assert [event.type for event in events].count("content.done") == 1


async def test_calls_side_by_side_are_parsed_by_the_helper(gateway):
    # The helper reads one call after the other, as OpenAI sends them; a provider that mixes them
    # is passed on as it is.
    final, events = await stream_helper(
        gateway,
        "tools-zero-index" if gateway.dialect == "openai_chat" else "parallel-tools",
        tools=TOOLS,
    )
    calls = final.choices[0].message.tool_calls
    assert [call.function.parsed_arguments for call in calls] == [
        Weather(city="Paris", days=7),
        Clock(zone="Paris"),
    ]
    assert [
        event.name for event in events if event.type == "tool_calls.function.arguments.done"
    ] == ["weather", "clock"]
    assert final.choices[0].finish_reason == "tool_calls"
    assert len({call.id for call in calls}) == 2
    parsed = await gateway.client().chat.completions.parse(
        model=playing(gateway, "tools"), messages=HI, tools=TOOLS
    )
    assert parsed.choices[0].message.tool_calls[0].function.parsed_arguments == Weather(
        city="Paris", days=7
    )


async def test_an_answer_is_parsed_whole_and_streamed(gateway):
    parsed = await gateway.client().chat.completions.parse(
        model=playing(gateway, "json"), messages=HI, response_format=Weather
    )
    assert parsed.choices[0].message.parsed == Weather(city="Paris", days=7)
    final, _ = await stream_helper(gateway, "json", response_format=Weather)
    assert final.choices[0].message.parsed == Weather(city="Paris", days=7)
    assert "response_format" not in gateway.last.dropped


async def test_a_conversation_of_tools_goes_on_with_the_helpers_message(gateway):
    final, _ = await stream_helper(
        gateway, "reasoning-tools", tools=TOOLS[:1], reasoning_effort="low"
    )
    message = final.choices[0].message
    turn = message.model_dump(exclude_none=True, exclude={"parsed"})
    for call in turn["tool_calls"]:
        call["function"].pop("parsed_arguments", None)
    messages = [
        *HI,
        turn,
        {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"},
    ]
    again = await gateway.client().chat.completions.create(
        model=playing(gateway, "reasoning-tools"),
        messages=messages,
        tools=TOOLS[:1],
        reasoning_effort="low",
    )
    assert again.choices[0].message.content == "The tool said: sunny"


async def test_a_length_or_a_filter_is_the_helpers_error(gateway):
    for scene, error in (
        ("length", openai.LengthFinishReasonError),
        ("filter", openai.ContentFilterFinishReasonError),
    ):
        with pytest.raises(error):
            await gateway.client().chat.completions.parse(
                model=playing(gateway, scene), messages=HI, response_format=Weather
            )


@pytest.mark.parametrize(
    "scenes",
    [("fault-429-retry-1", "echo"), ("fault-503", "fault-503", "echo"), ("fault-529", "echo")],
)
async def test_the_sdk_retries_what_may_pass(gateway, scenes):
    client = gateway.client(max_retries=6)
    reply = await client.chat.completions.create(model=playing(gateway, *scenes), messages=HI)
    assert reply.choices[0].message.content == HI[0]["content"]


async def test_a_stream_that_breaks_is_an_error_of_the_helper(gateway):
    seen = ""
    with pytest.raises(openai.APIError):
        async with gateway.client().chat.completions.stream(
            model=playing(gateway, "fault-cut-3"), messages=HI
        ) as stream:
            async for event in stream:
                seen += event.delta if event.type == "content.delta" else ""
    assert seen.startswith(" word0")


async def test_a_client_that_waits_no_longer_stops_the_provider(gateway):
    with pytest.raises(openai.APITimeoutError):
        await gateway.client(timeout=0.3).chat.completions.create(
            model=playing(gateway, "slow"), messages=HI
        )
    await gateway.wait_until_idle()
    assert gateway.last.fault == "client_gone"


async def test_raw_answers_tell_who_served(gateway):
    raw = await gateway.client().chat.completions.with_raw_response.create(
        model=playing(gateway, "echo"), messages=HI, n=1, user="me"
    )
    assert raw.headers["x-gatewayz-provider"] == "first"
    assert raw.parse()._request_id == raw.headers["x-request-id"]
    async with gateway.client().chat.completions.with_streaming_response.create(
        model=playing(gateway, "echo"), messages=HI, stream=True
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line async for line in response.iter_lines()]
    assert lines[-2:] == ["data: [DONE]", ""] or lines[-1] == "data: [DONE]"
