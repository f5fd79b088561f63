"""Every client surface over every upstream dialect, whole and streamed: what arrives is what was said.

The run writes `docs/reference/fidelity.md` (`make docs`); a cell is there because its test passed.
"""

import asyncio
import base64
import json
import os
from pathlib import Path

import openai
import pytest

from gatewayz.simulator.oracle import tokens_of
from tests.support.askers import SPEAKERS, Understood
from tests.support.gallery import ROWS
from tests.support.house import house

PAGE = Path(__file__).parents[2] / "docs/reference/fidelity.md"
DIALECTS = {
    "openai_chat": "gpt-4o",
    "anthropic_messages": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
}
"""An upstream's dialect, and a model of it whose abilities are known."""
MODES = ("whole", "streamed")
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
found: dict[tuple[str, str, str, str], str] = {}


class Seat:
    """One client at one gateway, asking in one mode."""

    def __init__(self, here, surface, dialect, mode):
        self.dialect = dialect
        self.here = here
        self.speaker = SPEAKERS[surface](here)
        self.mode = mode

    def playing(self, scene):
        """The model, which will play this scene."""
        model = DIALECTS[self.dialect]
        self.here.upstream.script(model, [scene])
        return f"first/{model}"

    async def ask(self, scene, text="Hello there", **asked):
        return await getattr(self.speaker, self.mode)(
            self.playing(scene), **self.speaker.asked(text, **asked)
        )


async def text(seat):
    reply = await seat.ask("echo", SAID)
    assert reply.text == SAID
    assert reply.stop == seat.speaker.stops["end"]
    assert reply.used == seat.here.upstream.invoices[-1].completion_tokens


async def tools(seat):
    reply = await seat.ask("tools", tools=[WEATHER])
    assert reply.tools == [("weather", {"city": "Paris", "days": 7})]
    assert reply.stop == seat.speaker.stops["tool"]
    again = await seat.ask("tools", tools=[WEATHER], turns=seat.speaker.turns(reply, "sunny"))
    assert again.text == "The tool said: sunny"


async def parallel_tools(seat):
    reply = await seat.ask("parallel-tools", tools=[WEATHER, CLOCK])
    assert reply.tools == [("weather", {"city": "Paris", "days": 7}), ("clock", {})]
    assert len(set(reply.call_ids)) == 2


async def reasoning(seat):
    reply = await seat.ask("reasoning", thinking=True)
    assert reply.text == "Hello there"
    assert reply.reasoning.startswith("The user wants")
    assert reply.used == seat.here.upstream.invoices[-1].completion_tokens > tokens_of(reply.text)


async def image_input(seat):
    reply = await seat.ask("vision", image=PIXEL)
    assert reply.text.startswith("I see 1 image(s): data:image/png;base64,iVBORw0KGgo=")


async def structured_output(seat):
    reply = await seat.ask("json", schema=CITY)
    assert json.loads(reply.text) == {"city": "Paris"}
    assert "additionalProperties" not in json.dumps(seat.here.sent.get("system", ""))


async def filtered(seat):
    assert (await seat.ask("filter")).stop == seat.speaker.stops["filter"]


async def length(seat):
    assert (await seat.ask("length")).stop == seat.speaker.stops["length"]


async def error_before(seat):
    with pytest.raises(seat.speaker.errors[0]) as refused:
        await seat.ask("fault-529")
    assert refused.value.status_code in {503, 529}


async def error_after_the_first_block(seat):
    seen = Understood()
    asked = seat.speaker.asked("Hello there")
    with pytest.raises(seat.speaker.errors[1]):
        if seat.mode == "streamed":
            await seat.speaker.streamed(seat.playing("fault-cut-3"), seen=seen, **asked)
        else:
            await seat.speaker.whole(seat.playing("fault-cut-3"), **asked)
    assert bool(seen.text) == (seat.mode == "streamed")
    await seat.here.settled()
    assert bool(seat.here.last.usage.completion) == (seat.mode == "streamed")


async def client_leaves(seat):
    asked = seat.speaker.asked("Hello there")
    if seat.mode == "streamed":
        await seat.speaker.streamed(seat.playing("slow"), leave_after=3, **asked)
    else:
        task = asyncio.create_task(seat.speaker.whole(seat.playing("slow"), **asked))
        while not seat.here.upstream.open_streams:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await seat.here.settled()
    assert seat.here.last.fault == "client_gone"
    assert seat.here.upstream.invoices[-1].aborted


async def signature_comes_back(seat):
    reply = await seat.ask("reasoning-tools", tools=[WEATHER], thinking=True)
    again = await seat.ask(
        "reasoning-tools", tools=[WEATHER], thinking=True, turns=seat.speaker.turns(reply, "sunny")
    )
    assert again.text == "The tool said: sunny"
    sent = json.dumps(seat.here.sent)
    assert "ignature" in sent
    assert "gwz." not in sent
    assert "seal" not in seat.here.last.dropped


