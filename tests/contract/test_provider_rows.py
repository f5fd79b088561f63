"""Each provider row is run: its request, captured on a socket, is what the provider's documentation asks for."""

import asyncio
import json

import msgspec
import pytest

from gatewayz.core.conversation import (
    Image,
    Message,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from gatewayz.core.requests import ChatRequest, Effort, Format, Sampling
from gatewayz.dialects.base import Asking
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.asking import ask
from gatewayz.providers.quirks import applied, cannot
from gatewayz.providers.registry import providers_from, rows
from gatewayz.providers.spec import ProviderSettings, Quirks
from gatewayz.routing.rules import Deadlines
from gatewayz.upstream.http1 import HttpTransport

BEARER = ("authorization", "Bearer KEY")
LIMIT = "max_tokens"
COMPLETION = "max_completion_tokens"

# Provider → path after the host, header of the key, name of the limit, how `reasoning_effort: high` is said,
# role of a developer message, whether stream_options is sent, and fields that must not arrive. From facts, by hand.
FACTS = {
    "onerouter": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning_effort": "high"},
        "system",
        True,
        (),
    ),
    "openai": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning_effort": "high"},
        "developer",
        True,
        (),
    ),
    "openrouter": (
        "/api/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning": {"effort": "high"}},
        "developer",
        True,
        (),
    ),
    "cerebras": (
        "/v1/chat/completions",
        BEARER,
        COMPLETION,
        {"reasoning_effort": "high"},
        "system",
        False,
        ("frequency_penalty", "presence_penalty", "logit_bias", "parallel_tool_calls", "metadata"),
    ),
    "groq": (
        "/openai/v1/chat/completions",
        BEARER,
        COMPLETION,
        {"reasoning_effort": "high"},
        "system",
        True,
        ("logit_bias", "metadata"),
    ),
    "huggingface": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {},
        "system",
        True,
        ("reasoning_effort",),
    ),
    "featherless": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {},
        "system",
        True,
        ("logit_bias", "parallel_tool_calls"),
    ),
    "fireworks": (
        "/inference/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning_effort": "high"},
        "system",
        False,
        (),
    ),
    "together": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning": {"enabled": True}, "reasoning_effort": "high"},
        "system",
        False,
        ("parallel_tool_calls", "metadata"),
    ),
    "xai": (
        "/v1/chat/completions",
        BEARER,
        COMPLETION,
        {"reasoning_effort": "high"},
        "system",
        False,
        ("logit_bias",),
    ),
    "helicone": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning_effort": "high"},
        "system",
        True,
        (),
    ),
    "vercel-ai-gateway": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning": {"effort": "high"}},
        "developer",
        True,
        (),
    ),
    "aihubmix": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning_effort": "high"},
        "system",
        True,
        (),
    ),
    "anannas": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning": {"effort": "high"}},
        "system",
        True,
        (),
    ),
    "alibaba-cloud": (
        "/compatible-mode/v1/chat/completions",
        BEARER,
        LIMIT,
        {"enable_thinking": True},
        "system",
        True,
        ("logit_bias", "frequency_penalty", "user", "metadata", "reasoning_effort"),
    ),
    "alpaca-network": ("/chat/completions", BEARER, LIMIT, {}, "system", True, ()),
    "clarifai": ("/v2/ext/openai/v1/chat/completions", BEARER, LIMIT, {}, "system", True, ()),
    "cloudflare-workers-ai": (
        "/client/v4/accounts/acc/ai/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning_effort": "high"},
        "system",
        True,
        ("logit_bias", "parallel_tool_calls", "user"),
    ),
    "morpheus": (
        "/api/v1/chat/completions",
        BEARER,
        LIMIT,
        {},
        "system",
        True,
        ("seed", "user", "metadata", "logit_bias"),
    ),
    "near": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
        "system",
        True,
        ("reasoning_effort",),
    ),
    "simplismart": ("/chat/completions", BEARER, LIMIT, {}, "system", True, ()),
    "sybil": ("/v1/chat/completions", BEARER, LIMIT, {}, "system", True, ()),
    "nosana": ("/api/v1/chat/completions", BEARER, LIMIT, {}, "system", True, ()),
    "zai": (
        "/api/paas/v4/chat/completions",
        BEARER,
        LIMIT,
        {"thinking": {"type": "enabled"}},
        "system",
        False,
        ("seed", "logit_bias", "presence_penalty", "frequency_penalty"),
    ),
    "aimo": ("/api/v1/chat/completions", BEARER, LIMIT, {}, "system", True, ()),
    "chutes": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {
            "chat_template_kwargs": {"enable_thinking": True, "thinking": True},
            "reasoning_effort": "high",
        },
        "system",
        False,
        (),
    ),
    "deepseek": (
        "/chat/completions",
        BEARER,
        LIMIT,
        {"thinking": {"type": "enabled"}},
        "system",
        True,
        ("seed", "logit_bias", "parallel_tool_calls", "metadata", "user"),
    ),
    "mistral": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning_effort": "high"},
        "system",
        False,
        ("seed", "logit_bias", "user", "metadata", "stream_options"),
    ),
    "cohere": (
        "/compatibility/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning_effort": "high"},
        "system",
        True,
        ("logit_bias", "metadata", "parallel_tool_calls", "user"),
    ),
    "deepinfra": (
        "/v1/openai/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning_effort": "high"},
        "system",
        True,
        ("logit_bias", "user"),
    ),
    "moonshot": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {"thinking": {"type": "enabled"}},
        "system",
        True,
        ("seed", "logit_bias"),
    ),
    "minimax": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {},
        "system",
        True,
        ("logit_bias", "presence_penalty", "frequency_penalty"),
    ),
    "novita": (
        "/openai/v1/chat/completions",
        BEARER,
        LIMIT,
        {"enable_thinking": True},
        "system",
        True,
        (),
    ),
    "nebius": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning_effort": "high"},
        "system",
        True,
        (),
    ),
    "perplexity": (
        "/chat/completions",
        BEARER,
        LIMIT,
        {},
        "system",
        False,
        ("tools", "stop", "seed", "logit_bias", "user"),
    ),
    "sambanova": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {
            "chat_template_kwargs": {"enable_thinking": True, "thinking": True},
            "reasoning_effort": "high",
        },
        "system",
        False,
        ("seed", "logit_bias", "presence_penalty", "frequency_penalty"),
    ),
    "azure-openai": (
        "/openai/v1/chat/completions",
        ("api-key", "KEY"),
        LIMIT,
        {"reasoning_effort": "high"},
        "developer",
        True,
        (),
    ),
    "ollama": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {"reasoning_effort": "high"},
        "system",
        True,
        ("logit_bias", "user", "tool_choice"),
    ),
    "vllm": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {
            "chat_template_kwargs": {"enable_thinking": True, "thinking": True},
            "reasoning_effort": "high",
        },
        "system",
        True,
        (),
    ),
    "lm-studio": ("/v1/chat/completions", BEARER, LIMIT, {}, "system", True, ()),
    "llama-cpp": (
        "/v1/chat/completions",
        BEARER,
        LIMIT,
        {
            "chat_template_kwargs": {"enable_thinking": True, "thinking": True},
            "reasoning_effort": "high",
        },
        "system",
        True,
        (),
    ),
    "simulator": (
        "/v1/chat/completions",
        None,
        LIMIT,
        {"reasoning_effort": "high"},
        "developer",
        True,
        (),
    ),
}
NATIVE = {"google-ai-studio", "google-vertex", "anthropic"}
"""Rows of other dialects, with suites of their own."""

