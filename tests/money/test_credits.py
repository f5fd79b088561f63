"""Credit moves once for each name, never more than there is, and the log is told of every movement, on both databases."""

import asyncio
from contextlib import suppress

import pytest
from sqlalchemy import text

from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.store.sql import accounts, audit, credits
from gatewayz.store.sql.checking import violations
from gatewayz.store.sql.credits import Teller
from tests.support.desks import desk_at
from tests.support.money import call_of, outcome_of

DAY_MS = 86_400_000


class Purse:
    """An account with a wallet, and whoever moves its money."""

    def __init__(self, store):
        self.store = store
        self.desk = desk_at(store.database, SystemClock())
        self.teller = Teller(self.desk, store.books.commits)

    async def has(self):
        one = await accounts.one(self.store.database, "payer")
        return one.paid, one.promo, one.held

    async def call(self, cost):
        call = call_of("payer")
        hold = await self.store.books.hold(call, Nanos(max(cost, 1)))
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
        assert (await audit.verified(self.store.database, self.desk.peppers))[1] == []


@pytest.fixture
async def purse(store):
    found = Purse(store)
    await accounts.create(found.desk, "Payer", "prepaid", account="payer")
    yield found
    await found.adds_up()


async def test_a_payment_is_booked_once_whatever_comes_again(purse):
    done = await asyncio.gather(
        *(purse.teller.topup("payer", Nanos(500), "stripe", "pi_1") for _ in range(5))
    )
    assert sorted(one.fresh for one in done) == [False] * 4 + [True]
    assert {one.amount for one in done} == {500}
    assert await purse.has() == (500, 0, 0)
    await accounts.create(purse.desk, "Other", "prepaid", account="other")
    assert "$0.0000005 of the account payer" in await purse.refused(
        purse.teller.topup("other", Nanos(500), "stripe", "pi_1")
    )
    await purse.refused(purse.teller.topup("payer", Nanos(501), "stripe", "pi_1"))
    assert [
        (one.id, one.amount, one.status)
        for one in await credits.payments(purse.store.database, "payer")
    ] == [("stripe:pi_1", 500, "paid")]
    assert await credits.payments(purse.store.database, "other") == []


async def test_a_grant_is_promo_and_an_adjustment_never_takes_more_than_there_is(purse):
    await purse.teller.grant("payer", Nanos(300), SystemClock().wall_ms() + DAY_MS, "trial")
    assert not (await purse.teller.grant("payer", Nanos(300), None, "trial")).fresh
    await purse.teller.adjust("payer", Nanos(200), "we were wrong")
    assert await purse.has() == (200, 300, 0)
    assert "only $0.0000002" in await purse.refused(
        purse.teller.adjust("payer", Nanos(-201), "too much")
    )
    await purse.teller.adjust("payer", Nanos(-200), "all of it")
    assert await purse.has() == (0, 300, 0)
    await purse.refused(purse.teller.adjust("payer", Nanos(5), ""))
    await purse.refused(purse.teller.grant("payer", Nanos(5), 1))
    await purse.refused(purse.teller.grant("payer", Nanos(-5)))
    await purse.refused(purse.teller.grant("payer", Nanos(5), None, "a:b"))


async def test_a_call_is_refunded_to_where_it_was_taken_from_and_never_twice(purse):
    await purse.teller.grant("payer", Nanos(100))
    await purse.teller.topup("payer", Nanos(1_000), "bank")
    call = await purse.call(250)
    assert await purse.has() == (850, 0, 0)
    for _ in range(5):
        assert (await purse.teller.refund_call("payer", call, Nanos(200), "sorry")).amount == 200
    assert await purse.has() == (1_000, 50, 0)
    await purse.refused(purse.teller.refund_call("payer", call, Nanos(51)))
    assert (await purse.teller.refund_call("payer", call)).amount == 50
    assert await purse.has() == (1_000, 100, 0)
    await purse.refused(purse.teller.refund_call("payer", call))
    await purse.refused(
        purse.teller.refund_call("payer", "01HZZZZZZZZZZZZZZZZZZZZZZZ"), "unknown_route"
    )


