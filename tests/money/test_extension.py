"""An answer without a limit: what is held grows with it, and where it cannot the answer ends with the stop `length`."""

import asyncio
import json
from typing import Any

import aiohttp
import openai
import pytest
from sqlalchemy import select

from gatewayz.store.sql.tables import HOLDS, TRANSFERS
from tests.support.billing_gateway import OUTPUT, complete_chat, run_billing_gateway
from tests.support.running_gateway import model_with_offers

WORDS = " ".join(f"{'w' * 96}{number:04d}" for number in range(200))
"""About 5,000 tokens, which are more than a hold without a limit covers."""
STEP = 4_096 * OUTPUT
SHOWN = {"shown_by_model": {"": "always"}}
"""What its provider streams is all that it bills."""


@pytest.fixture
def kind():
    """One database is enough: when a hold grows is decided above the store."""
    return "sqlite"


async def kinds(here, call):
    return [
        one.kind
        for one in await here.rows(
            select(TRANSFERS).where(TRANSFERS.c.call_id == call).order_by(TRANSFERS.c.id)
        )
    ]


async def test_a_hold_without_a_limit_is_extended_as_the_answer_grows(tmp_path, location):
    async with run_billing_gateway(tmp_path, location, quirks=SHOWN, model="echo-slow") as here:
        assert await complete_chat(here.client(), text=WORDS, stream=True) == WORDS
        record = await here.call()
        assert record["fault"] == ""
        assert (await kinds(here, record["id"])).count("extend") == 1
        assert record["held"] - STEP == pytest.approx(STEP + 5_600 * 1_000, rel=0.1)
        await here.assert_balanced()


