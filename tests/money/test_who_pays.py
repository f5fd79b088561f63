"""Who pays, row by row: nobody for errors, the served price after a failover, the delivered for a client that left."""

import asyncio
from typing import Any

import openai
import pytest

from gatewayz.engine.usage_drains import UsageDrains
from tests.support.billing_gateway import (
    INPUT,
    OUTPUT,
    abort_call,
    complete_chat,
    run_billing_gateway,
)
from tests.support.running_gateway import model_with_offers, wait_until

LONG = "Tell me in your own words, as you can, how hot it is at 9 and at 12, and why. " * 6
"""Four bytes a token, which is the rule of the simulator and that of real tokenizers for this text."""
FEW = 4
"""Tokens by which the two rules may differ where a text is short, or hardly of words."""
BILLS_ON = {"cancel_stops_billing": False}


@pytest.fixture
def kind():
    """One database is enough: who pays is decided above the store."""
    return "sqlite"


def bill(invoice, *, sent=None):
    """What the simulator's invoice comes to, whole or for what was sent, in nano-dollars."""
    return (
        invoice.prompt_tokens * INPUT
        + (invoice.completion_tokens if sent is None else sent) * OUTPUT
    )


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "scene",
    [
        "fault-401",
        "fault-500",
        "fault-rst-before",
        "fault-empty-200",
        "fault-error-200",
        "fault-400",
        "fault-usage-8",
    ],
)
async def test_what_nobody_accepted_costs_nothing(tmp_path, location, scene, streamed):
    async with run_billing_gateway(tmp_path, location, model=scene) as here:
        with pytest.raises(openai.APIStatusError):
            await complete_chat(here.client(), stream=streamed)
        record = await here.call()
        assert (record["cost"], record["provider"]) == (0, "")
        assert record["held"] > 0
        assert record["fault"]
        assert len(await here.attempts(record["id"])) == 1
        await here.assert_balanced()
        assert (await here.wallet()).paid == 1_000_000_000


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_empty_answer_costs_nothing_but_hidden_reasoning_does(
    tmp_path, location, streamed
):
    models = [
        model_with_offers(("first", "nothing"), model="m/empty"),
        model_with_offers(("first", "reasoning-hidden"), model="m/hidden"),
    ]
    async with run_billing_gateway(tmp_path, location, models=models) as here:
        assert not await complete_chat(here.client(), "m/empty", stream=streamed)
        assert (await here.call())["cost"] == 0
        assert await complete_chat(here.client(), "m/hidden", stream=streamed) == "Hello there"
        record = await here.call()
        assert record["usage"]["reasoning"] > 10
        assert record["cost"] == bill(here.upstream.invoices[-1])
        assert await here.usage_total() == record["cost"]
        await here.assert_balanced()


@pytest.mark.parametrize("scene", ["fault-cut-5", "fault-sse-error-5", "fault-end-5"])
async def test_an_answer_that_its_provider_broke_off_is_paid_by_nobody(tmp_path, location, scene):
    async with run_billing_gateway(tmp_path, location, model=scene) as here:
        with pytest.raises(openai.APIError):
            await complete_chat(here.client(), stream=True)
        record = await here.call()
        assert (record["cost"], record["provider"]) == (0, "first")
        assert record["usage"]["output"] > 0
        assert await here.usage_total() == 0
        await here.assert_balanced()


async def test_a_client_that_leaves_before_the_first_block_pays_nothing_where_cancelling_ends_the_bill(
    tmp_path, location
):
    models = [
        model_with_offers(("first", f"fault-{name}"), model=f"m/{name}")
        for name in ("hang-before", "hang-headers", "hang-0")
    ]
    async with run_billing_gateway(tmp_path, location, models=models) as here:
        for name in ("hang-before", "hang-headers", "hang-0"):
            for streamed in (True, False):
                await abort_call(here, f"m/{name}", streamed=streamed, after=None)
                record = await here.call()
                assert (record["cost"], record["fault"], record["status"]) == (
                    0,
                    "client_gone",
                    499,
                )
                assert here.upstream.invoices[-1].aborted
        await here.assert_balanced()
        assert await here.usage_total() == 0


async def test_a_client_that_leaves_at_any_block_pays_what_was_delivered(tmp_path, location):
    async with run_billing_gateway(tmp_path, location) as here:
        for count in range(1, 31):
            here.upstream.script("model", [f"fault-hang-{count}"])
            await abort_call(here, streamed=True, after=count + 1, text=LONG)
            record, invoice = await here.call(), here.upstream.invoices[-1]
            assert invoice.aborted
            assert record["fault"] == "client_gone"
            assert record["estimated"]
            # A word with a number is two tokens of real tokenizers, and six bytes.
            sent = invoice.sent_tokens
            assert record["usage"]["output"] == pytest.approx(sent, rel=1 / 3, abs=FEW)
            assert record["cost"] == pytest.approx(bill(invoice, sent=sent), rel=0.15)
        assert await here.usage_total() == sum(one.cost for one in await here.calls())
        await here.assert_balanced()