IMAGES = {"fal"}
"""Providers that make images and nothing else."""

EVERYTHING = ChatRequest(
    dialect="openai_chat",
    model="m",
    streamed=True,
    max_output=50,
    messages=(Message("developer", (Text("brief"),)), Message("user", (Text("hi"),), "ann")),
    tools=(Tool("weather", "tells", {"type": "object"}),),
    parallel_tools=True,
    sampling=Sampling(
        temperature=0.7,
        top_p=0.9,
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        logit_bias={"1": 2},
        stop=("END",),
    ),
    reasoning=Effort(effort="high"),
    user="u",
    extra={"metadata": {"a": "b"}},
)


class Capture:
    """A server that keeps one request and answers it."""

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def _serve(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *headers = head.strip().split("\r\n")
        self.method, self.path, _ = line.split(" ")
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (header.partition(":") for header in headers)
        }
        self.body = json.loads(await reader.readexactly(int(self.headers["content-length"])))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async def __aexit__(self, *_):
        self.server.close()


def provider_at(name, url):
    """The row with its path kept and its host replaced."""
    row = rows()[name]
    filled = row.base_url.replace("{account_id}", "acc").replace("{resource}", "res")
    path = "/" + filled.partition("://")[2].partition("/")[2]
    given = ProviderSettings(base_url=url + path.rstrip("/"), key="KEY")
    return providers_from(rows(), {}, {name: given})[name]


