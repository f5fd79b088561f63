"""`count_tokens` by the official SDK: Anthropic's own count, or an estimate; always free."""

import json
from typing import Any

import anthropic
import pytest

from tests.support.running_gateway import model_with_offers, run_gateway

DIALECTS = ["openai_chat", "anthropic_messages", "gemini"]
HI: Any = [
    {
        "role": "user",
        "content": "Tell me in your own words, as you can, how hot it is at 9 and at 12, and why. "
        * 14,
    }
]
"""Four bytes a token, which is the rule of the simulator and that of real tokenizers for this text."""
TOOL = {
    "name": "weather",
    "description": "Tells the weather of a city for some days",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where"},
            "days": {"type": "integer"},
        },
    },
}
IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
}


@pytest.fixture(params=DIALECTS)
async def gateway(request, tmp_path):
    async with run_gateway(tmp_path, dialect=request.param) as running:
        running.dialect = request.param
        yield running


async def count(gateway, **options):
    return (
        await gateway.anthropic_client().messages.count_tokens(
            **{"model": "first/echo", "messages": HI, **options}
        )
    ).input_tokens


async def test_a_count_is_what_anthropic_says_or_an_honest_estimate(gateway):
    counted = await count(gateway)
    reply = await gateway.anthropic_client().messages.create(
        model="first/echo", max_tokens=1_000, messages=HI
    )
    real = reply.usage.input_tokens
    if gateway.dialect == "anthropic_messages":
        assert counted == real
        assert gateway.upstream.requests[0].path.endswith("/v1/messages/count_tokens")
        assert "max_tokens" not in gateway.upstream.requests[0].content
    else:
        assert abs(counted - real) <= 0.15 * real
        assert len(gateway.upstream.requests) == 1


async def test_tools_system_and_images_count(gateway):
    plain = await count(gateway)
    assert await count(gateway, tools=[TOOL]) > plain
    assert await count(gateway, system="You are a helpful assistant. " * 20) > plain
    assert (
        await count(
            gateway,
            messages=[
                {"role": "user", "content": [IMAGE, {"type": "text", "text": HI[0]["content"]}]}
            ],
        )
        > plain + 50
    )


async def test_counting_is_free_and_leaves_a_record(gateway):
    await count(gateway)
    await gateway.wait_until_idle()
    [record] = gateway.built.books.records
    assert (record.endpoint, record.outcome.cost, record.outcome.fault) == (
        "/v1/messages/count_tokens",
        0,
        "",
    )


async def test_what_cannot_be_counted_is_said_in_anthropics_words(gateway):
    client = gateway.anthropic_client()
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await client.messages.count_tokens(model="nobody/has-this", messages=HI)
    assert unknown.value.type == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        await client.messages.count_tokens(model="first/echo", messages="not a list")
    with pytest.raises(anthropic.AuthenticationError):
        await gateway.anthropic_client(api_key="gw_live_wrong").messages.count_tokens(
            model="first/echo", messages=HI
        )


async def test_a_provider_that_cannot_count_is_left_for_one_that_can(tmp_path):
    rows = model_with_offers(("first", "fault-503"), ("second", "echo"))
    async with run_gateway(tmp_path, dialect="anthropic_messages", models=[rows]) as gateway:
        assert await count(gateway, model="test/model") > 0
        assert gateway.last.served == "second"


async def test_an_estimate_says_nothing_of_a_providers_health(tmp_path):
    async with run_gateway(tmp_path, models=[model_with_offers(("first", "fault-500"))]) as gateway:
        client = gateway.anthropic_client(max_retries=0)
        for _ in range(5):
            with pytest.raises(anthropic.InternalServerError):
                await client.messages.create(model="test/model", max_tokens=9, messages=HI)
            states = gateway.built.gateway._health.operator_breaker_states()
            if "open" not in states.get(("first", "fault-500"), ""):
                assert await count(gateway, model="test/model") > 0
        page = json.loads((await _health(gateway)).split(b"\r\n\r\n", 1)[1])
        [row] = [status for status in page["providers"] if status["provider"] == "first"]
        assert row["breakers"] == {"fault-500": "closed, open for 1 account"}


async def _health(gateway):
    from tests.contract.test_guard import answer_to, get

    return await answer_to(gateway, get(b"/health/providers", b"Authorization: Bearer KEY"))


async def test_an_imitator_that_cannot_count_is_spared_and_not_thought_ill_of(tmp_path):
    async with run_gateway(tmp_path, dialect="anthropic_messages") as native:
        for _ in range(3):
            counted = await native.anthropic_client().messages.count_tokens(
                model="first/fault-404", messages=HI
            )
            assert counted.input_tokens > 5
        assert native.built.gateway._health.breaker_states() == {}
        with pytest.raises(anthropic.RateLimitError):
            await native.anthropic_client().messages.count_tokens(
                model="first/fault-429", messages=HI
            )


async def test_images_inside_of_results_count(gateway):
    results = [
        {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [{"type": "text", "text": "a map"}, *images],
        }
        for images in ([], [IMAGE])
    ]
    use = {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "toolu_1", "name": "map", "input": {}}],
    }
    without, with_image = [
        await count(
            gateway, messages=[*HI, use, {"role": "user", "content": [result]}], tools=[TOOL]
        )
        for result in results
    ]
    assert with_image > without + 50
