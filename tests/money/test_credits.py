"""Credit moves once for each name, never more than there is, and the log is told of every movement, on both databases."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text

from gatewayz.control import accounts, audit, payments
from gatewayz.control.credits import Credits
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.store.sql.ledger.reconcile import violations
from tests.support.control_transaction import control_transaction
from tests.support.money import call_of, outcome_of

DAY_MS = 86_400_000


class Purse:
    """An account with a wallet, and whoever moves its money."""

    def __init__(self, store):
        self.store = store
        clock: Any = SystemClock()
        self.transaction = control_transaction(store.database, clock)
        self.credits = Credits(self.transaction, store.books.commits)

    async def has(self):
        one = await accounts.get_account(self.store.database, "payer")
        return one.paid, one.promo, one.held

    async def call(self, cost):
        call = call_of("payer")
        hold = await self.store.books.hold(call, Ceiling(Nanos(max(cost, 1))))
        await self.store.books.settle(call, hold, outcome_of(cost))
        return call.id

    async def refused(self, work, kind="bad_request"):
        before = await self.has()
        with pytest.raises(Fault) as refused:
            await work
        assert refused.value.kind == kind
        assert await self.has() == before
        return refused.value.message

    async def adds_up(self):
        assert await violations(self.store.database, SystemClock().wall_ms()) == []
        assert (await audit.verify_log(self.store.database, self.transaction.peppers))[1] == []


@pytest.fixture
async def credits_setup(store):
    found = Purse(store)
    await accounts.create_account(found.transaction, "Payer", "prepaid", account="payer")
    yield found
    await found.adds_up()


async def test_a_payment_is_booked_once_whatever_comes_again(credits_setup):
    done = await asyncio.gather(
        *(credits_setup.credits.topup("payer", Nanos(500), "stripe", "pi_1") for _ in range(5))
    )
    assert sorted(one.fresh for one in done) == [False] * 4 + [True]
    assert {one.amount for one in done} == {500}
    assert await credits_setup.has() == (500, 0, 0)
    await accounts.create_account(credits_setup.transaction, "Other", "prepaid", account="other")
    assert "$0.0000005 of the account payer" in await credits_setup.refused(
        credits_setup.credits.topup("other", Nanos(500), "stripe", "pi_1")
    )
    await credits_setup.refused(credits_setup.credits.topup("payer", Nanos(501), "stripe", "pi_1"))
    assert [
        (one.id, one.amount, one.status)
        for one in await payments.list_payments(credits_setup.store.database, "payer")
    ] == [("stripe:pi_1", 500, "paid")]
    assert await payments.list_payments(credits_setup.store.database, "other") == []


async def test_a_grant_is_promo_and_an_adjustment_never_takes_more_than_there_is(credits_setup):
    await credits_setup.credits.grant(
        "payer", Nanos(300), SystemClock().wall_ms() + DAY_MS, "trial"
    )
    assert not (await credits_setup.credits.grant("payer", Nanos(300), None, "trial")).fresh
    await credits_setup.credits.adjust("payer", Nanos(200), "we were wrong")
    assert await credits_setup.has() == (200, 300, 0)
    assert "only $0.0000002" in await credits_setup.refused(
        credits_setup.credits.adjust("payer", Nanos(-201), "too much")
    )
    await credits_setup.credits.adjust("payer", Nanos(-200), "all of it")
    assert await credits_setup.has() == (0, 300, 0)
    await credits_setup.refused(credits_setup.credits.adjust("payer", Nanos(5), ""))
    await credits_setup.refused(credits_setup.credits.grant("payer", Nanos(5), 1))
    await credits_setup.refused(credits_setup.credits.grant("payer", Nanos(-5)))
    await credits_setup.refused(credits_setup.credits.grant("payer", Nanos(5), None, "a:b"))


async def test_a_call_is_refunded_to_where_it_was_taken_from_and_never_twice(credits_setup):
    await credits_setup.credits.grant("payer", Nanos(100))
    await credits_setup.credits.topup("payer", Nanos(1_000), "bank")
    call = await credits_setup.call(250)
    assert await credits_setup.has() == (850, 0, 0)
    for _ in range(5):
        assert (
            await credits_setup.credits.refund_call("payer", call, Nanos(200), "sorry")
        ).amount == 200
    assert await credits_setup.has() == (1_000, 50, 0)
    await credits_setup.refused(credits_setup.credits.refund_call("payer", call, Nanos(51)))
    assert (await credits_setup.credits.refund_call("payer", call)).amount == 50
    assert await credits_setup.has() == (1_000, 100, 0)
    await credits_setup.refused(credits_setup.credits.refund_call("payer", call))
    await credits_setup.refused(
        credits_setup.credits.refund_call("payer", "01HZZZZZZZZZZZZZZZZZZZZZZZ"), "not_found"
    )


async def test_refunds_at_the_same_time_give_back_what_was_taken_and_to_where_it_was_taken_from(
    credits_setup,
):
    for _ in range(10):
        await credits_setup.credits.grant("payer", Nanos(50))
        await credits_setup.credits.topup("payer", Nanos(100), "bank")
        call = await credits_setup.call(150)
        assert await credits_setup.has() == (0, 0, 0)
        asked = [credits_setup.credits.refund_call("payer", call, Nanos(60)) for _ in range(6)]
        done = await asyncio.gather(*asked, return_exceptions=True)
        assert {one.kind for one in done if isinstance(one, Fault)} == {"bad_request"}
        paid, promo, held = await credits_setup.has()
        assert (paid <= 100, promo <= 50, held) == (True, True, 0)
        with suppress(Fault):
            await credits_setup.credits.refund_call("payer", call)
        assert await credits_setup.has() == (100, 50, 0)
        await credits_setup.call(150)


async def test_another_accounts_call_is_as_one_that_never_was(credits_setup):
    await credits_setup.credits.topup("payer", Nanos(1_000), "bank")
    call = await credits_setup.call(250)
    await accounts.create_account(credits_setup.transaction, "Other", "prepaid", account="other")
    await credits_setup.refused(credits_setup.credits.refund_call("other", call), "not_found")


async def test_what_was_written_off_is_not_given_back(credits_setup):
    await credits_setup.credits.topup("payer", Nanos(100), "bank")
    call = call_of("payer")
    hold = await credits_setup.store.books.hold(call, Ceiling(Nanos(100)))
    await credits_setup.store.books.settle(call, hold, outcome_of(900))
    assert await credits_setup.has() == (0, 0, 0)
    assert (await credits_setup.credits.refund_call("payer", call.id)).amount == 100


async def test_a_call_of_the_house_took_nothing_from_a_wallet(credits_setup):
    call = call_of("house", billing="house")
    hold = await credits_setup.store.books.hold(call, Ceiling(Nanos(100)))
    await credits_setup.store.books.settle(call, hold, outcome_of(90))
    await credits_setup.refused(credits_setup.credits.refund_call("house", call.id))


async def test_a_payment_goes_back_as_far_as_the_wallet_reaches_once_a_name_and_never_beyond(
    credits_setup,
):
    await credits_setup.credits.topup("payer", Nanos(1_000), "stripe", "pi_1")
    await credits_setup.call(300)
    done = await credits_setup.credits.refund_payment("payer", "stripe:pi_1", Nanos(400), "r1")
    again = await credits_setup.credits.refund_payment("payer", "stripe:pi_1", Nanos(400), "r1")
    assert (done.amount, done.fresh, again.amount, again.fresh) == (400, True, 400, False)
    await credits_setup.refused(
        credits_setup.credits.refund_payment("payer", "stripe:pi_1", Nanos(601))
    )
    clamped = await credits_setup.credits.refund_payment(
        "payer", "stripe:pi_1", name="dispute", chargeback=True
    )
    assert clamped.amount == 300
    assert await credits_setup.has() == (0, 0, 0)
    (payment,) = await payments.list_payments(credits_setup.store.database, "payer")
    assert (payment.refunded, payment.status) == (700, "paid")
    await credits_setup.refused(
        credits_setup.credits.refund_payment("payer", "stripe:nothing"), "not_found"
    )


async def test_one_refund_of_a_payment_at_a_time(credits_setup, database):
    await credits_setup.credits.topup("payer", Nanos(1_000), "stripe", "pi_1")
    await credits_setup.credits.topup("payer", Nanos(1_000), "bank")
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE payments SET status = 'refunding:r1' WHERE id = 'stripe:pi_1'")
        )
    await credits_setup.refused(
        credits_setup.credits.refund_payment("payer", "stripe:pi_1", name="r2"), "in_flight"
    )
    assert (
        await credits_setup.credits.refund_payment("payer", "stripe:pi_1", name="r1")
    ).amount == 1_000
    assert (
        await credits_setup.credits.refund_payment("payer", "stripe:pi_1", name="r1")
    ).fresh is False
    assert await credits_setup.has() == (1_000, 0, 0)


async def test_a_payment_whose_booking_was_broken_off_is_completed_by_asking_again(
    credits_setup, database
):
    await credits_setup.credits._insert_payment("stripe:pi_1", "payer", "stripe", Nanos(700))
    assert await credits_setup.has() == (0, 0, 0)
    assert (await credits_setup.credits.topup("payer", Nanos(700), "stripe", "pi_1")).fresh
    assert await credits_setup.has() == (700, 0, 0)
    assert [one.status for one in await payments.list_payments(database, "payer")] == ["paid"]


async def test_money_that_moved_without_a_word_is_found(credits_setup, database, store):
    await credits_setup.credits.topup("payer", Nanos(700), "bank", "b1")
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE transfers SET id = 'topup:bank:b2' WHERE id = 'topup:bank:b1'")
        )
    _, found = await audit.verify_log(database, credits_setup.transaction.peppers)
    assert [(one.check, one.subject) for one in found] == [
        ("money_moves_are_told", "topup:bank:b2")
    ]
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE transfers SET id = 'topup:bank:b1' WHERE id = 'topup:bank:b2'")
        )
