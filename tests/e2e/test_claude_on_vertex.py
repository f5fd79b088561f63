"""Claude on Vertex: Anthropic's wire under Google's paths, with Google's tokens.

Models of other publishers speak OpenAI's wire there.
"""

import json
from typing import Any

import openai
import pytest

from gatewayz.core.conversation import Message, Text
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.kit.base import Draft, Send
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.request import RequestTarget, build_request, wire_from_draft
from tests.support.running_gateway import run_gateway

CLAUDE = "claude-sonnet-4-5@20250929"
LLAMA = "meta/llama-3.3-70b-instruct-maas"
HI: Any = [{"role": "user", "content": "Tell me something, please"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
VERTEX = "SIM/{location}/v1/projects/acme/locations/{location}"
PUBLISHER = "/global/v1/projects/acme/locations/global/publishers/anthropic/models"


@pytest.fixture
async def gateway(tmp_path):
    file = tmp_path / "key.json"
    rows = {
        "google-vertex": {
            "base_url": VERTEX,
            "auth": "google",
            "key": str(file),
            "locations": ["global"],
        }
    }
    async with run_gateway(tmp_path, more=rows) as running:
        account = running.upstream.accounts.create_service_account(running.upstream.url)
        file.write_text(json.dumps(account))
        yield running


@pytest.mark.parametrize(("streamed", "verb"), [(False, "rawPredict"), (True, "streamRawPredict")])
async def test_the_model_is_in_the_path_and_the_version_in_the_body(gateway, streamed, verb):
    gateway.upstream.script(CLAUDE, ["echo"])
    asked = {"model": f"google-vertex/{CLAUDE}", "messages": HI, "max_tokens": 100}
    client = gateway.client()
    if streamed:
        chunks = [
            chunk async for chunk in await client.chat.completions.create(**asked, stream=True)
        ]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert chunks[-1].choices[0].finish_reason == "stop"
    else:
        reply = await client.chat.completions.create(**asked)
        text = reply.choices[0].message.content
    assert text == HI[0]["content"]
    assert gateway.upstream.requests[-1].path == f"{PUBLISHER}/{CLAUDE}:{verb}"
    assert gateway.upstream.requests[-1].headers["authorization"].startswith("Bearer ya29.")
    assert "x-api-key" not in gateway.upstream.requests[-1].headers
    said = gateway.sent
    assert said["anthropic_version"] == "vertex-2023-10-16"
    assert "model" not in said
    assert (
        said["messages"] == [{"role": "user", "content": HI[0]["content"]}]
        or said["messages"][0]["content"][0]["text"] == HI[0]["content"]
    )
    assert gateway.last.dropped == ()


async def test_a_tool_loop_with_thinking_comes_back_to_claude_and_not_to_gemini(gateway):
    client = gateway.client()
    gateway.upstream.script(CLAUDE, ["reasoning-tools"])
    asked = {"tools": [TOOL], "max_tokens": 4_000, "reasoning_effort": "low"}
    first = await client.chat.completions.create(
        model=f"google-vertex/{CLAUDE}", messages=HI, **asked
    )
    turn = first.choices[0].message.model_dump(exclude_none=True)
    (call,) = turn["tool_calls"]
    assert "gwz.google-vertex/anthropic_messages." in json.dumps(turn)
    messages = [*HI, turn, {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}]
    second = await client.chat.completions.create(
        model=f"google-vertex/{CLAUDE}", messages=messages, **asked
    )
    assert second.choices[0].message.content == "The tool said: sunny"
    assert gateway.last.dropped == ()
    gateway.upstream.script("gemini-3-pro", ["tools"])
    third = await client.chat.completions.create(
        model="google-vertex/gemini-3-pro", messages=messages, **asked
    )
    assert third.choices[0].message.content == "The tool said: sunny"
    assert "gwz." not in json.dumps(gateway.sent)
    assert {"seal"} & set(gateway.last.dropped)


@pytest.mark.parametrize(
    ("scene", "error", "status"),
    [
        ("fault-400", openai.BadRequestError, 400),
        ("fault-429", openai.RateLimitError, 429),
        ("fault-529", openai.InternalServerError, 503),
        ("fault-404", openai.NotFoundError, 404),
        ("fault-context", openai.BadRequestError, 400),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_refusals_are_understood(gateway, scene, error, status, streamed):
    gateway.upstream.script(CLAUDE, [scene])
    with pytest.raises(error) as caught:
        await gateway.client().chat.completions.create(
            model=f"google-vertex/{CLAUDE}", messages=HI, stream=streamed
        )
    assert caught.value.status_code == status


async def test_tokens_are_counted_where_vertex_counts_them(gateway):
    counted = await gateway.anthropic_client().messages.count_tokens(
        model=f"google-vertex/{CLAUDE}", messages=HI
    )
    asked = gateway.upstream.requests[-1]
    assert asked.path == f"{PUBLISHER}/count-tokens:rawPredict"
    assert (asked.content["model"], asked.content["anthropic_version"]) == (
        CLAUDE,
        "vertex-2023-10-16",
    )
    assert counted.input_tokens > 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_anthropic_sdk_reaches_claude_on_vertex(gateway, streamed):
    gateway.upstream.script(CLAUDE, ["echo"])
    asked = {"model": f"google-vertex/{CLAUDE}", "messages": HI, "max_tokens": 100}
    if streamed:
        async with gateway.anthropic_client().messages.stream(**asked) as stream:
            reply = await stream.get_final_message()
    else:
        reply = await gateway.anthropic_client().messages.create(**asked)
    assert reply.content[0].text == HI[0]["content"]
    assert gateway.sent["anthropic_version"] == "vertex-2023-10-16"


@pytest.mark.parametrize("streamed", [False, True])
async def test_models_of_other_publishers_speak_openais_wire(gateway, streamed):
    gateway.upstream.script(LLAMA.rpartition("/")[2], ["echo"])
    reply = await gateway.client().chat.completions.create(
        model=f"google-vertex/{LLAMA}", messages=HI, stream=streamed
    )
    text = (
        "".join([chunk.choices[0].delta.content or "" async for chunk in reply])
        if streamed
        else reply.choices[0].message.content
    )
    assert text == HI[0]["content"]
    assert (
        gateway.upstream.requests[-1].path
        == "/global/v1/projects/acme/locations/global/endpoints/openapi/chat/completions"
    )
    assert gateway.sent["model"] == LLAMA


ACCOUNT = {
    "GOOGLE_APPLICATION_CREDENTIALS": "/key.json",
    "GOOGLE_CLOUD_PROJECT": "acme",
    "GOOGLE_CLOUD_LOCATION": "us-east5",
}


def test_counting_is_one_path_for_all_claudes_and_its_body_names_the_model():
    provider = providers_from(provider_rows(), ACCOUNT, {})["google-vertex"]
    line = RequestTarget(provider, None, "anthropic_messages", CLAUDE, streamed=False)
    wire, _ = wire_from_draft(
        line, Draft("/v1/messages/count_tokens", {"model": CLAUDE, "messages": []})
    )
    assert wire.url == (
        "https://us-east5-aiplatform.googleapis.com/v1/projects/acme/locations/us-east5"
        "/publishers/anthropic/models/count-tokens:rawPredict"
    )
    assert json.loads(wire.body) == {
        "model": CLAUDE,
        "messages": [],
        "anthropic_version": "vertex-2023-10-16",
    }


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (CLAUDE, f"/publishers/anthropic/models/{CLAUDE}:rawPredict"),
        ("gemini-2.5-flash", "/publishers/google/models/gemini-2.5-flash:generateContent"),
        (LLAMA, "/endpoints/openapi/chat/completions"),
    ],
)
def test_which_wire_a_model_speaks_is_data(model, path):
    provider = providers_from(provider_rows(), ACCOUNT, {})["google-vertex"]
    request = ChatRequest(
        dialect="openai_chat", model="m", messages=(Message("user", (Text("hi"),)),)
    )
    upstream_request = build_request(request, provider, None, model)
    step = next(upstream_request.steps)
    assert isinstance(step, Send)
    url = upstream_request.wire(step.draft).url
    assert url.endswith(f"/locations/us-east5{path}")
