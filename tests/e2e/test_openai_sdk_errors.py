"""Errors as the official OpenAI SDK sees them, and where they are the provider's own words."""

from typing import Any

import openai
import pytest

from tests.support.running_gateway import run_gateway

HI: Any = [{"role": "user", "content": "Tell me something, please"}]


@pytest.fixture
async def gateway(tmp_path):
    async with run_gateway(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("nobody/knows", openai.NotFoundError, 404),
        ("first/unknown-scene", openai.NotFoundError, 404),
        ("first/fault-400", openai.BadRequestError, 400),
        ("first/fault-422", openai.UnprocessableEntityError, 422),
        ("first/fault-context", openai.BadRequestError, 400),
        ("first/fault-429", openai.RateLimitError, 429),
        ("first/fault-401", openai.InternalServerError, 503),
        ("first/fault-402", openai.InternalServerError, 503),
        ("first/fault-500", openai.InternalServerError, 502),
        ("first/fault-503", openai.InternalServerError, 503),
        ("first/fault-504", openai.InternalServerError, 504),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_each_error_is_the_sdks_class(gateway, model, error, status, streamed):
    with pytest.raises(error) as caught:
        await gateway.client().chat.completions.create(model=model, messages=HI, stream=streamed)
    assert caught.value.status_code == status
    assert caught.value.body["message"]
    assert caught.value.request_id
    assert "canary" not in str(caught.value)


async def test_a_rejection_keeps_the_providers_words(gateway):
    with pytest.raises(openai.BadRequestError) as caught:
        await gateway.client().chat.completions.create(model="first/fault-400", messages=HI)
    assert caught.value.body == {
        "message": "Invalid 'messages[0].content': string too weird.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "invalid_value",
    }


@pytest.mark.parametrize("key", ["", "sk-wrong", "gw_live_" + "a" * 49])
async def test_a_bad_key_is_an_authentication_error(gateway, key):
    with pytest.raises((openai.AuthenticationError, openai.OpenAIError)) as caught:
        await gateway.client(api_key=key or " ").chat.completions.create(
            model="first/echo", messages=HI
        )
    assert isinstance(caught.value, openai.AuthenticationError | openai.APIConnectionError)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": "hi"},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "nobody", "content": "x"}]},
        {"temperature": "hot"},
        {"n": 129},
        {"max_tokens": 0},
        {"tools": {}},
        {"stop": 5},
        {"tool_choice": 7},
        {"stream": "yes"},
        {"response_format": {"type": "json_schema"}},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"model": 5},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": 5}]}]},
        {"provider": []},
        {"top_logprobs": 99},
    ],
)
async def test_bad_input_is_a_bad_request_that_names_the_field(gateway, body):
    with pytest.raises(openai.BadRequestError) as caught:
        await gateway.client().chat.completions.create(
            model="first/echo", messages=HI, extra_body=body
        )
    error: Any = caught.value
    assert error.param or error.body["param"]
    assert not gateway.upstream.requests


async def test_the_sdk_retries_a_limit_and_succeeds(gateway):
    gateway.upstream.script("echo", ["fault-429-retry-0", "echo"])
    reply = await gateway.client(max_retries=2).chat.completions.create(
        model="first/echo", messages=HI
    )
    assert reply.choices[0].message.content