@pytest.mark.parametrize(
    ("streamed", "after"),
    [(True, None), (True, 1), (True, 2), (True, 9), (True, 19), (False, None)],
)
async def test_where_a_provider_bills_on_the_client_pays_its_whole_bill(
    tmp_path, location, streamed, after
):
    async with run_billing_gateway(tmp_path, location, model="slow", quirks=BILLS_ON) as here:
        await abort_call(here, streamed=streamed, after=after)
        record, invoice = await here.call(), here.upstream.invoices[-1]
        assert invoice.finished
        assert (record["fault"], record["estimated"], record["cost"]) == (
            "client_gone",
            False,
            bill(invoice),
        )
        assert len(here.upstream.requests) == 1
        assert (await here.attempts(record["id"]))[0].fault == ""
        assert await here.usage_total() == record["cost"]
        assert len(here.built.gateway.usage_drains) == 0
        await here.assert_balanced()


async def test_reasoning_that_was_never_shown_is_on_the_bill_of_a_client_that_left(
    tmp_path, location
):
    async with run_billing_gateway(
        tmp_path, location, model="reasoning-hidden-slow", quirks=BILLS_ON
    ) as here:
        await abort_call(here, streamed=True, after=2, text=LONG)
        record, invoice = await here.call(), here.upstream.invoices[-1]
        assert record["fault"] == "client_gone"
        assert record["usage"]["reasoning"] > 10
        assert record["cost"] == bill(invoice)
        await here.assert_balanced()


async def test_who_bills_on_beyond_the_limit_that_was_asked_is_paid_up_to_the_limit(
    tmp_path, location
):
    # The answer has 200 words; a limit that the provider does not heed makes the hold smaller than the bill.
    async with run_billing_gateway(
        tmp_path, location, model="long-slow", quirks={**BILLS_ON, "drop": ["max_tokens"]}
    ) as here:
        await abort_call(here, streamed=True, after=3, max_tokens=10)
        record, invoice = await here.call(), here.upstream.invoices[-1]
        assert record["cost"] <= record["held"] < bill(invoice)
        assert record["output_tokens"] == 10
        await here.assert_balanced()


async def test_a_provider_that_never_ends_is_heard_for_so_long(tmp_path, location):
    async with run_billing_gateway(
        tmp_path, location, model="fault-hang-9", quirks=BILLS_ON
    ) as here:
        here.built.gateway.usage_drains = UsageDrains(max_drain_s=0.2)
        await abort_call(here, streamed=True, after=2, text=LONG)
        record, invoice = await here.call(), here.upstream.invoices[-1]
        assert invoice.aborted
        assert (record["fault"], record["estimated"]) == ("client_gone", True)
        assert record["cost"] == pytest.approx(bill(invoice, sent=invoice.sent_tokens), rel=0.15)
        await here.assert_balanced()


async def test_only_so_many_are_heard_at_a_time(tmp_path, location):
    async with run_billing_gateway(
        tmp_path, location, model="fault-hang-9", quirks=BILLS_ON
    ) as here:
        here.built.gateway.usage_drains = UsageDrains(max_drain_s=3.0, max_drains=2)
        await asyncio.gather(*(abort_call(here, streamed=True, after=2) for _ in range(5)))
        await wait_until(lambda: sum(one.aborted for one in here.upstream.invoices) == 3)
        assert len(here.built.gateway.usage_drains) == 2
        await here.wait_until_idle()
        assert len(await here.calls()) == 5
        await here.assert_balanced()


async def test_a_server_that_stops_ends_what_nobody_hears_and_books_it(tmp_path, location):
    async with run_billing_gateway(
        tmp_path, location, model="fault-hang-9", quirks=BILLS_ON
    ) as here:
        await abort_call(here, streamed=True, after=2)
        while not here.built.gateway.usage_drains:
            await asyncio.sleep(0.005)
        here.built.server.should_exit = True
        while here.built.app.inference.running:
            await asyncio.sleep(0.005)
        record = await here.call()
        assert (record["fault"], here.upstream.invoices[-1].aborted) == ("client_gone", True)
        await here.assert_balanced()


async def test_a_client_that_has_left_is_not_failed_over(tmp_path, location):
    models = [model_with_offers(("first", "fault-hang-headers"), ("second", "echo"))]
    deadlines = {"first_event_s": 0.3, "idle_s": 0.3}
    async with run_billing_gateway(
        tmp_path, location, models=models, quirks=BILLS_ON, routing={"deadlines": deadlines}
    ) as here:
        await abort_call(here, streamed=True, after=None)
        record = await here.call()
        assert (record["cost"], record["fault"]) == (0, "client_gone")
        assert len(here.upstream.requests) == 1
        await here.assert_balanced()