def first_wire(asked):
    return asked.wire(next(asked.steps).draft)


async def sent(name, request, upstream_id="the-model"):
    async with Capture() as capture:
        provider = provider_at(name, capture.url)
        transport = HttpTransport(Deadlines())
        held = provider.credentials[0] if provider.credentials else None
        asked = ask(request, provider, held, upstream_id)
        async with transport.send(first_wire(asked)) as exchange:
            await exchange.read(100)
        await transport.close()
        return capture, asked


def test_every_row_has_its_facts():
    assert set(rows()) == set(FACTS) | IMAGES | NATIVE
    assert len(rows()) == 46


@pytest.mark.parametrize("name", FACTS)
async def test_a_rows_request_is_what_its_documentation_asks_for(name):
    path, auth, limit, effort, role, options, absent = FACTS[name]
    capture, asked = await sent(name, EVERYTHING)
    assert (capture.method, capture.path) == ("POST", path)
    if auth is not None:
        assert capture.headers[auth[0]] == auth[1]
    else:
        assert not {"authorization", "api-key", "x-api-key"} & capture.headers.keys()
    assert capture.headers["content-type"] == "application/json"
    assert capture.headers["accept"] == "text/event-stream"
    assert capture.headers["accept-encoding"] == "identity"
    assert capture.headers["user-agent"].startswith("gatewayz/")
    assert set(capture.headers) <= {
        "host",
        "content-type",
        "accept",
        "accept-encoding",
        "user-agent",
        "content-length",
        "authorization",
        "api-key",
    }
    body = capture.body
    assert body["model"].endswith("the-model")
    assert body["stream"] is True
    assert body[limit] == 50
    assert {LIMIT, COMPLETION} & body.keys() == {limit}
    for field, value in effort.items():
        assert body[field] == value
    assert {
        "reasoning_effort",
        "reasoning",
        "thinking",
        "enable_thinking",
        "chat_template_kwargs",
    } & body.keys() == effort.keys()
    assert body["messages"][0]["role"] == role
    assert ("stream_options" in body) == options
    assert not set(absent) & body.keys()
    assert None not in body.values()
    told = {
        field
        for field in absent
        if field not in {"stream_options", "reasoning_effort", "tool_choice"}
    }
    assert told - {"seed"} <= set(asked.dropped)


async def test_the_request_to_anthropic_is_what_its_documentation_asks_for():
    capture, asked = await sent("anthropic", EVERYTHING, "claude-opus-4-8")
    assert (capture.method, capture.path) == ("POST", "/v1/messages")
    assert capture.headers["x-api-key"] == "KEY"
    assert capture.headers["anthropic-version"] == "2023-06-01"
    assert capture.headers["accept"] == "text/event-stream"
    assert not {"authorization", "anthropic-beta"} & capture.headers.keys()
    assert capture.body == {
        "model": "claude-opus-4-8",
        "system": "brief",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 50,
        "tools": [{"name": "weather", "description": "tells", "input_schema": {"type": "object"}}],
        "stop_sequences": ["END"],
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": "high"},
        "metadata": {"user_id": "u"},
        "stream": True,
    }
    assert set(asked.dropped) == {
        "metadata",
        "name",
        "temperature",
        "top_p",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
    }


@pytest.mark.parametrize("name", ["sybil", "simplismart", "nosana", "aimo", "alpaca-network"])
def test_rows_of_low_confidence_are_marked(name):
    assert not rows()[name].verified
    assert all(
        row.verified
        for other, row in rows().items()
        if other not in {"sybil", "simplismart", "nosana", "aimo", "alpaca-network"}
    )


@pytest.mark.parametrize(
    "name", [name for name, row in rows().items() if row.key_env and not row.local]
)
def test_a_provider_is_on_with_any_of_its_variables_and_says_which_to_set(name):
    row = rows()[name]
    variables = {names[0]: "v" for names in row.variables.values()}
    for alias in row.key_env:
        assert providers_from(rows(), {alias: "k", **variables}, {})[name].off == ""
    off = providers_from(rows(), {}, {})[name].off
    assert row.key_env[0] in off