FEATURES = {
    "text": text, "tools": tools, "parallel tools": parallel_tools, "reasoning": reasoning, "image input": image_input,
    "structured output": structured_output, "filter": filtered, "length": length, "error before": error_before,
    "error after the first block": error_after_the_first_block, "client leaves": client_leaves, "signature comes back": signature_comes_back,
}  # fmt: skip
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
    for surface in SPEAKERS
    for dialect in DIALECTS
    for mode in MODES
    for name in FEATURES
    if name in HAS[surface]
]


@pytest.mark.parametrize(
    ("surface", "dialect", "mode", "name"), CELLS, ids=lambda one: one.replace(" ", "-")
)
async def test_what_arrives_is_what_was_said(surface, dialect, mode, name, tmp_path):
    quirks = {"reasoning_history": "reasoning_details"} if dialect == "openai_chat" else None
    async with house(tmp_path, providers=("first",), dialect=dialect, quirks=quirks) as here:
        await FEATURES[name](Seat(here, surface, dialect, mode))
        found[surface, dialect, mode, name] = "yes"


MAKERS = {
    "openai_images": "deepinfra/{}",
    "fal_images, queue": "fal/fal-ai/flux/{}",
    "fal_images, direct": "fal/schnell/{}",
    "gemini_images": "google-ai-studio/{}",
    "vertex_predict": "vertex/endpoints/{}",
}
PNG = b"\x89PNG\r\n"


class Easel:
    """A client of images at one upstream, asking in one mode."""

    def __init__(self, here, maker, mode):
        self.here, self.maker, self.mode = here, maker, mode

    async def ask(self, scene="picture", **asked):
        make = self.here.client().images.generate
        given = {"model": MAKERS[self.maker].format(scene), "prompt": "a cat", **asked}
        if self.mode == "whole":
            return (await make(**given)).data
        return [
            event
            async for event in await make(stream=True, **given)
            if event.type == "image_generation.completed"
        ]


async def as_address(easel):
    [made] = await easel.ask(response_format="url")
    shown = made.model_dump()
    assert shown.get("url", "").startswith(("http://", "data:image/png;base64,")) or (
        easel.mode == "streamed" and shown["b64_json"]
    )


async def as_bytes(easel):
    [made] = await easel.ask(response_format="b64_json")
    assert base64.b64decode(made.b64_json).startswith(PNG)


async def several(easel):
    assert len(await easel.ask(n=2)) == 2
    assert easel.here.last.usage.images == 2


async def image_filtered(easel):
    with pytest.raises(openai.BadRequestError) as refused:
        await easel.ask(
            "exchange-finish_image_safety" if easel.maker == "gemini_images" else "fault-filter"
        )
    assert refused.value.code == "content_filter"


async def image_error(easel):
    with pytest.raises(openai.InternalServerError) as refused:
        await easel.ask("fault-503")
    assert refused.value.status_code == 503


async def image_client_leaves(easel):
    task = asyncio.create_task(
        easel.ask("picture-forever" if easel.maker == "fal_images, queue" else "fault-hang-before")
    )
    while not easel.here.upstream.requests:
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await easel.here.settled()
    assert (easel.here.last.fault, easel.here.last.cost) == ("client_gone", 0)


IMAGES = {
    "an address": as_address,
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
    ("surface", "maker", "mode", "name"), IMAGE_CELLS, ids=lambda one: one.replace(" ", "-")
)
async def test_the_image_that_arrives_is_the_one_that_was_made(
    surface, maker, mode, name, tmp_path
):
    rows = {
        provider: {**row, "quirks": {**row.get("quirks", {}), "cancel_stops_billing": True}}
        for provider, row in ROWS.items()
    }
    async with house(tmp_path, providers=(), more=rows) as here:
        await IMAGES[name](Easel(here, maker, mode))
        found[surface, maker, mode, name] = "yes"


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
            found.get((surface, dialect, mode, name), missing(surface, name)) for name in features
        )
        + " |\n"
        for surface in surfaces
        for dialect in dialects
        for mode in MODES
    ]
    return head + "".join(rows)


def test_the_page_says_what_this_run_found():
    if len(found) < len(CELLS) + len(IMAGE_CELLS) and os.environ.get("FIDELITY") != "write":
        assert found.keys() <= {*CELLS, *IMAGE_CELLS}
        return
    page = (
        "# Fidelity\n\nWhat a client of each surface gets from an upstream of each dialect. Written by `make docs` from a run of "
        "`tests/e2e/test_fidelity.py`,\nin which the official SDKs ask a real gateway; a cell says yes because its test passed in that run.\n"
        "– is what the surface has no words for.\n\nThe models are ones whose abilities are known. Of a model that nothing is known of, Anthropic is told a schema in words (in the prompt),\n"
        "and Gemini is not asked for its thoughts: they are billed and not shown. What cannot be said is named in `X-Gatewayz-Dropped`.\n\n"
    ) + table(
        SPEAKERS, DIALECTS, FEATURES, lambda surface, name: "no" if name in HAS[surface] else "–"
    )
    page += "\n## Images\n\nA provider that does not stream serves a client that does: its images come as they are done.\n\n"
    page += table(["images"], MAKERS, IMAGES, lambda surface, name: "no")
    if os.environ.get("FIDELITY") == "write":
        PAGE.write_text(page)
    assert PAGE.read_text() == page
