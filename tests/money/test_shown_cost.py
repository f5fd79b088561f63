"""What a call costs is shown beside its usage, wherever usage is shown, as a number written from the integer."""

import json
import re

import aiohttp
import pytest

from gatewayz.core.money import Nanos, usd_text
from tests.support.running_gateway import model_with_offers, run_gateway

HI = [{"role": "user", "content": "Tell me something, please"}]


async def told(here, **asked):
    """Headers and the raw bytes of an answer."""
    body = {"model": "test/model", "messages": HI, **asked}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{here.url}/v1/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {here.key}"},
        ) as response,
    ):
        return response.headers, await response.read()


def cost_in(raw):
    """The digits of the one cost that the answer shows."""
    (shown,) = re.findall(rb'"cost":([0-9.]+)', raw)
    return shown.decode()


@pytest.mark.parametrize(
    "scene",
    [
        "echo",
        "usage-1",
        "usage-3",
        "usage-5",
        "usage-6",
        "usage-twice",
        "usage-cached-over",
        "think-tags",
    ],
)
async def test_the_cost_stands_beside_the_usage_in_the_echo(tmp_path, scene):
    async with run_gateway(tmp_path, models=[model_with_offers(("first", scene))]) as here:
        headers, raw = await told(here)
        assert cost_in(raw) == headers["x-gatewayz-cost"] == usd_text(here.last.cost) != "0"
        _, raw = await told(here, stream=True, stream_options={"include_usage": True})
        assert cost_in(raw) == usd_text(here.last.cost)
        _, quiet = await told(here, stream=True)
        assert b"cost" not in quiet


async def test_a_providers_own_figure_is_not_the_clients(tmp_path):
    async with run_gateway(
        tmp_path, models=[model_with_offers(("first", "usage-their-cost"))]
    ) as here:
        for streamed in (False, True):
            _, raw = await told(
                here,
                stream=streamed,
                **({"stream_options": {"include_usage": True}} if streamed else {}),
            )
            assert cost_in(raw) == usd_text(here.last.cost)
            assert b"upstream_inference_cost" not in raw
            assert here.last.upstream_cost_usd == "0.000123"


async def test_without_a_price_no_cost_is_shown_and_for_free_it_is_nothing(tmp_path):
    async with run_gateway(tmp_path) as here:
        _, raw = await told(here, model="first/echo")
        assert b'"usage"' in raw
        assert b"cost" not in raw
        _, raw = await told(here, model="simulator/echo")
        assert cost_in(raw) == "0"


@pytest.mark.parametrize("nanos", [0, 1, 10, 999_999_999, 1_000_000_000, 123_456_789_012_345_678])
def test_a_cost_is_a_json_number_of_at_most_nine_decimals(nanos):
    text = usd_text(Nanos(nanos))
    assert re.fullmatch(r"[0-9]+(\.[0-9]{1,9})?", text)
    assert (
        int(
            json.loads(
                text,
                parse_float=lambda said: said.ljust(len(said.split(".")[0]) + 10, "0").replace(
                    ".", ""
                ),
                parse_int=lambda said: said + "0" * 9,
            )
        )
        == nanos
    )


async def test_the_usage_leaves_before_the_marker(tmp_path):
    async with run_gateway(tmp_path, models=[model_with_offers(("first", "echo"))]) as here:
        _, raw = await told(here, stream=True, stream_options={"include_usage": True})
        events = [line for line in raw.split(b"\n\n") if line]
        assert events[-1] == b"data: [DONE]"
        assert json.loads(events[-2].removeprefix(b"data: "))["choices"] == []


async def test_a_request_has_a_price_of_its_own(tmp_path):
    model = model_with_offers(("first", "echo"))
    model["offers"][0]["price"] = {"input": "1.00", "output": "2.00", "requests": "0.005"}
    async with run_gateway(tmp_path, models=[model]) as here:
        await told(here)
        invoice = here.upstream.invoices[-1]
        assert (
            here.last.cost
            == 1_000 * invoice.prompt_tokens + 2_000 * invoice.completion_tokens + 5_000_000
        )
        assert here.last.usage.requests == 1