@pytest.mark.parametrize("name", ["ollama", "vllm", "lm-studio", "llama-cpp"])
def test_local_servers_are_on_only_when_configured(name):
    assert "local server" in providers_from(rows(), {}, {})[name].off
    assert providers_from(rows(), {}, {name: ProviderSettings()})[name].off == ""
    assert (
        providers_from(rows(), {rows()[name].base_url_env[0]: "http://h/v1"}, {})[name].base_url
        == "http://h/v1"
    )


def test_headers_from_the_environment_are_sent_only_when_set():
    row = providers_from(
        rows(), {"OPENROUTER_API_KEY": "k", "OPENROUTER_SITE_URL": "https://me.example"}, {}
    )["openrouter"]
    assert row.headers == (("HTTP-Referer", "https://me.example"),)
    assert first_wire(ask(EVERYTHING, row, row.credentials[0], "m")).headers[-1] == (
        "HTTP-Referer",
        "https://me.example",
    )


def body_after(quirks, request=EVERYTHING, model="m"):
    draft = UPSTREAMS["openai_chat"].encode(
        request, Asking(provider="p", upstream_id=model, streamed=request.streamed)
    )
    applied(draft.body, Quirks(**quirks), model, "openai_chat")
    return draft.body


THOUGHT = msgspec.structs.replace(
    EVERYTHING,
    messages=(
        Message(
            "assistant",
            (
                Reasoning("hm", ({"type": "reasoning.text", "text": "hm"},)),
                ToolCall("c", "f", "{}"),
            ),
        ),
        Message("tool", (ToolResult("c", (Text("ok"), Text("then"))),)),
    ),
)
SCHEMA = msgspec.structs.replace(
    EVERYTHING, format=Format(kind="json_schema", name="n", schema={"type": "object"})
)
FORCED = msgspec.structs.replace(EVERYTHING, tool_choice=ToolChoice("required"))


