"""What a call of unknown length may cost is held, and told to its provider: over HTTP, in every dialect."""

import asyncio
import re
from typing import Any

import aiohttp
import openai
import pytest
from sqlalchemy import func, select

from gatewayz.control import budgets
from gatewayz.core.money import Nanos
from gatewayz.store.sql.tables import TRANSFERS
from tests.support.billing_gateway import DOLLAR, OUTPUT, complete_chat, run_billing_gateway
from tests.support.running_gateway import model_with_offers

STORY_TOKENS = 39_996
SHOWN = {"shown_by_model": {"": "always"}}
LIMITS = {
    "openai_chat": lambda sent: sent.get("max_tokens"),
    "anthropic_messages": lambda sent: sent.get("max_tokens"),
    "gemini": lambda sent: sent.get("generationConfig", {}).get("maxOutputTokens"),
}
"""Where a provider's dialect has the limit."""
DIALECTS = sorted(LIMITS)
HEADER = "x-gatewayz-output-limit"


@pytest.fixture
def kind():
    """One database is enough: what is held is decided by the same function on both."""
    return "sqlite"


def model(scene, **more):
    return [model_with_offers(("first", scene), **{"max_output": 60_000, **more})]


async def ask(here, path, body, key=""):
    """An answer as it comes over the wire: its status, headers and text."""
    headers = {"Authorization": f"Bearer {key or here.key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{here.url}{path}", json={"model": "test/model", **body}, headers=headers
        ) as answer,
    ):
        return answer.status, answer.headers, await answer.text()


CHAT = "/v1/chat/completions", {"messages": [{"role": "user", "content": "Tell me"}]}
COMPLETIONS = "/v1/completions", {"prompt": "Tell me"}


async def written_off(here):
    kinds = TRANSFERS.c.kind.in_(("writeoff", "overrun"))
    rows = await here.rows(select(func.coalesce(func.sum(TRANSFERS.c.amount), 0)).where(kinds))
    return rows[0][0]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("scene", ["story", "thinker", "thinker-redacted"])
async def test_what_is_held_is_the_limit_that_reaches_the_provider(
    tmp_path, location, dialect, scene
):
    async with run_billing_gateway(
        tmp_path, location, dollars=0.05, dialect=dialect, models=model(scene)
    ) as here:
        for (path, body), streamed in (
            (CHAT, False),
            (CHAT, True),
            (COMPLETIONS, False),
            (COMPLETIONS, True),
        ):
            status, headers, text = await ask(here, path, {**body, "stream": streamed})
            assert status == 200, text
            limit = LIMITS[dialect](here.sent)
            assert headers[HEADER] == str(limit)
            record = await here.call()
            assert record["cost"] <= record["held"]
            assert limit * OUTPUT <= record["held"]
            assert 0.9 * limit < record["usage"].get("output", 0) + record["usage"].get(
                "reasoning", 0
            )
            assert '"length"' in text
            assert f"told to keep within {limit} tokens" in str(record["reasons"])
        assert await written_off(here) == 0
        await here.assert_balanced()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_wallet_that_covers_the_cap_sees_no_difference_on_the_wire(
    tmp_path, location, dialect
):
    async with run_billing_gateway(
        tmp_path, location, dollars=5, dialect=dialect, models=model("story")
    ) as here:
        for path, body in (CHAT, COMPLETIONS):
            for streamed in (False, True):
                sent = []
                for key in (here.house_key, here.key):
                    status, headers, text = await ask(here, path, {**body, "stream": streamed}, key)
                    assert status == 200
                    assert HEADER not in headers
                    sent.append((here.sent, len(text) > 150_000))
                assert sent[0] == sent[1]
                assert sent[0][1]
        await here.assert_balanced()


