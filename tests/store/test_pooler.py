"""Behind a transaction pooler, where each transaction may be on another connection, everything works as without one."""

import asyncio

from sqlalchemy import text

from gatewayz.store.sql.database import Location
from tests.support.paying import asked, paying
from tests.support.pooler import Pooler

CLIENTS, EACH = 8, 6


async def test_a_first_start_calls_credit_and_checks_go_through_a_transaction_pooler(
    tmp_path, databases
):
    direct = await asyncio.to_thread(databases.empty, "postgresql", tmp_path)
    async with Pooler(direct.dsn).running() as pooler:
        location = Location("postgresql", dsn=pooler.dsn, pooler=True)
        async with paying(tmp_path, location, model="echo") as here:
            seen = {(await here.rows(text("SELECT pg_backend_pid()")))[0][0] for _ in range(6)}
            assert len(seen) > 1

            async def client(number):
                for turn in range(EACH):
                    assert (
                        await asked(here.client(), text=f"{number} {turn}", stream=bool(turn % 2))
                        == f"{number} {turn}"
                    )

            await asyncio.gather(*map(client, range(CLIENTS)))
            await here.balanced()
            records = await here.calls()
            assert len(records) == CLIENTS * EACH
            assert await here.spent() == sum(record.cost for record in records) > 0
        assert min(pooler.transactions.values()) > 10
    await asyncio.to_thread(databases.drop, direct)