async def test_refunds_at_the_same_time_give_back_what_was_taken_and_to_where_it_was_taken_from(
    purse,
):
    for _ in range(10):
        await purse.teller.grant("payer", Nanos(50))
        await purse.teller.topup("payer", Nanos(100), "bank")
        call = await purse.call(150)
        assert await purse.has() == (0, 0, 0)
        asked = [purse.teller.refund_call("payer", call, Nanos(60)) for _ in range(6)]
        done = await asyncio.gather(*asked, return_exceptions=True)
        assert {one.kind for one in done if isinstance(one, Fault)} == {"bad_request"}
        paid, promo, held = await purse.has()
        assert (paid <= 100, promo <= 50, held) == (True, True, 0)
        with suppress(Fault):
            await purse.teller.refund_call("payer", call)
        assert await purse.has() == (100, 50, 0)
        await purse.call(150)


async def test_another_accounts_call_is_as_one_that_never_was(purse):
    await purse.teller.topup("payer", Nanos(1_000), "bank")
    call = await purse.call(250)
    await accounts.create(purse.desk, "Other", "prepaid", account="other")
    await purse.refused(purse.teller.refund_call("other", call), "unknown_route")


async def test_what_was_written_off_is_not_given_back(purse):
    await purse.teller.topup("payer", Nanos(100), "bank")
    call = call_of("payer")
    hold = await purse.store.books.hold(call, Nanos(100))
    await purse.store.books.settle(call, hold, outcome_of(900))
    assert await purse.has() == (0, 0, 0)
    assert (await purse.teller.refund_call("payer", call.id)).amount == 100


async def test_a_call_of_the_house_took_nothing_from_a_wallet(purse):
    call = call_of("house", billing="house")
    hold = await purse.store.books.hold(call, Nanos(100))
    await purse.store.books.settle(call, hold, outcome_of(90))
    await purse.refused(purse.teller.refund_call("house", call.id))


async def test_a_payment_goes_back_as_far_as_the_wallet_reaches_once_a_name_and_never_beyond(purse):
    await purse.teller.topup("payer", Nanos(1_000), "stripe", "pi_1")
    await purse.call(300)
    done = await purse.teller.refund_payment("payer", "stripe:pi_1", Nanos(400), "r1")
    again = await purse.teller.refund_payment("payer", "stripe:pi_1", Nanos(400), "r1")
    assert (done.amount, done.fresh, again.amount, again.fresh) == (400, True, 400, False)
    await purse.refused(purse.teller.refund_payment("payer", "stripe:pi_1", Nanos(601)))
    clamped = await purse.teller.refund_payment(
        "payer", "stripe:pi_1", name="dispute", chargeback=True
    )
    assert clamped.amount == 300
    assert await purse.has() == (0, 0, 0)
    (payment,) = await credits.payments(purse.store.database, "payer")
    assert (payment.refunded, payment.status) == (700, "paid")
    await purse.refused(purse.teller.refund_payment("payer", "stripe:nothing"), "unknown_route")


async def test_one_refund_of_a_payment_at_a_time(purse, database):
    await purse.teller.topup("payer", Nanos(1_000), "stripe", "pi_1")
    await purse.teller.topup("payer", Nanos(1_000), "bank")
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE payments SET status = 'refunding:r1' WHERE id = 'stripe:pi_1'")
        )
    await purse.refused(purse.teller.refund_payment("payer", "stripe:pi_1", name="r2"), "in_flight")
    assert (await purse.teller.refund_payment("payer", "stripe:pi_1", name="r1")).amount == 1_000
    assert (await purse.teller.refund_payment("payer", "stripe:pi_1", name="r1")).fresh is False
    assert await purse.has() == (1_000, 0, 0)


async def test_a_payment_whose_booking_was_broken_off_is_completed_by_asking_again(purse, database):
    await purse.teller._expect("stripe:pi_1", "payer", "stripe", Nanos(700))
    assert await purse.has() == (0, 0, 0)
    assert (await purse.teller.topup("payer", Nanos(700), "stripe", "pi_1")).fresh
    assert await purse.has() == (700, 0, 0)
    assert [one.status for one in await credits.payments(database, "payer")] == ["paid"]


async def test_money_that_moved_without_a_word_is_found(purse, database, store):
    await purse.teller.topup("payer", Nanos(700), "bank", "b1")
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE transfers SET id = 'topup:bank:b2' WHERE id = 'topup:bank:b1'")
        )
    _, found = await audit.verified(database, purse.desk.peppers)
    assert [(one.check, one.subject) for one in found] == [
        ("money_moves_are_told", "topup:bank:b2")
    ]
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE transfers SET id = 'topup:bank:b1' WHERE id = 'topup:bank:b2'")
        )
