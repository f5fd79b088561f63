"""Every client surface over every upstream dialect, whole and streamed: what is said arrives.

The run writes `docs/reference/fidelity.md` (`make docs`); a cell is there because its test passed.
"""

import asyncio
import base64
import json
import os
from pathlib import Path

import openai
import pytest

from gatewayz.simulator.recorder import count_tokens
from tests.support.image_gateway import IMAGE_PROVIDER_ROWS
from tests.support.running_gateway import run_gateway
from tests.support.sdk_clients import SDK_CLIENTS, SdkReply

PAGE = Path(__file__).parents[2] / "docs/reference/fidelity.md"
DIALECTS = {
    "openai_chat": "gpt-4o",
    "anthropic_messages": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
}
"""An upstream's dialect, and a model of it whose abilities are known."""
MODES = {"whole": "complete", "streamed": "stream"}
"""How an answer is asked for → the method of a client."""
WEATHER = (
    "weather",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
)
CLOCK = ("clock", {"type": "object", "properties": {}})
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PIXEL = "data:image/png;base64,iVBORw0KGgo="
SAID = "Say this again: ¿qué? 👩‍👩‍👧 \u2028 data: done"
results: dict[tuple[str, str, str, str], str] = {}


class ClientRun:
    """One client at one gateway, asking in one mode."""

    def __init__(self, gateway, surface, dialect, mode):
        self.dialect = dialect
        self.gateway = gateway
        self.sdk = SDK_CLIENTS[surface](gateway)
        self.mode = mode

    def model_playing(self, scene):
        """A model that will play this scene."""
        model = DIALECTS[self.dialect]
        self.gateway.upstream.script(model, [scene])
        return f"first/{model}"

    async def ask(self, scene, text="Hello there", **fields):
        method = getattr(self.sdk, MODES[self.mode])
        return await method(self.model_playing(scene), **self.sdk.request_fields(text, **fields))


async def text(run):
    reply = await run.ask("echo", SAID)
    assert reply.text == SAID
    assert reply.stop == run.sdk.stops["end"]
    assert reply.output_tokens == run.gateway.upstream.invoices[-1].completion_tokens


async def tools(run):
    reply = await run.ask("tools", tools=[WEATHER])
    assert reply.tools == [("weather", {"city": "Paris", "days": 7})]
    assert reply.stop == run.sdk.stops["tool"]
    again = await run.ask(
        "tools", tools=[WEATHER], turns=run.sdk.tool_result_messages(reply, "sunny")
    )
    assert again.text == "The tool said: sunny"


async def parallel_tools(run):
    reply = await run.ask("parallel-tools", tools=[WEATHER, CLOCK])
    assert reply.tools == [("weather", {"city": "Paris", "days": 7}), ("clock", {})]
    assert len(set(reply.call_ids)) == 2


async def reasoning(run):
    reply = await run.ask("reasoning", thinking=True)
    assert reply.text == "Hello there"
    assert reply.reasoning.startswith("The user wants")
    assert (
        reply.output_tokens
        == run.gateway.upstream.invoices[-1].completion_tokens
        > count_tokens(reply.text)
    )


async def image_input(run):
    reply = await run.ask("vision", image=PIXEL)
    assert reply.text.startswith("I see 1 image(s): data:image/png;base64,iVBORw0KGgo=")


async def structured_output(run):
    reply = await run.ask("json", schema=CITY)
    assert json.loads(reply.text) == {"city": "Paris"}
    assert "additionalProperties" not in json.dumps(run.gateway.sent.get("system", ""))


async def content_filter(run):
    assert (await run.ask("filter")).stop == run.sdk.stops["filter"]


async def length(run):
    assert (await run.ask("length")).stop == run.sdk.stops["length"]


async def error_before(run):
    with pytest.raises(run.sdk.errors[0]) as error:
        await run.ask("fault-529")
    assert error.value.status_code in {503, 529}


