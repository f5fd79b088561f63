"""Behind a transaction pooler everything works as without one.

There each transaction may be on another connection.
"""

import asyncio

import pytest
from sqlalchemy import text

from gatewayz.store.sql.database import Location
from tests.support.billing_gateway import complete_chat, run_billing_gateway
from tests.support.pooler import Pooler

CLIENTS, EACH = 8, 6


@pytest.fixture
def direct(databases, tmp_path):
    """A new PostgreSQL database, as it is without the pooler."""
    location = databases.create_empty("postgresql", tmp_path)
    yield location
    databases.drop(location)


async def test_a_first_start_calls_credit_and_checks_go_through_a_transaction_pooler(
    tmp_path, direct
):
    async with Pooler(direct.dsn).run() as pooler:
        location = Location("postgresql", dsn=pooler.dsn, pooler=True)
        async with run_billing_gateway(tmp_path, location, model="echo") as here:
            seen = {(await here.rows(text("SELECT pg_backend_pid()")))[0][0] for _ in range(6)}
            assert len(seen) > 1

            async def client(number):
                for turn in range(EACH):
                    assert (
                        await complete_chat(
                            here.client(), text=f"{number} {turn}", stream=bool(turn % 2)
                        )
                        == f"{number} {turn}"
                    )

            await asyncio.gather(*map(client, range(CLIENTS)))
            await here.assert_balanced()
            records = await here.calls()
            assert len(records) == CLIENTS * EACH
            assert await here.usage_total() == sum(record.cost for record in records) > 0
        assert min(pooler.transactions.values()) > 10
