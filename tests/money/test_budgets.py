"""Budgets hold over the wire: of keys, accounts and end users, also for the house, also in parallel, on both databases."""

import asyncio

import openai
import pytest
from sqlalchemy import select, text

from gatewayz.core.money import Nanos
from gatewayz.store.sql import budgets, keys
from gatewayz.store.sql.tables import BUDGETS
from tests.support.clocks import ManualClock
from tests.support.desks import desk_at
from tests.support.house import offers
from tests.support.paying import asked, paying

HEARD_S = 2.0
MODEL = "test/model"


async def put(here, account, subject, nanos, period="day"):
    await budgets.put(
        here.built.desk, account, subject, budgets.Limit(amount=Nanos(nanos), period=period)
    )
    await asyncio.sleep(HEARD_S)


async def spent(here, subject):
    await here.settled()
    return (
        await here.rows(select(BUDGETS.c.spent, BUDGETS.c.held).where(BUDGETS.c.subject == subject))
    )[0]


async def test_a_budget_of_a_key_ends_its_calls_and_no_others(tmp_path, location):
    async with paying(tmp_path, location) as here:
        key, record = await keys.make(here.built.desk, keys.Wish(account=here.account))
        client = here.client(api_key=key)
        await put(here, here.account, budgets.of_key(record.id), 10_400_000)
        while True:
            try:
                await asked(client, max_tokens=5_000)
            except openai.APIStatusError as error:
                refused = error
                break
        assert (refused.status_code, refused.code) == (402, "insufficient_credit")
        assert "day budget of key" in refused.message
        assert await asked(here.client(), max_tokens=5_000)
        used, held = await spent(here, budgets.of_key(record.id))
        assert 0 < used <= 10_400_000
        assert held == 0
        await here.balanced()


@pytest.mark.parametrize("whose", ["account", "house"])
async def test_calls_in_parallel_cannot_spend_a_budget_twice(tmp_path, location, whose):
    async with paying(tmp_path, location, models=[offers(("first", "slow"))]) as here:
        account, key = (here.account, here.key) if whose == "account" else ("house", here.house_key)
        if whose == "house":
            # The key of the environment is not in the store, so it has no budgets: the house's own keys have.
            key, _ = await keys.make(here.built.desk, keys.Wish(account="house", name="one"))
        await put(here, account, budgets.of_account(account), 10 * 4_000_000, "month")
        client = here.client(api_key=key)
        said = await asyncio.gather(
            *(asked(client, max_tokens=1_800) for _ in range(40)), return_exceptions=True
        )
        admitted = [one for one in said if isinstance(one, str)]
        assert {type(one) for one in said if not isinstance(one, str)} == {openai.RateLimitError}
        assert 10 <= len(admitted) <= 11
        used, held = await spent(here, budgets.of_account(account))
        assert 0 < used <= 10 * 4_000_000
        assert held == 0
        await here.balanced()


async def test_an_end_users_budget_is_theirs_alone(tmp_path, location):
    async with paying(tmp_path, location) as here:
        await put(here, here.account, budgets.of_end_user(here.account, "anna"), 1_000)
        client = here.client()
        with pytest.raises(openai.APIStatusError) as refused:
            await asked(client, user="anna")
        assert (refused.value.status_code, "anna" in refused.value.message) == (402, False)
        assert await asked(client, user="bert")
        assert await asked(client)
        await here.balanced()


async def test_a_budget_that_is_taken_away_and_set_again_knows_what_is_held(tmp_path, location):
    async with paying(tmp_path, location, models=[offers(("first", "slow"))]) as here:
        subject = budgets.of_account(here.account)
        await put(here, here.account, subject, 10**9)
        call = asyncio.create_task(asked(here.client()))
        while not (await here.rows(select(BUDGETS.c.held)))[0][0]:
            await asyncio.sleep(0.01)
        await budgets.remove(here.built.desk, here.account, subject)
        await budgets.put(
            here.built.desk, here.account, subject, budgets.Limit(amount=Nanos(10**9), period="day")
        )
        assert await call
        used, held = await spent(here, subject)
        assert (used > 0, held) == (True, 0)
        await here.balanced()


async def test_a_new_period_begins_with_nothing_spent(database):
    clock = ManualClock()
    desk = desk_at(database, clock)
    async with database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO accounts (id, name, billing, status) VALUES ('a', 'a', 'prepaid', 'active')"
            )
        )
        await connection.execute(
            text("INSERT INTO wallets (account_id, billing) VALUES ('a', 'prepaid')")
        )
    for name, period in (("d", "day"), ("t", "total")):
        await budgets.put(
            desk,
            "a",
            budgets.of_end_user("a", name),
            budgets.Limit(amount=Nanos(10), period=period),
        )
    async with database.begin() as connection:
        await connection.execute(text("UPDATE budgets SET spent = 7"))
    assert [one.spent for one in await budgets.listed(database, "a", clock.wall_ms())] == [7, 7]
    clock.pass_s(86_400)
    assert [one.spent for one in await budgets.listed(database, "a", clock.wall_ms())] == [0, 7]
    await budgets.put(
        desk, "a", budgets.of_end_user("a", "t"), budgets.Limit(amount=Nanos(99), period="total")
    )
    assert [(one.limit, one.spent) for one in await budgets.listed(database, "a", clock.wall_ms())][
        1
    ] == (99, 7)
    await budgets.put(
        desk, "a", budgets.of_end_user("a", "t"), budgets.Limit(amount=Nanos(5), period="month")
    )
    assert [(one.limit, one.spent) for one in await budgets.listed(database, "a", clock.wall_ms())][
        1
    ] == (5, 0)
