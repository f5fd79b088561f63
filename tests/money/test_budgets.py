"""Budgets hold over the wire: of keys, accounts and end users, also for the house, also in parallel, on both databases."""

import asyncio

import openai
import pytest
from sqlalchemy import select, text

from gatewayz.control import budgets, keys
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.money import Nanos
from gatewayz.ledger.values import Period
from gatewayz.store.sql.tables import BUDGETS
from tests.support.billing_gateway import complete_chat, run_billing_gateway
from tests.support.clocks import ManualClock
from tests.support.control_transaction import control_transaction
from tests.support.running_gateway import model_with_offers

MODEL = "test/model"


def transaction_of(here) -> ControlTransaction:
    transaction: ControlTransaction | None = here.built.control_transaction
    assert transaction is not None
    return transaction


async def put(here, account, subject, nanos, period="day"):
    await budgets.put_budget(
        transaction_of(here),
        account,
        subject,
        budgets.BudgetLimit(amount=Nanos(nanos), period=period),
    )
    await here.refresh_keys()


async def spent(here, subject):
    await here.wait_until_idle()
    return (
        await here.rows(select(BUDGETS.c.spent, BUDGETS.c.held).where(BUDGETS.c.subject == subject))
    )[0]


async def test_a_budget_of_a_key_ends_its_calls_and_no_others(tmp_path, location):
    async with run_billing_gateway(tmp_path, location) as here:
        transaction = transaction_of(here)
        key, record = await keys.create_key(transaction, keys.KeySpec(account=here.account))
        client = here.client(api_key=key)
        await put(here, here.account, budgets.key_subject(record.id), 10_400_000)
        while True:
            try:
                await complete_chat(client, max_tokens=5_000)
            except openai.APIStatusError as error:
                refused = error
                break
        assert (refused.status_code, refused.code) == (402, "insufficient_credit")
        assert "day budget of key" in refused.message
        assert await complete_chat(here.client(), max_tokens=5_000)
        used, held = await spent(here, budgets.key_subject(record.id))
        assert 0 < used <= 10_400_000
        assert held == 0
        await here.assert_balanced()


@pytest.mark.parametrize("whose", ["account", "house"])
async def test_calls_in_parallel_cannot_spend_a_budget_twice(tmp_path, location, whose):
    async with run_billing_gateway(
        tmp_path, location, models=[model_with_offers(("first", "slow"))]
    ) as here:
        account, key = (here.account, here.key) if whose == "account" else ("house", here.house_key)
        if whose == "house":
            # The key of the environment is not in the store, so it has no budgets: the house's own keys have.
            key, _ = await keys.create_key(
                transaction_of(here), keys.KeySpec(account="house", name="one")
            )
        await put(here, account, budgets.account_subject(account), 10 * 4_000_000, "month")
        client = here.client(api_key=key)
        said = await asyncio.gather(
            *(complete_chat(client, max_tokens=1_800) for _ in range(40)), return_exceptions=True
        )
        admitted = [one for one in said if isinstance(one, str)]
        assert {type(one) for one in said if not isinstance(one, str)} == {openai.RateLimitError}
        assert 10 <= len(admitted) <= 11
        used, held = await spent(here, budgets.account_subject(account))
        assert 0 < used <= 10 * 4_000_000
        assert held == 0
        await here.assert_balanced()


async def test_an_end_users_budget_is_theirs_alone(tmp_path, location):
    async with run_billing_gateway(tmp_path, location) as here:
        await put(here, here.account, budgets.end_user_subject(here.account, "anna"), 1_000)
        client = here.client()
        with pytest.raises(openai.APIStatusError) as refused:
            await complete_chat(client, user="anna")
        assert (refused.value.status_code, "anna" in refused.value.message) == (402, False)
        assert await complete_chat(client, user="bert")
        assert await complete_chat(client)
        await here.assert_balanced()


async def test_a_budget_that_is_taken_away_and_set_again_knows_what_is_held(tmp_path, location):
    async with run_billing_gateway(
        tmp_path, location, models=[model_with_offers(("first", "slow"))]
    ) as here:
        subject = budgets.account_subject(here.account)
        await put(here, here.account, subject, 10**9)
        call = asyncio.create_task(complete_chat(here.client()))
        while not (await here.rows(select(BUDGETS.c.held)))[0][0]:
            await asyncio.sleep(0.01)
        await budgets.delete_budget(transaction_of(here), here.account, subject)
        await budgets.put_budget(
            transaction_of(here),
            here.account,
            subject,
            budgets.BudgetLimit(amount=Nanos(10**9), period="day"),
        )
        assert await call
        used, held = await spent(here, subject)
        assert (used > 0, held) == (True, 0)
        await here.assert_balanced()


async def test_a_new_period_begins_with_nothing_spent(database):
    clock = ManualClock()
    transaction = control_transaction(database, clock)
    async with database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO accounts (id, name, billing, status) VALUES ('a', 'a', 'prepaid', 'active')"
            )
        )
        await connection.execute(
            text("INSERT INTO wallets (account_id, billing) VALUES ('a', 'prepaid')")
        )
    periods: list[tuple[str, Period]] = [("d", "day"), ("t", "total")]
    for name, period in periods:
        await budgets.put_budget(
            transaction,
            "a",
            budgets.end_user_subject("a", name),
            budgets.BudgetLimit(amount=Nanos(10), period=period),
        )
    async with database.begin() as connection:
        await connection.execute(text("UPDATE budgets SET spent = 7"))
    assert [one.spent for one in await budgets.list_budgets(database, "a", clock.wall_ms())] == [
        7,
        7,
    ]
    clock.advance(86_400)
    assert [one.spent for one in await budgets.list_budgets(database, "a", clock.wall_ms())] == [
        0,
        7,
    ]
    await budgets.put_budget(
        transaction,
        "a",
        budgets.end_user_subject("a", "t"),
        budgets.BudgetLimit(amount=Nanos(99), period="total"),
    )
    assert [
        (one.limit, one.spent) for one in await budgets.list_budgets(database, "a", clock.wall_ms())
    ][1] == (99, 7)
    await budgets.put_budget(
        transaction,
        "a",
        budgets.end_user_subject("a", "t"),
        budgets.BudgetLimit(amount=Nanos(5), period="month"),
    )
    assert [
        (one.limit, one.spent) for one in await budgets.list_budgets(database, "a", clock.wall_ms())
    ][1] == (5, 0)
