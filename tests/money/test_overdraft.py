"""Processes that serve one wallet at the same moment never admit more than it can pay, over HTTP, on both databases."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import aiohttp
from sqlalchemy import func, select

from gatewayz.store.sql.tables import CALLS, HOLDS, TRANSFERS, WALLETS
from tests.support.money import USD, issue_key, open_account, open_process_books
from tests.support.worker_group import run_worker_group

CALLS_AT_ONCE = 200
ADMITTED = 10
BODY = {
    "model": "test/fault-hang-2",
    "messages": [{"role": "user", "content": "Hello there"}],
    "stream": True,
    "max_tokens": 500,
}


async def asked(here, stack, key):
    """A call over a connection of its own, so that any process may get it: its status and the fault's code. A stream that
    has begun goes on until the stack is closed.
    """
    session = await stack.enter_async_context(aiohttp.ClientSession())
    asking = session.post(
        f"{here.url}/v1/chat/completions", json=BODY, headers={"Authorization": f"Bearer {key}"}
    )
    response = await stack.enter_async_context(asking)
    if response.status == 200:
        await response.content.readany()
        return 200, ""
    return response.status, (await response.json())["error"]["code"]


async def test_of_200_calls_to_two_processes_whose_ceiling_is_a_tenth_of_the_wallet_ten_are_admitted(
    tmp_path, database, location
):
    data_dir = tmp_path / "run" / "data"

    async def rows(statement):
        async with database.begin(reading=True) as connection:
            return list((await connection.execute(statement)).all())

    async with run_worker_group(tmp_path / "run", location, 2) as here:
        async with open_process_books(location, data_dir, "till") as books:
            await open_account(database, books, "rich", paid=1_000 * USD)
            async with AsyncExitStack() as stack:
                await asked(here, stack, await issue_key(database, "rich", data_dir))
                [(ceiling,)] = await rows(
                    select(HOLDS.c.paid + HOLDS.c.promo).where(HOLDS.c.account_id == "rich")
                )
            await open_account(database, books, "payer", paid=ADMITTED * ceiling)
        key = await issue_key(database, "payer", data_dir)
        async with AsyncExitStack() as stack:
            answers = await asyncio.gather(*(asked(here, stack, key) for _ in range(CALLS_AT_ONCE)))
            assert Counter(answers) == {
                (200, ""): ADMITTED,
                (429, "credit_held"): CALLS_AT_ONCE - ADMITTED,
            }
            assert await rows(
                select(WALLETS.c.paid, WALLETS.c.held).where(WALLETS.c.account_id == "payer")
            ) == [(0, ADMITTED * ceiling)]

        async def nothing_is_held():
            return await rows(select(HOLDS.c.call_id)) == []

        await here.wait_until(nothing_is_held)
        await asyncio.to_thread(here.gateway_process.stop)
        served = [line["worker"] for line in here.log() if line["event"] == "call"]
        assert set(served) == {1, 2}
        await here.book_totals()
    records = await rows(select(CALLS.c.status, CALLS.c.cost).where(CALLS.c.account_id == "payer"))
    assert len(records) == CALLS_AT_ONCE
    assert sum(status == 429 for status, _ in records) == CALLS_AT_ONCE - ADMITTED
    usage = select(func.sum(TRANSFERS.c.amount)).where(
        TRANSFERS.c.account_id == "payer", TRANSFERS.c.kind == "usage"
    )
    [(spent,)] = await rows(usage)
    assert spent == sum(cost for _, cost in records)
    assert await rows(
        select(WALLETS.c.paid, WALLETS.c.held).where(WALLETS.c.account_id == "payer")
    ) == [(ADMITTED * ceiling - spent, 0)]
