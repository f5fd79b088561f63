"""`count_tokens` by the official Anthropic SDK: asked where Anthropic serves, an estimate elsewhere, free everywhere."""

import json

import anthropic
import pytest

from tests.support.house import house, offers

DIALECTS = ["openai_chat", "anthropic_messages", "gemini"]
HI = [{"role": "user", "content": "Tell me something about the weather in Paris, please. " * 20}]
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
async def here(request, tmp_path):
    async with house(tmp_path, dialect=request.param) as one:
        one.dialect = request.param
        yield one


async def count(here, **asked):
    return (
        await here.claude().messages.count_tokens(
            **{"model": "first/echo", "messages": HI, **asked}
        )
    ).input_tokens


async def test_a_count_is_what_anthropic_says_or_an_honest_estimate(here):
    counted = await count(here)
    reply = await here.claude().messages.create(model="first/echo", max_tokens=1_000, messages=HI)
    real = reply.usage.input_tokens
    if here.dialect == "anthropic_messages":
        assert counted == real
        assert here.upstream.requests[0].path.endswith("/v1/messages/count_tokens")
        assert "max_tokens" not in here.upstream.requests[0].content
    else:
        assert abs(counted - real) <= 0.15 * real
        assert len(here.upstream.requests) == 1


async def test_tools_system_and_images_count(here):
    plain = await count(here)
    assert await count(here, tools=[TOOL]) > plain
    assert await count(here, system="You are a helpful assistant. " * 20) > plain
    assert (
        await count(
            here,
            messages=[
                {"role": "user", "content": [IMAGE, {"type": "text", "text": HI[0]["content"]}]}
            ],
        )
        > plain + 50
    )


async def test_counting_is_free_and_leaves_a_record(here):
    await count(here)
    await here.settled()
    [record] = here.built.books.records
    assert (record.endpoint, record.outcome.cost, record.outcome.fault) == (
        "/v1/messages/count_tokens",
        0,
        "",
    )


async def test_what_cannot_be_counted_is_said_in_anthropics_words(here):
    client = here.claude()
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await client.messages.count_tokens(model="nobody/has-this", messages=HI)
    assert unknown.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        await client.messages.count_tokens(model="first/echo", messages="not a list")
    with pytest.raises(anthropic.AuthenticationError):
        await here.claude(api_key="gw_live_wrong").messages.count_tokens(
            model="first/echo", messages=HI
        )


async def test_a_provider_that_cannot_count_is_left_for_one_that_can(tmp_path):
    rows = offers(("first", "fault-503"), ("second", "echo"))
    async with house(tmp_path, dialect="anthropic_messages", models=[rows]) as here:
        assert await count(here, model="test/model") > 0
        assert here.last.served == "second"


async def test_an_estimate_says_nothing_of_a_providers_health(tmp_path):
    async with house(tmp_path, models=[offers(("first", "fault-500"))]) as here:
        client = here.claude(max_retries=0)
        for _ in range(5):
            with pytest.raises(anthropic.InternalServerError):
                await client.messages.create(model="test/model", max_tokens=9, messages=HI)
            if here.built.gateway._health.breakers().get(("first", "fault-500")) != "open":
                assert await count(here, model="test/model") > 0
        page = json.loads((await _health(here)).split(b"\r\n\r\n", 1)[1])
        [row] = [one for one in page["providers"] if one["provider"] == "first"]
        assert row["breakers"] == {"fault-500": "open"}


async def _health(here):
    from tests.contract.test_guard import answer_to, get

    return await answer_to(here, get(b"/health/providers", b"Authorization: Bearer KEY"))


async def test_an_imitator_that_cannot_count_is_spared_and_not_thought_ill_of(tmp_path):
    async with house(tmp_path, dialect="anthropic_messages") as native:
        for _ in range(3):
            counted = await native.claude().messages.count_tokens(
                model="first/fault-404", messages=HI
            )
            assert counted.input_tokens > 5
        assert native.built.gateway._health.breakers() == {}
        with pytest.raises(anthropic.RateLimitError):
            await native.claude().messages.count_tokens(model="first/fault-429", messages=HI)


async def test_images_inside_of_results_count(here):
    results = [
        {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [{"type": "text", "text": "a map"}, *given],
        }
        for given in ([], [IMAGE])
    ]
    use = {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "toolu_1", "name": "map", "input": {}}],
    }
    without, seen = [
        await count(here, messages=[*HI, use, {"role": "user", "content": [result]}], tools=[TOOL])
        for result in results
    ]
    assert seen > without + 50