async def test_a_call_whose_own_time_passes_pays_what_was_delivered(tmp_path, location):
    async with run_billing_gateway(tmp_path, location, model="fault-hang-8") as here:
        client = here.client(default_headers={"X-Request-Timeout-Ms": "2000"})
        with pytest.raises(openai.APIError):
            await complete_chat(client, stream=True)
        record, invoice = await here.call(), here.upstream.invoices[-1]
        assert record["fault"] == "upstream_timeout"
        assert record["cost"] == pytest.approx(bill(invoice, sent=invoice.sent_tokens), rel=0.2)
        await here.assert_balanced()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_failover_to_a_dearer_offer_bills_the_served_price(tmp_path, location, streamed):
    model = model_with_offers(("first", "fault-500"), ("second", "echo"))
    model["offers"][1]["price"] = {"input": "5.00", "output": "25.00"}
    async with run_billing_gateway(tmp_path, location, models=[model]) as here:
        await complete_chat(here.client(), stream=streamed)
        record, invoice = await here.call(), here.upstream.invoices[-1]
        assert record["cost"] == 5_000 * invoice.prompt_tokens + 25_000 * invoice.completion_tokens
        assert [one.provider for one in await here.attempts(record["id"])] == ["first", "second"]
        assert await here.usage_total() == record["cost"]
        await here.assert_balanced()


@pytest.mark.parametrize("streamed", [False, True])
async def test_free_offers_and_the_house_hold_nothing(tmp_path, location, streamed):
    async with run_billing_gateway(tmp_path, location, dollars=0) as here:
        assert (
            await complete_chat(here.client(), "simulator/echo", stream=streamed) == "Hello there"
        )
        record = await here.call()
        assert (record["cost"], record["held"]) == (0, 0)
        with pytest.raises(openai.APIStatusError) as caught:
            await complete_chat(here.client(), stream=streamed)
        assert (caught.value.status_code, caught.value.code) == (402, "insufficient_credit")
        await complete_chat(here.client(api_key=here.house_key), stream=streamed)
        await here.wait_until_idle()
        house = (await here.calls("house"))[-1]
        assert (house.cost, house.held) == (bill(here.upstream.invoices[-1]), 0)
        await here.assert_balanced()


@pytest.mark.parametrize(
    "place", ["echo", *(f"usage-{number}" for number in range(1, 8)), "usage-twice"]
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_every_place_of_usage_makes_the_right_bill(tmp_path, location, place, streamed):
    async with run_billing_gateway(tmp_path, location, model=place) as here:
        await complete_chat(here.client(), text=LONG, stream=streamed)
        record = await here.call()
        assert (record["cost"], record["estimated"]) == (bill(here.upstream.invoices[-1]), False)
        assert await here.usage_total() == record["cost"]
        await here.assert_balanced()


TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells what the weather will be like in a city, for so many days from today",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Where"},
                "days": {"type": "integer"},
            },
            "required": ["city"],
        },
    },
}
SMALL = [
    {"type": "image_url", "image_url": {"url": "https://example.org/small.png", "detail": "low"}},
    {"type": "text", "text": LONG},
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("scene", "more"),
    [
        ("usage-9", {}),
        ("usage-9-unicode", {}),
        ("usage-9-reasoning", {}),
        (
            "usage-9-tools",
            {"tools": [TOOL, {**TOOL, "function": {**TOOL["function"], "name": "climate"}}]},
        ),
        ("usage-9", {"messages": [{"role": "user", "content": SMALL}]}),
        ("usage-9", {"n": 2}),
    ],
)
async def test_without_usage_the_estimate_is_near_the_invoice_and_marked(
    tmp_path, location, scene, more, streamed
):
    async with run_billing_gateway(tmp_path, location, model=scene) as here:
        given = {
            "model": "test/model",
            "messages": [{"role": "user", "content": LONG}],
            "stream": streamed,
            **more,
        }
        answer = await here.client().chat.completions.create(**given)
        if streamed:
            async for _ in answer:
                pass
        record, invoice = await here.call(), here.upstream.invoices[-1]
        assert record["estimated"]
        assert record["cost"] == pytest.approx(bill(invoice), rel=0.15)
        counted = invoice.completion_tokens
        assert record["output_tokens"] == pytest.approx(counted, rel=0.15, abs=FEW)
        await here.assert_balanced()


@pytest.mark.parametrize(
    "scene", ["usage-cached-over", "usage-negative", "usage-floats", "usage-strings", "usage-huge"]
)
async def test_usage_that_makes_no_sense_never_pays_the_client(tmp_path, location, scene):
    async with run_billing_gateway(tmp_path, location, model=scene) as here:
        await complete_chat(here.client())
        record = await here.call()
        assert record["usage"]["repaired"]
        assert record["cost"] >= 0
        wallet = await here.wallet()
        assert 0 <= wallet.paid <= 1_000_000_000
        await here.assert_balanced()


async def test_an_agent_with_four_calls_and_no_limit_on_one_dollar_is_not_refused(
    tmp_path, location
):
    model = model_with_offers(("first", "slow"))
    model["offers"][0]["price"] = {"input": "3.00", "output": "15.00"}
    async with run_billing_gateway(tmp_path, location, models=[model]) as here:
        texts = await asyncio.gather(
            *(complete_chat(here.client(), text=LONG, stream=True) for _ in range(4))
        )
        assert all(text.startswith(" tick0") for text in texts)
        await here.assert_balanced()