@pytest.mark.parametrize(
    ("quirks", "request_", "model", "look", "want"),
    [
        (
            {"max_tokens_field": "by_model"},
            EVERYTHING,
            "o3-mini",
            lambda b: b.get("max_completion_tokens"),
            50,
        ),
        (
            {"max_tokens_field": "by_model"},
            EVERYTHING,
            "gpt-5-chat-latest",
            lambda b: b.get("max_tokens"),
            50,
        ),
        (
            {"always_send_limit": True},
            msgspec.structs.replace(EVERYTHING, max_output=None),
            "m",
            lambda b: b["max_tokens"],
            4096,
        ),
        (
            {"drop_by_model": {"^kimi": ["temperature"]}},
            EVERYTHING,
            "kimi-k3",
            lambda b: "temperature" in b,
            False,
        ),
        (
            {"drop_by_model": {"^kimi": ["temperature"]}},
            EVERYTHING,
            "other",
            lambda b: "temperature" in b,
            True,
        ),
        (
            {"drop_when_reasoning": ["stop"], "reasoning_send": "reasoning_effort"},
            EVERYTHING,
            "m",
            lambda b: "stop" in b,
            False,
        ),
        (
            {"allow_only": ["model", "messages"]},
            EVERYTHING,
            "m",
            lambda b: sorted(b),
            ["messages", "model"],
        ),
        ({"rename": {"seed": "random_seed"}}, EVERYTHING, "m", lambda b: b.get("random_seed"), 7),
        (
            {"extra_body": {"reasoning_split": True}},
            EVERYTHING,
            "m",
            lambda b: b["reasoning_split"],
            True,
        ),
        (
            {"extra_body_by_model": {"^qwen": {"reasoning_format": "parsed"}}},
            EVERYTHING,
            "qwen/qwen3",
            lambda b: b["reasoning_format"],
            "parsed",
        ),
        (
            {"extra_body_with_streamed_tools": {"tool_stream": True}},
            EVERYTHING,
            "m",
            lambda b: b["tool_stream"],
            True,
        ),
        (
            {"drop_message_fields": ["name"]},
            EVERYTHING,
            "m",
            lambda b: "name" in b["messages"][1],
            False,
        ),
        (
            {"flatten_content": True},
            THOUGHT,
            "m",
            lambda b: b["messages"][1]["content"],
            "ok\nthen",
        ),
        ({"tool_choice_required": False}, FORCED, "m", lambda b: b["tool_choice"], "auto"),
        ({"required_word": "any"}, FORCED, "m", lambda b: b["tool_choice"], "any"),
        (
            {"json_mode": "json_object"},
            SCHEMA,
            "m",
            lambda b: (b["response_format"], "JSON Schema" in b["messages"][0]["content"]),
            ({"type": "json_object"}, True),
        ),
        (
            {"json_mode": "json_schema_only"},
            msgspec.structs.replace(EVERYTHING, format=Format(kind="json_object")),
            "m",
            lambda b: b["response_format"]["type"],
            "json_schema",
        ),
        (
            {"reasoning_send": "reasoning_effort_none_high"},
            EVERYTHING,
            "m",
            lambda b: b["reasoning_effort"],
            "high",
        ),
        (
            {"reasoning_send": "reasoning_effort", "effort_by_model": {"^qwen": {"*": "default"}}},
            EVERYTHING,
            "qwen3",
            lambda b: b["reasoning_effort"],
            "default",
        ),
        (
            {"reasoning_history": "reasoning_content"},
            THOUGHT,
            "m",
            lambda b: {"reasoning_content", "reasoning_details"} & b["messages"][0].keys(),
            {"reasoning_content"},
        ),
        (
            {"reasoning_history": "reasoning"},
            THOUGHT,
            "m",
            lambda b: b["messages"][0]["reasoning"],
            "hm",
        ),
        (
            {},
            THOUGHT,
            "m",
            lambda b: (
                {"reasoning_content", "reasoning_details", "reasoning"} & b["messages"][0].keys()
            ),
            set(),
        ),
        ({"stream_usage": "always"}, EVERYTHING, "m", lambda b: "stream_options" in b, False),
        ({"temperature_range": [0.01, 0.5]}, EVERYTHING, "m", lambda b: b["temperature"], 0.5),
        ({"drop": ["seed"]}, EVERYTHING, "m", lambda b: "seed" in b, False),
        (
            {"developer_role": "keep"},
            EVERYTHING,
            "m",
            lambda b: b["messages"][0]["role"],
            "developer",
        ),
    ],
)
def test_a_quirk_does_what_its_name_says(quirks, request_, model, look, want):
    given = msgspec.convert(quirks, Quirks)
    draft = body_after(msgspec.structs.asdict(given), request_, model)
    assert look(draft) == want


def test_inline_images_only_keeps_web_addresses_away():
    request = msgspec.structs.replace(
        EVERYTHING, messages=(Message("user", (Image("https://example.org/a.png"),)),)
    )
    assert cannot(request, Quirks(inline_images_only=True))
    inline = msgspec.structs.replace(
        EVERYTHING, messages=(Message("user", (Image("data:image/png;base64,AA"),)),)
    )
    assert not cannot(inline, Quirks(inline_images_only=True))


def test_model_prefixes_are_added_and_taken_away():
    from gatewayz.providers.asking import native_id

    fireworks, google = (
        providers_from(rows(), {}, {})[name] for name in ("fireworks", "google-ai-studio")
    )
    assert native_id("llama", fireworks) == "accounts/fireworks/models/llama"
    assert native_id("accounts/me/models/x", fireworks) == "accounts/me/models/x"
    assert native_id("models/gemini-3", google) == "gemini-3"


def test_quirks_of_answers_reach_the_reader():
    from gatewayz.providers.asking import native_id, reading_of

    quirks = Quirks(
        think="tags",
        stops={"eos": "stop"},
        reasoning_outside=True,
        error_path=("base_resp", "status_code"),
        model_prefix="p/",
        model_prefix_strip="models/",
    )
    provider = msgspec.structs.replace(providers_from(rows(), {}, {})["openai"], quirks=quirks)
    reading = reading_of(provider, EVERYTHING, "openai_chat")
    assert (reading.think, reading.stops, reading.reasoning_outside, reading.error_path) == (
        "tags",
        {"eos": "stop"},
        True,
        ("base_resp", "status_code"),
    )
    assert native_id("x", provider) == "p/x"
    assert native_id("models/x", provider) == "x"