async def error_after_the_first_block(run):
    seen = SdkReply()
    fields = run.sdk.request_fields("Hello there")
    with pytest.raises(run.sdk.errors[1]):
        if run.mode == "streamed":
            await run.sdk.stream(run.model_playing("fault-cut-3"), seen=seen, **fields)
        else:
            await run.sdk.complete(run.model_playing("fault-cut-3"), **fields)
    assert bool(seen.text) == (run.mode == "streamed")
    await run.gateway.wait_until_idle()
    assert bool(run.gateway.last.usage.completion) == (run.mode == "streamed")


async def client_leaves(run):
    fields = run.sdk.request_fields("Hello there")
    if run.mode == "streamed":
        await run.sdk.stream(run.model_playing("slow"), leave_after=3, **fields)
    else:
        task = asyncio.create_task(run.sdk.complete(run.model_playing("slow"), **fields))
        while not run.gateway.upstream.open_streams:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await run.gateway.wait_until_idle()
    assert run.gateway.last.fault == "client_gone"
    assert run.gateway.upstream.invoices[-1].aborted


async def signature_comes_back(run):
    reply = await run.ask("reasoning-tools", tools=[WEATHER], thinking=True)
    again = await run.ask(
        "reasoning-tools",
        tools=[WEATHER],
        thinking=True,
        turns=run.sdk.tool_result_messages(reply, "sunny"),
    )
    assert again.text == "The tool said: sunny"
    sent = json.dumps(run.gateway.sent)
    assert "ignature" in sent
    assert "gwz." not in sent
    assert "seal" not in run.gateway.last.dropped


FEATURES = {
    "text": text,
    "tools": tools,
    "parallel tools": parallel_tools,
    "reasoning": reasoning,
    "image input": image_input,
    "structured output": structured_output,
    "filter": content_filter,
    "length": length,
    "error before": error_before,
    "error after the first block": error_after_the_first_block,
    "client leaves": client_leaves,
    "signature comes back": signature_comes_back,
}
WORDS_ONLY = {
    "text",
    "filter",
    "length",
    "error before",
    "error after the first block",
    "client leaves",
}
HAS = {"chat": FEATURES.keys(), "messages": FEATURES.keys(), "completions": WORDS_ONLY}
"""What a surface has words for."""
CELLS = [
    (surface, dialect, mode, name)
    for surface in SDK_CLIENTS
    for dialect in DIALECTS
    for mode in MODES
    for name in FEATURES
    if name in HAS[surface]
]


@pytest.mark.parametrize(
    ("surface", "dialect", "mode", "name"), CELLS, ids=lambda name: name.replace(" ", "-")
)
async def test_what_arrives_is_what_was_said(surface, dialect, mode, name, tmp_path):
    quirks = {"reasoning_history": "reasoning_details"} if dialect == "openai_chat" else None
    async with run_gateway(
        tmp_path, providers=("first",), dialect=dialect, quirks=quirks
    ) as gateway:
        await FEATURES[name](ClientRun(gateway, surface, dialect, mode))
        results[surface, dialect, mode, name] = "yes"


MAKERS = {
    "openai_images": "deepinfra/{}",
    "fal_images, queue": "fal/fal-ai/flux/{}",
    "fal_images, direct": "fal/schnell/{}",
    "gemini_images": "google-ai-studio/{}",
    "vertex_predict": "vertex/endpoints/{}",
}
PNG = b"\x89PNG\r\n"


class ImageClientRun:
    """A client of images at one upstream, asking in one mode."""

    def __init__(self, gateway, maker, mode):
        self.gateway, self.maker, self.mode = gateway, maker, mode

    async def ask(self, scene="picture", **fields):
        make = self.gateway.client().images.generate
        fields = {"model": MAKERS[self.maker].format(scene), "prompt": "a cat", **fields}
        if self.mode == "whole":
            return (await make(**fields)).data
        return [
            event
            async for event in await make(stream=True, **fields)
            if event.type == "image_generation.completed"
        ]


