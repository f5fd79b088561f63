"""Whatever goes wrong with whichever call of the books, for every one of them: the books are right afterwards."""

import asyncio

import openai
import pytest

from tests.support.billing_gateway import (
    INPUT,
    OUTPUT,
    abort_call,
    complete_chat,
    run_billing_gateway,
)
from tests.support.flaky_ledger import FAILURES, FlakyLedger

WORDS = " ".join(f"{'w' * 96}{number:04d}" for number in range(200))
SHOWN = {"shown_by_model": {"": "always"}}
SHORT, LONG = "Hello there, what will the weather be like", WORDS
CASES = [
    pytest.param("sqlite", SHORT, True, id="sqlite-short-streamed"),
    pytest.param("sqlite", SHORT, False, id="sqlite-short-whole"),
    pytest.param("sqlite", LONG, True, id="sqlite-long-streamed"),
    pytest.param("postgresql", SHORT, True, id="postgresql-short-streamed"),
]
"""What goes wrong is above the databases; that an order may come twice is asked of both."""
BATCHES = {SHORT: ("hold", "settle"), LONG: ("hold", "extend", "settle")}


def bill(invoice):
    return invoice.prompt_tokens * INPUT + invoice.completion_tokens * OUTPUT


async def tidied(here):
    """What a process does by itself in the seconds after: it books its journal and gives back what nobody holds."""
    await here.wait_until_idle()
    for _ in range(6_000):
        await here.built.store.upkeep.replay()
        if not here.books.unconfirmed_holds and not here.built.store.journal.waiting_bytes:
            break
        await asyncio.sleep(0.01)
    await here.assert_balanced()
    assert await here.usage_total() == sum(one.cost for one in await here.calls())
    wallet = await here.wallet()
    assert wallet.paid + await here.usage_total() == 1_000_000_000
    assert len({one.id for one in await here.calls()}) == len(await here.calls()) <= 1


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize(("kind", "text", "streamed"), CASES)
async def test_a_batch_that_goes_wrong_costs_nobody_anything_wrong(
    tmp_path, location, how, kind, text, streamed
):
    for number, what in enumerate(BATCHES[text], 1):
        async with run_billing_gateway(
            tmp_path, location, quirks=SHOWN, model="echo-slow" if text is LONG else "echo"
        ) as here:
            ledger = FlakyLedger(here.books)
            ledger.arm(number, how)
            try:
                said = await complete_chat(here.client(), text=text, stream=streamed)
            except openai.InternalServerError as refused:
                assert what == "hold"
                assert refused.status_code == 503
                assert int(refused.response.headers["retry-after"]) >= 1
                assert not here.upstream.requests
            else:
                assert what != "hold"
                assert text.startswith(said) and (said == text or what == "extend")
            await tidied(here)
            if what == "settle":
                assert await here.usage_total() == bill(here.upstream.invoices[-1])
            elif what == "hold":
                assert await here.usage_total() == 0


@pytest.mark.parametrize(("kind", "text", "streamed"), CASES)
async def test_a_client_that_leaves_during_a_batch_is_booked_like_any_other(
    tmp_path, location, kind, text, streamed
):
    for number, what in enumerate(BATCHES[text], 1):
        async with run_billing_gateway(
            tmp_path, location, quirks=SHOWN, model="echo-slow" if text is LONG else "echo"
        ) as here:
            ledger = FlakyLedger(here.books)
            ledger.arm(number, "waits")
            await abort_call(here, streamed=streamed, after=None, text=text, until=ledger.reached)
            await asyncio.sleep(0.05)
            ledger.go_on.set()
            await tidied(here)
            (record,) = await here.calls()
            if what == "settle":
                assert (record.cost, record.fault) == (bill(here.upstream.invoices[-1]), "")
            elif what == "hold":
                assert (record.cost, record.fault) == (0, "client_gone")
            else:
                assert 0 < record.cost <= record.held
                assert record.fault == "client_gone"


@pytest.mark.parametrize("how", ["fault", "answer_lost"])
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_named_request_survives_a_settlement_that_goes_wrong(
    tmp_path, location, how, streamed
):
    async with run_billing_gateway(tmp_path, location, model="echo") as here:
        ledger = FlakyLedger(here.books)
        ledger.arm(2, how)
        named = {"Idempotency-Key": "once"}
        said = await complete_chat(here.client(), text=SHORT, stream=streamed, extra_headers=named)
        await here.wait_until_idle()
        assert await complete_chat(here.client(), text=SHORT, extra_headers=named) == said == SHORT
        assert len(here.upstream.requests) == 1
        await tidied(here)


async def test_a_named_request_whose_settlement_went_to_the_journal_is_kept_from_there(
    tmp_path, location
):
    async with run_billing_gateway(tmp_path, location, model="echo") as here:
        ledger = FlakyLedger(here.books)
        ledger.arm(2, "silent")
        named = {"Idempotency-Key": "once"}
        assert (
            await complete_chat(here.client(), text=SHORT, stream=True, extra_headers=named)
            == SHORT
        )
        await here.wait_until_idle()
        with pytest.raises(openai.ConflictError):
            await complete_chat(here.client(), text=SHORT, extra_headers=named)
        await tidied(here)
        assert await complete_chat(here.client(), text=SHORT, extra_headers=named) == SHORT
        assert len(here.upstream.requests) == 1
