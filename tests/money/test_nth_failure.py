"""Whatever goes wrong with whichever call of the books, for every one of them: the books are right afterwards."""

import asyncio

import openai
import pytest

from tests.support.flaky import HOWS, FlakyLedger
from tests.support.paying import INPUT, OUTPUT, asked, leaves, paying

WORDS = " ".join(f"{'w' * 96}{number:04d}" for number in range(200))
SHORT, LONG = "Hello there, what will the weather be like", WORDS
BATCHES = {SHORT: ("hold", "settle"), LONG: ("hold", "extend", "settle")}


def bill(invoice):
    return invoice.prompt_tokens * INPUT + invoice.completion_tokens * OUTPUT


async def tidied(here):
    """What a process does by itself in the seconds after: it books its journal and gives back what nobody holds."""
    await here.settled()
    for _ in range(600):
        await here.built.store.upkeep.replay()
        if not here.books.doubtful and not here.built.store.journal.waiting_bytes:
            break
        await asyncio.sleep(0.01)
    await here.balanced()
    assert await here.spent() == sum(one.cost for one in await here.calls())
    wallet = await here.wallet()
    assert wallet.paid + await here.spent() == 1_000_000_000
    assert len({one.id for one in await here.calls()}) == len(await here.calls()) <= 1


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("text", "streamed"), [(SHORT, True), (SHORT, False), (LONG, True)])
async def test_a_batch_that_goes_wrong_costs_nobody_anything_wrong(
    tmp_path, location, how, text, streamed
):
    for number, what in enumerate(BATCHES[text], 1):
        async with paying(
            tmp_path / what, location, model="echo-slow" if text is LONG else "echo"
        ) as here:
            ledger = FlakyLedger(here.books)
            ledger.arm(number, how)
            try:
                said = await asked(here.client(), text=text, stream=streamed)
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
                assert await here.spent() == bill(here.upstream.invoices[-1])
            elif what == "hold":
                assert await here.spent() == 0


@pytest.mark.parametrize(("text", "streamed"), [(SHORT, True), (SHORT, False), (LONG, True)])
async def test_a_client_that_leaves_during_a_batch_is_booked_like_any_other(
    tmp_path, location, text, streamed
):
    for number, what in enumerate(BATCHES[text], 1):
        async with paying(
            tmp_path / what, location, model="echo-slow" if text is LONG else "echo"
        ) as here:
            ledger = FlakyLedger(here.books)
            ledger.arm(number, "waits")
            await leaves(here, streamed=streamed, after=None, text=text, until=ledger.reached)
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


@pytest.mark.parametrize("how", ["fault", "lost"])
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_named_request_survives_a_settlement_that_goes_wrong(
    tmp_path, location, how, streamed
):
    async with paying(tmp_path, location, model="echo") as here:
        ledger = FlakyLedger(here.books)
        ledger.arm(2, how)
        named = {"Idempotency-Key": "once"}
        said = await asked(here.client(), text=SHORT, stream=streamed, extra_headers=named)
        await here.settled()
        assert await asked(here.client(), text=SHORT, extra_headers=named) == said == SHORT
        assert len(here.upstream.requests) == 1
        await tidied(here)


async def test_a_named_request_whose_settlement_went_to_the_journal_is_kept_from_there(
    tmp_path, location
):
    async with paying(tmp_path, location, model="echo") as here:
        ledger = FlakyLedger(here.books)
        ledger.arm(2, "silent")
        named = {"Idempotency-Key": "once"}
        assert await asked(here.client(), text=SHORT, stream=True, extra_headers=named) == SHORT
        await here.settled()
        with pytest.raises(openai.ConflictError):
            await asked(here.client(), text=SHORT, extra_headers=named)
        await tidied(here)
        assert await asked(here.client(), text=SHORT, extra_headers=named) == SHORT
        assert len(here.upstream.requests) == 1
