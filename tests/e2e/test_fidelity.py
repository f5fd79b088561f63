"""Every client surface over every upstream dialect, whole and streamed: what arrives is what was said.

The run writes `docs/reference/fidelity.md` (`make docs`); a cell is there because its test passed.
"""

import asyncio
import json
import os
from pathlib import Path

import pytest

from gatewayz.simulator.oracle import tokens_of
from tests.support.askers import SPEAKERS, Understood
from tests.support.house import house

PAGE = Path(__file__).parents[2] / "docs/reference/fidelity.md"
DIALECTS = ("openai_chat", "anthropic_messages", "gemini")
MODES = ("whole", "streamed")
WEATHER = ("weather", {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city", "days"]})
CLOCK = ("clock", {"type": "object", "properties": {}})
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
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

    async def ask(self, scene, text="Hello there", **asked):
        return await getattr(self.speaker, self.mode)(f"first/{scene}", **self.speaker.asked(text, **asked))


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
    if seat.dialect == "gemini":
        # A model of which it is not known whether it can be asked for its thoughts is not asked; they are counted.
        assert reply.used == seat.here.upstream.invoices[-1].completion_tokens > tokens_of(reply.text)
        return "counted"
    assert reply.reasoning.startswith("The user wants")
    return "yes"


async def image_input(seat):
    reply = await seat.ask("vision", image=PIXEL)
    assert reply.text.startswith("I see 1 image(s): data:image/png;base64,iVBORw0KGgo=")


async def structured_output(seat):
    reply = await seat.ask("json", schema=CITY)
    if seat.dialect == "anthropic_messages" and seat.speaker.surface == "chat":
        # A model of which it is not known whether it takes a schema is told in words.
        assert "additionalProperties" in json.dumps(seat.here.sent["system"])
        return "in words"
    assert json.loads(reply.text) == {"city": "Paris"}
    return "yes"


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
            await seat.speaker.streamed("first/fault-cut-3", seen=seen, **asked)
        else:
            await seat.speaker.whole("first/fault-cut-3", **asked)
    assert bool(seen.text) == (seat.mode == "streamed")
    await seat.here.settled()
    assert bool(seat.here.last.usage.completion) == (seat.mode == "streamed")


async def client_leaves(seat):
    asked = seat.speaker.asked("Hello there")
    if seat.mode == "streamed":
        await seat.speaker.streamed("first/slow", leave_after=3, **asked)
    else:
        task = asyncio.create_task(seat.speaker.whole("first/slow", **asked))
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
    again = await seat.ask("reasoning-tools", tools=[WEATHER], thinking=True, turns=seat.speaker.turns(reply, "sunny"))
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
CELLS = [(surface, dialect, mode, name) for surface in SPEAKERS for dialect in DIALECTS for mode in MODES for name in FEATURES]


@pytest.mark.parametrize(("surface", "dialect", "mode", "name"), CELLS, ids=lambda one: one.replace(" ", "-"))
async def test_what_arrives_is_what_was_said(surface, dialect, mode, name, tmp_path):
    quirks = {"reasoning_history": "reasoning_details"} if dialect == "openai_chat" else None
    async with house(tmp_path, providers=("first",), dialect=dialect, quirks=quirks) as here:
        found[surface, dialect, mode, name] = await FEATURES[name](Seat(here, surface, dialect, mode)) or "yes"


def test_the_page_says_what_this_run_found():
    if len(found) < len(CELLS) and os.environ.get("FIDELITY") != "write":
        assert found.keys() <= set(CELLS)
        return
    head = "| client | upstream | mode | " + " | ".join(FEATURES) + " |\n|" + "---|" * (len(FEATURES) + 3) + "\n"
    rows = [
        f"| {surface} | {dialect} | {mode} | " + " | ".join(found.get((surface, dialect, mode, name), "no") for name in FEATURES) + " |\n"
        for surface in SPEAKERS for dialect in DIALECTS for mode in MODES
    ]  # fmt: skip
    page = (
        "# Fidelity\n\nWhat a client of each surface gets from an upstream of each dialect. Written by `make docs` from a run of "
        "`tests/e2e/test_fidelity.py`,\nin which the official SDKs ask a real gateway; a cell says yes because its test passed in that run.\n"
        "*In words*: the schema goes into the prompt; *counted*: thoughts are billed and not shown; both for models that nothing is known of.\n\n"
    ) + head + "".join(rows)
    if os.environ.get("FIDELITY") == "write":
        PAGE.write_text(page)
    assert PAGE.read_text() == page