async def test_an_extension_that_is_refused_ends_the_answer_as_its_length(tmp_path, location):
    async with run_billing_gateway(
        tmp_path, location, quirks=SHOWN, model="echo-slow", dollars=0.02
    ) as here:
        client = here.client()
        stream = await client.chat.completions.create(
            model="test/model",
            messages=[{"role": "user", "content": WORDS}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks: list[Any] = [chunk async for chunk in stream]
        record, invoice = await here.call(), here.upstream.invoices[-1]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert WORDS.startswith(text)
        assert len(text) == pytest.approx(0.8 * 4_096 * 4.3, rel=0.02)
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
        assert chunks[-1].usage.cost * 10**9 == pytest.approx(record["cost"])
        assert invoice.aborted
        assert (record["fault"], record["stop"], record["estimated"], record["status"]) == (
            "",
            "length",
            True,
            200,
        )
        assert record["usage"]["output"] == pytest.approx(invoice.sent_tokens, rel=0.15)
        assert record["cost"] <= record["held"]
        assert (await here.attempts(record["id"]))[0].fault == ""
        assert (
            here.built.gateway._health.breaker_states().get(("first", "echo-slow"), "closed")
            == "closed"
        )
        await here.assert_balanced()


async def test_the_broken_off_answer_has_one_marker_and_its_blocks_are_closed(tmp_path, location):
    async with run_billing_gateway(
        tmp_path, location, quirks=SHOWN, model="echo-slow", dollars=0.02
    ) as here:
        body = {
            "model": "test/model",
            "messages": [{"role": "user", "content": WORDS}],
            "stream": True,
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{here.url}/v1/chat/completions",
                json=body,
                headers={"Authorization": f"Bearer {here.key}"},
            ) as response,
        ):
            events = (await response.read()).split(b"\n\n")
        assert events[-2:] == [b"data: [DONE]", b""]
        last = json.loads(events[-3].removeprefix(b"data: "))
        assert last["choices"] == [
            {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}
        ]
        assert sum(b'"finish_reason":"length"' in event for event in events) == 1


@pytest.mark.parametrize(
    ("given", "model"), [({"max_tokens": 8_000}, {}), ({}, {"max_output": 4_096})]
)
async def test_with_a_limit_of_the_client_or_of_the_model_nothing_is_extended(
    tmp_path, location, given, model
):
    listed = model_with_offers(("first", "echo"))
    listed["offers"][0] |= model
    async with run_billing_gateway(tmp_path, location, quirks=SHOWN, models=[listed]) as here:
        assert await complete_chat(here.client(), text=WORDS, stream=True, **given) == WORDS
        record = await here.call()
        assert "extend" not in await kinds(here, record["id"])
        await here.assert_balanced()


async def test_reasoning_and_every_choice_count_as_output(tmp_path, location):
    # Two choices: the first hold covers twice as much, and twice as much is said.
    async with run_billing_gateway(tmp_path, location, quirks=SHOWN, model="echo-slow") as here:
        await complete_chat(here.client(), text=WORDS, stream=True, n=2)
        record = await here.call()
        assert (await kinds(here, record["id"])).count("extend") == 1
        assert record["held"] == pytest.approx(4 * STEP + 5_600 * 1_000, rel=0.1)
        await here.assert_balanced()


async def test_the_house_and_free_offers_are_never_broken_off(tmp_path, location):
    async with run_billing_gateway(tmp_path, location, model="echo", dollars=0) as here:
        for client, model in (
            (here.client(api_key=here.house_key), "test/model"),
            (here.client(), "simulator/echo"),
        ):
            assert await complete_chat(client, model, text=WORDS, stream=True) == WORDS
        await here.assert_balanced()


async def test_of_200_calls_whose_ceiling_is_a_tenth_of_the_wallet_ten_are_admitted_over_http(
    tmp_path, location
):
    async with run_billing_gateway(tmp_path, location, model="fault-hang-2") as here:
        body = {
            "model": "test/model",
            "messages": [{"role": "user", "content": "Hello there"}],
            "stream": True,
            "max_tokens": 500,
        }
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def call(key):
                response = await session.post(
                    f"{here.url}/v1/chat/completions",
                    json=body,
                    headers={"Authorization": f"Bearer {key}"},
                )
                if response.status != 200:
                    return (
                        response.status,
                        response.headers.get("retry-after"),
                        (await response.json())["error"]["code"],
                    )
                await response.content.readany()
                return (200, None, response)

            first = await call(here.key)
            ceiling = (await here.rows(select(HOLDS.c.paid + HOLDS.c.promo)))[0][0]
            first[2].close()
            await here.wait_until_idle()
            account, key = await here.open_account(10 * ceiling / 10**9)
            answers = await asyncio.gather(*(call(key) for _ in range(200)))
            admitted = [answer[2] for answer in answers if answer[0] == 200]
            assert len(admitted) == 10
            assert {answer for answer in answers if answer[0] != 200} == {(429, "2", "credit_held")}
            assert (await here.wallet(account)).paid == 0
            for response in admitted:
                response.close()
        await here.wait_until_idle()
        records = await here.calls(account)
        assert len(records) == 200
        assert sum(record.status == 429 for record in records) == 190
        assert await here.usage_total(account) == sum(record.cost for record in records) > 0
        await here.assert_balanced()


async def test_a_refused_call_leaves_a_record_and_one_that_was_too_fast_or_unknown_does_not(
    tmp_path, location
):
    limits = {"key_rpm": 60, "burst": 3}
    models = [
        model_with_offers(("first", "echo")),
        {"id": "test/unpriced", "offers": [{"provider": "first", "upstream_id": "echo"}]},
    ]
    async with run_billing_gateway(
        tmp_path, location, dollars=0, models=models, limits=limits
    ) as here:
        statuses = []
        for model in ("test/model", "test/unpriced", "test/missing", "test/model", "test/model"):
            with pytest.raises(openai.APIStatusError) as caught:
                await complete_chat(here.client(), model)
            statuses.append(caught.value.status_code)
        with pytest.raises(openai.AuthenticationError):
            await complete_chat(here.client(api_key="gw_live_nobody"))
        assert statuses == [402, 404, 404, 429, 429]
        await here.wait_until_idle()
        assert [(one.status, one.fault, one.cost) for one in await here.calls()] == [
            (402, "insufficient_credit", 0),
            (404, "unpriced", 0),
            (404, "unknown_model", 0),
        ]
        assert here.upstream.requests == here.upstream.requests.__class__()
        await here.assert_balanced()