@pytest.mark.parametrize(
    ("scene", "streamed", "quirks"),
    [
        ("story", False, {}),
        ("story", True, {}),
        ("thinker", False, {}),
        ("thinker", True, {}),
        ("story", True, {**SHOWN, "cancel_stops_billing": False}),
    ],
)
async def test_ten_parallel_answers_on_a_wallet_of_ten_holds_write_off_nothing(
    tmp_path, location, scene, streamed, quirks
):
    step = 4_096 * OUTPUT / DOLLAR
    async with run_billing_gateway(
        tmp_path, location, dollars=10 * step * 1.02, quirks=quirks, models=model(scene)
    ) as here:
        path, body = CHAT
        answers = await asyncio.gather(
            *(ask(here, path, {**body, "stream": streamed}) for _ in range(10))
        )
        statuses = [status for status, _, _ in answers]
        assert statuses.count(200) >= 4
        assert set(statuses) <= {200, 402, 429}
        await here.wait_until_idle()
        assert await written_off(here) == 0
        assert (await here.wallet()).paid >= 0
        billed = sum(invoice.completion_tokens for invoice in here.upstream.invoices)
        charged = [record for record in await here.calls() if record.cost]
        if not quirks:
            assert sum(record.output_tokens for record in charged) == billed
        await here.assert_balanced()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_no_more_is_asked_of_a_provider_than_is_held_of_the_clients_own_limit(
    tmp_path, location, dialect
):
    async with run_billing_gateway(
        tmp_path, location, dialect=dialect, models=model("story", max_output=2_000)
    ) as here:
        for path, body in (CHAT, COMPLETIONS, ("/v1/messages", CHAT[1])):
            for streamed in (False, True):
                asked = {**body, "max_tokens": 9_000, "stream": streamed}
                status, headers, text = await ask(here, path, asked)
                assert status == 200, text
                assert (LIMITS[dialect](here.sent), headers[HEADER]) == (2_000, "2000")
                record = await here.call()
                assert record["cost"] <= record["held"]
                assert "repaired" not in record["usage"]
                assert record["usage"]["output"] == here.upstream.invoices[-1].completion_tokens
                await ask(here, path, asked, here.house_key)
                assert LIMITS[dialect](here.sent) >= 2_000
        assert await written_off(here) == 0
        await here.assert_balanced()


async def test_a_refusal_names_a_limit_with_which_the_call_goes_through(tmp_path, location):
    async with run_billing_gateway(
        tmp_path, location, dollars=0.0004, models=model("story")
    ) as here:
        with pytest.raises(openai.APIStatusError, match="at most") as refused:
            await complete_chat(here.client())
        assert refused.value.status_code == 402
        named = re.search(r"at most ([\d,]+) output tokens", refused.value.message)
        assert named is not None
        limit = int(named[1].replace(",", ""))
        answer = await complete_chat(here.client(), max_tokens=limit)
        assert answer
        assert here.sent["max_tokens"] == limit
        await here.assert_balanced()


async def test_a_thinking_budget_is_held_beside_the_share(tmp_path, location):
    async with run_billing_gateway(
        tmp_path, location, dollars=0.05, dialect="anthropic_messages", models=model("thinker")
    ) as here:
        budget: dict[str, Any] = {"reasoning": {"max_tokens": 2_000}}
        status, headers, _ = await ask(here, CHAT[0], {**CHAT[1], **budget})
        assert status == 200
        assert here.sent["max_tokens"] == int(headers[HEADER]) > 2_000 + 6_000
        assert here.sent.get("thinking", {}).get("budget_tokens") in {None, 2_000}
        await here.assert_balanced()


@pytest.mark.parametrize("billing", ["house", "prepaid"])
async def test_free_is_the_least_of_the_wallet_and_of_every_budget(tmp_path, location, billing):
    async with run_billing_gateway(tmp_path, location, dollars=100, models=model("story")) as here:
        account, key = await here.open_account(0 if billing == "house" else 100, billing)
        status, headers, _ = await ask(here, *CHAT, key)
        assert (status, HEADER in headers) == (200, False)
        limit = budgets.BudgetLimit(amount=Nanos(40_000_000), period="day")
        transaction = here.built.control_transaction
        assert transaction is not None
        await budgets.put_budget(transaction, account, budgets.account_subject(account), limit)
        await here.refresh_keys()
        status, headers, _ = await ask(here, *CHAT, key)
        assert status == 200
        assert 4_000 < int(headers[HEADER]) <= 20_000
        assert await written_off(here) == 0
        await here.assert_balanced()


async def test_a_refused_extension_is_told_in_the_last_usage_and_in_the_record(tmp_path, location):
    async with run_billing_gateway(
        tmp_path, location, dollars=0.02, quirks=SHOWN, models=model("story")
    ) as here:
        shown = {"stream": True, "stream_options": {"include_usage": True}}
        status, headers, text = await ask(here, CHAT[0], {**CHAT[1], **shown})
        assert (status, HEADER in headers) == (200, False)
        assert '"out_of_credit":true' in text.split("\n\n")[-3]
        record = await here.call()
        assert record["usage"]["out_of_credit"] is True
        assert record["stop"] == "length"
        status, _, text = await ask(
            here, "/v1/messages", {**CHAT[1], "max_tokens": 1_000, "stream": True}
        )
        assert '"out_of_credit"' not in text
        await here.assert_balanced()
