"""Each provider row is run: a socket receives the request that its documentation asks for."""

import asyncio
import json

import pytest

from gatewayz.core.conversation import (
    Message,
    Text,
    Tool,
)
from gatewayz.core.requests import ChatRequest, Effort, Sampling
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.request import build_request
from gatewayz.providers.spec import ProviderSettings
from gatewayz.upstream.http1 import HttpTransport
from tests.contract.provider_facts import COMPLETION, FACTS, IMAGES, LIMIT, NATIVE
from tests.support.running_gateway import PATIENT

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
    row = provider_rows()[name]
    filled = row.base_url.replace("{account_id}", "acc").replace("{resource}", "res")
    path = "/" + filled.partition("://")[2].partition("/")[2]
    settings = ProviderSettings(base_url=url + path.rstrip("/"), key="KEY")
    return providers_from(provider_rows(), {}, {name: settings})[name]


def first_wire(upstream_request):
    return upstream_request.wire(next(upstream_request.steps).draft)


async def send_request(name, request, upstream_id="the-model"):
    async with Capture() as capture:
        provider = provider_at(name, capture.url)
        transport = HttpTransport(PATIENT)
        credential = provider.credentials[0] if provider.credentials else None
        upstream_request = build_request(request, provider, credential, upstream_id)
        async with transport.send(first_wire(upstream_request)) as exchange:
            await exchange.read(100)
        await transport.close()
        return capture, upstream_request


def test_every_row_has_its_facts():
    assert set(provider_rows()) == set(FACTS) | IMAGES | NATIVE


@pytest.mark.parametrize("name", FACTS)
async def test_a_rows_request_is_what_its_documentation_asks_for(name):
    facts = FACTS[name]
    absent = facts.absent.split()
    capture, upstream_request = await send_request(name, EVERYTHING)
    assert (capture.method, capture.path) == ("POST", facts.path)
    if facts.auth is not None:
        assert capture.headers[facts.auth[0]] == facts.auth[1]
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
    assert body[facts.limit] == 50
    assert {LIMIT, COMPLETION} & body.keys() == {facts.limit}
    for field, value in facts.effort.items():
        assert body[field] == value
    assert {
        "reasoning_effort",
        "reasoning",
        "thinking",
        "enable_thinking",
        "chat_template_kwargs",
    } & body.keys() == facts.effort.keys()
    assert body["messages"][0]["role"] == ("developer" if facts.developer else "system")
    assert ("stream_options" in body) == facts.stream_options
    assert not set(absent) & body.keys()
    assert None not in body.values()
    dropped = {
        field
        for field in absent
        if field not in {"stream_options", "reasoning_effort", "tool_choice"}
    }
    assert dropped - {"seed"} <= set(upstream_request.dropped)


async def test_the_request_to_anthropic_is_what_its_documentation_asks_for():
    capture, upstream_request = await send_request("anthropic", EVERYTHING, "claude-opus-4-8")
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
    assert set(upstream_request.dropped) == {
        "metadata",
        "name",
        "temperature",
        "top_p",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
    }


@pytest.mark.parametrize("name", FACTS)
def test_a_row_whose_facts_could_not_be_confirmed_is_marked(name):
    assert provider_rows()[name].verified == FACTS[name].verified


@pytest.mark.parametrize(
    "name", [name for name, row in provider_rows().items() if row.key_env and not row.local]
)
def test_a_provider_is_on_with_any_of_its_variables_and_says_which_to_set(name):
    row = provider_rows()[name]
    variables = {names[0]: "v" for names in row.variables.values()}
    for alias in row.key_env:
        assert providers_from(provider_rows(), {alias: "k", **variables}, {})[name].off == ""
    off = providers_from(provider_rows(), {}, {})[name].off
    assert row.key_env[0] in off


@pytest.mark.parametrize("name", ["ollama", "vllm", "lm-studio", "llama-cpp"])
def test_local_servers_are_on_only_when_configured(name):
    assert "local server" in providers_from(provider_rows(), {}, {})[name].off
    assert providers_from(provider_rows(), {}, {name: ProviderSettings()})[name].off == ""
    assert (
        providers_from(provider_rows(), {provider_rows()[name].base_url_env[0]: "http://h/v1"}, {})[
            name
        ].base_url
        == "http://h/v1"
    )


def test_headers_from_the_environment_are_sent_only_when_set():
    row = providers_from(
        provider_rows(),
        {"OPENROUTER_API_KEY": "k", "OPENROUTER_SITE_URL": "https://me.example"},
        {},
    )["openrouter"]
    assert row.headers == (("HTTP-Referer", "https://me.example"),)
    assert first_wire(build_request(EVERYTHING, row, row.credentials[0], "m")).headers[-1] == (
        "HTTP-Referer",
        "https://me.example",
    )
