"""The official Anthropic SDK on answers that fail: its own error classes, limits, and retries."""

from typing import Any

import anthropic
import pytest

from tests.support.running_gateway import model_with_offers, run_gateway

HI: Any = [{"role": "user", "content": "Tell me something, please"}]
MAX: dict[str, Any] = {"max_tokens": 4_000}
DIALECTS = ["openai_chat", "anthropic_messages", "gemini"]
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


@pytest.fixture(params=DIALECTS)
async def gateway(request, tmp_path):
    async with run_gateway(tmp_path, dialect=request.param) as running:
        running.dialect = request.param
        yield running


@pytest.fixture
async def native(tmp_path):
    async with run_gateway(tmp_path, dialect="anthropic_messages") as running:
        yield running


def error_of(caught):
    """The `error` object that came with a refusal."""
    return caught.value.body["error"]


@pytest.mark.parametrize(("model", "error", "status", "kind"), ERRORS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_each_error_is_the_sdks_class(gateway, model, error, status, kind, streamed):
    with pytest.raises(error) as caught:
        await gateway.anthropic_client().messages.create(
            model=model, messages=HI, stream=streamed, **MAX
        )
    assert caught.value.status_code == (
        status or (500 if gateway.dialect == "anthropic_messages" else 502)
    )
    body = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["error"]["message"]
    assert body["request_id"] == caught.value.request_id
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("scene", ["fault-cut-2", "fault-sse-error-2", "fault-rst-3"])
async def test_an_error_after_the_first_block_ends_the_stream_typed(gateway, scene):
    text = ""
    with pytest.raises(anthropic.APIStatusError) as caught:
        async for event in await gateway.anthropic_client().messages.create(
            model=f"first/{scene}", messages=HI, stream=True, **MAX
        ):
            text += event.delta.text if event.type == "content_block_delta" else ""
    assert text.startswith(" word0")
    assert error_of(caught)["type"] in {"api_error", "overloaded_error"}
    await gateway.wait_until_idle()
    assert gateway.last.usage.output > 0


async def test_a_client_that_leaves_cancels_upstream(gateway):
    stream = await gateway.anthropic_client().messages.create(
        model="first/slow", messages=HI, stream=True, **MAX
    )
    async for event in stream:
        if event.type == "content_block_delta":
            break
    await stream.close()
    await gateway.wait_until_idle()
    assert gateway.upstream.invoices[-1].aborted
    assert gateway.last.fault == "client_gone"
    assert gateway.last.usage.output > 0


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("sk-ant-wrong", anthropic.AuthenticationError),
        ("gw_live_" + "a" * 49, anthropic.AuthenticationError),
    ],
)
async def test_a_bad_key_is_an_authentication_error(native, key, error):
    with pytest.raises(error) as caught:
        await native.anthropic_client(api_key=key).messages.create(
            model="first/echo", messages=HI, **MAX
        )
    assert error_of(caught)["type"] == "authentication_error"
    assert (
        await native.anthropic_client(api_key=None, auth_token=native.key).messages.create(
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
    content = {"model": "first/echo", "messages": HI, **MAX, **body}
    answered = await native.anthropic_client()._client.post(
        f"{native.url}/v1/messages", json=content, headers={"x-api-key": native.key}
    )
    assert answered.status_code == 400
    error = answered.json()
    assert error["error"]["type"] == "invalid_request_error"
    assert next(iter(body)) in error["error"]["message"]
    assert not native.upstream.requests


async def test_affinity_follows_claude_codes_session(tmp_path):
    async with run_gateway(
        tmp_path, models=[model_with_offers(("first", "echo"), ("second", "echo"))]
    ) as gateway:
        gateway.upstream.script("echo", ["fault-503", "echo"])
        session: dict[str, Any] = {"extra_headers": {"X-Claude-Code-Session-Id": "s-1"}}
        await gateway.anthropic_client().messages.create(
            model="test/model", messages=HI, **MAX, **session
        )
        assert gateway.last.served == "second"
        for text in ("something else", "again"):
            await gateway.anthropic_client().messages.create(
                model="test/model", messages=[{"role": "user", "content": text}], **MAX, **session
            )
            assert gateway.last.served == "second"
        await gateway.anthropic_client().messages.create(
            model="test/model", messages=[{"role": "user", "content": "another"}], **MAX
        )
        assert gateway.last.served == "first"


async def test_the_sdk_retries_what_is_overloaded(gateway):
    gateway.upstream.script("echo", ["fault-529", "echo"])
    reply = await gateway.anthropic_client(max_retries=2).messages.create(
        model="first/echo", messages=HI, **MAX
    )
    assert reply.content[0].text