async def as_url(run):
    [image] = await run.ask(response_format="url")
    item = image.model_dump()
    assert item.get("url", "").startswith(("http://", "data:image/png;base64,")) or (
        run.mode == "streamed" and item["b64_json"]
    )


async def as_bytes(run):
    [image] = await run.ask(response_format="b64_json")
    assert base64.b64decode(image.b64_json).startswith(PNG)


async def several(run):
    assert len(await run.ask(n=2)) == 2
    assert run.gateway.last.usage.images == 2


async def image_filtered(run):
    with pytest.raises(openai.BadRequestError) as error:
        await run.ask(
            "exchange-finish_image_safety" if run.maker == "gemini_images" else "fault-filter"
        )
    assert error.value.code == "content_filter"


async def image_error(run):
    with pytest.raises(openai.InternalServerError) as error:
        await run.ask("fault-503")
    assert error.value.status_code == 503


async def image_client_leaves(run):
    task = asyncio.create_task(
        run.ask("picture-forever" if run.maker == "fal_images, queue" else "fault-hang-before")
    )
    while not run.gateway.upstream.requests:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await run.gateway.wait_until_idle()
    assert (run.gateway.last.fault, run.gateway.last.cost) == ("client_gone", 0)


IMAGES = {
    "an address": as_url,
    "bytes": as_bytes,
    "several": several,
    "filter": image_filtered,
    "error before": image_error,
    "client leaves": image_client_leaves,
}
IMAGE_CELLS = [
    ("images", maker, mode, name) for maker in MAKERS for mode in MODES for name in IMAGES
]


@pytest.mark.parametrize(
    ("surface", "maker", "mode", "name"), IMAGE_CELLS, ids=lambda name: name.replace(" ", "-")
)
async def test_the_image_that_arrives_is_the_one_that_was_made(
    surface, maker, mode, name, tmp_path
):
    rows = {
        provider: {**row, "quirks": {**row.get("quirks", {}), "cancel_stops_billing": True}}
        for provider, row in IMAGE_PROVIDER_ROWS.items()
    }
    async with run_gateway(tmp_path, providers=(), more=rows) as gateway:
        await IMAGES[name](ImageClientRun(gateway, maker, mode))
        results[surface, maker, mode, name] = "yes"


def table(surfaces, dialects, features, missing):
    head = (
        "| client | upstream | mode | "
        + " | ".join(features)
        + " |\n|"
        + "---|" * (len(features) + 3)
        + "\n"
    )
    rows = [
        f"| {surface} | {dialect} | {mode} | "
        + " | ".join(
            results.get((surface, dialect, mode, name), missing(surface, name)) for name in features
        )
        + " |\n"
        for surface in surfaces
        for dialect in dialects
        for mode in MODES
    ]
    return head + "".join(rows)


INTRODUCTION = """# Fidelity

What a client of each surface gets from an upstream of each dialect. Written by `make docs` from a
run of `tests/e2e/test_fidelity.py`, in which the official SDKs ask a real gateway; a cell says yes
because its test passed in that run. – is what the surface has no words for.

The models are ones whose abilities are known. Where nothing is known of a model, Anthropic is given
a schema in words (in the prompt), and Gemini is not asked for its thoughts: they are billed and not
shown. What cannot be said is named in `X-Gatewayz-Dropped`.

"""
IMAGES_INTRODUCTION = """
## Images

A provider that does not stream serves a client that does: its images come as they are done.

"""


def test_the_page_says_what_this_run_found():
    if len(results) < len(CELLS) + len(IMAGE_CELLS) and os.environ.get("FIDELITY") != "write":
        assert results.keys() <= {*CELLS, *IMAGE_CELLS}
        return
    page = INTRODUCTION + table(
        SDK_CLIENTS, DIALECTS, FEATURES, lambda surface, name: "no" if name in HAS[surface] else "–"
    )
    page += IMAGES_INTRODUCTION
    page += table(["images"], MAKERS, IMAGES, lambda surface, name: "no")
    if os.environ.get("FIDELITY") == "write":
        PAGE.write_text(page)
    assert PAGE.read_text() == page
