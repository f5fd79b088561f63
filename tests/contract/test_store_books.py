"""The books over a database: what is admitted, what is charged, and what happens without a store."""

import asyncio

import pytest
from msgspec.structs import replace
from sqlalchemy import Executable, func, select, text, update

from gatewayz.control.upkeep import MAX_EXPIRED, Upkeep
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import SystemClock
from gatewayz.core.facts import Fact, Warned
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos
from gatewayz.ledger.orders import HoldOrder, ReleaseOrder
from gatewayz.ledger.values import OWNER_SILENT_S
from gatewayz.store.sql.ledger.journal import FOLDER, DiskJournal
from gatewayz.store.sql.ledger.reconcile import CHECKS, violations
from gatewayz.store.sql.tables import BUDGETS, CALLS, HOLDS, OWNERS, WALLETS
from tests.support.examples import PROFILE
from tests.support.flaky_ledger import QUICK
from tests.support.money import LaterClock, call_of, open_account, open_process_books, outcome_of

ROUNDS = 1_000 if PROFILE == "new" else 100
CALLS_AT_ONCE = 200


async def wallet_of(database, name):
    async with database.begin(reading=True) as connection:
        return (
            (await connection.execute(select(WALLETS).where(WALLETS.c.account_id == name)))
            .mappings()
            .one()
        )


async def assert_clean(database):
    assert await violations(database, SystemClock().wall_ms()) == []


async def test_of_200_calls_whose_ceiling_is_a_tenth_of_the_wallet_ten_are_admitted_every_time(
    store, location, database, tmp_path
):
    async with open_process_books(location, tmp_path / "other", "other") as other:
        processes = (store.books, other)
        await open_account(database, store.books, "payer", paid=1_000)
        for turn in range(ROUNDS):
            orders = [
                HoldOrder(
                    call=f"{turn}-{number}",
                    account="payer",
                    ceiling=Ceiling(Nanos(100)),
                    deadline_ms=2**60,
                )
                for number in range(CALLS_AT_ONCE)
            ]
            results = await asyncio.gather(
                *(processes[number % 2].commits.put(order) for number, order in enumerate(orders))
            )
            admitted = [
                order for order, result in zip(orders, results, strict=True) if result.fault is None
            ]
            assert len(admitted) == 10
            refused = {result.fault.kind for result in results if result.fault is not None}
            assert refused == {"credit_held"}
            await asyncio.gather(
                *(
                    store.books.commits.put(ReleaseOrder(call=order.call, account="payer"))
                    for order in admitted
                )
            )
        assert (await wallet_of(database, "payer"))["paid"] == 1_000
        await assert_clean(database)


async def test_a_call_is_settled_once_by_whoever_comes_first(store, location, database, tmp_path):
    async with open_process_books(location, tmp_path / "other", "other") as other:
        await open_account(database, store.books, "payer", paid=10_000)
        for _ in range(20):
            call = call_of("payer")
            hold = await store.books.hold(call, Ceiling(Nanos(300)))
            settled = await asyncio.gather(
                *(books.settle(call, hold, outcome_of(120)) for books in (store.books, other) * 5)
            )
            assert sorted(settled) == [False] * 9 + [True]
        assert (await wallet_of(database, "payer"))["paid"] == 10_000 - 20 * 120
        await assert_clean(database)


async def test_what_a_hold_does_not_cover_comes_out_of_the_wallet_and_then_is_written_off(
    store, database
):
    await open_account(database, store.books, "payer", paid=500)
    call = call_of("payer")
    hold = await store.books.hold(call, Ceiling(Nanos(100)))
    await store.books.settle(call, hold, outcome_of(1_700))
    wallet = await wallet_of(database, "payer")
    assert (wallet["paid"], wallet["held"]) == (0, 0)
    async with database.begin() as connection:
        lost = await connection.scalar(
            text("SELECT SUM(amount) FROM transfers WHERE kind = 'writeoff'")
        )
    assert lost == 1_200
    await assert_clean(database)


async def test_promo_is_spent_before_paid_and_a_credit_line_reaches_below_zero(store, database):
    await open_account(database, store.books, "line", billing="credit", floor=-1_000)
    with pytest.raises(Fault, match="Add credit") as refused:
        await store.books.hold(call_of("line", billing="credit"), Ceiling(Nanos(1_001)))
    assert refused.value.kind == "insufficient_credit"
    call = call_of("line", billing="credit")
    hold = await store.books.hold(call, Ceiling(Nanos(900)))
    await store.books.settle(call, hold, outcome_of(600))
    assert (await wallet_of(database, "line"))["paid"] == -600
    await assert_clean(database)


async def test_the_house_needs_no_hold_unless_it_has_a_budget(store, database):
    async with database.begin() as connection:
        await connection.execute(
            BUDGETS.insert().values(
                subject="key:K", account_id="house", limit_nanos=100, period="total"
            )
        )
    free = await store.books.hold(call_of("house", billing="house"), Ceiling(Nanos(10**15)))
    assert not free.recorded
    call = call_of("house", billing="house", budgets=("key:K",))
    hold = await store.books.hold(call, Ceiling(Nanos(80)))
    with pytest.raises(Fault, match="budget of key:K") as held:
        await store.books.hold(
            call_of("house", billing="house", budgets=("key:K",)), Ceiling(Nanos(80))
        )
    assert held.value.kind == "credit_held"
    await store.books.settle(call, hold, outcome_of(70))
    with pytest.raises(Fault, match="left") as gone:
        await store.books.hold(
            call_of("house", billing="house", budgets=("key:K",)), Ceiling(Nanos(80))
        )
    assert gone.value.kind == "insufficient_credit"
    await assert_clean(database)


async def test_a_hold_whose_caller_left_is_given_back(store, database):
    await open_account(database, store.books, "payer", paid=1_000)
    for _ in range(50):
        holding = asyncio.create_task(store.books.hold(call_of("payer"), Ceiling(Nanos(500))))
        await asyncio.sleep(0)
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
    await store.books.finish()
    await asyncio.sleep(0)
    await store.books.finish()
    assert (await wallet_of(database, "payer"))["held"] == 0
    await assert_clean(database)


async def test_holds_of_the_dead_expire_and_a_late_settlement_still_charges_once(
    store, database, location, tmp_path
):
    await open_account(database, store.books, "payer", paid=1_000)
    call = call_of("payer")
    hold = await store.books.hold(call, Ceiling(Nanos(400)))
    for by_s, held in ((30, 400), (70, 0)):
        later = Upkeep(
            database,
            store.books.commits,
            store.journal,
            LaterClock(by_s),
            "living",
            lambda fact: None,
        )
        async with database.begin() as connection:
            await connection.execute(OWNERS.delete())
            if by_s == 30:
                await connection.execute(
                    OWNERS.insert().values(id=store.books.owner, beat_ms=SystemClock().wall_ms())
                )
        await later.beat()
        await later.expire()
        assert (await wallet_of(database, "payer"))["held"] == held
    assert await store.books.settle(call, hold, outcome_of(150))
    assert not await store.books.settle(call, hold, outcome_of(150))
    assert (await wallet_of(database, "payer"))["paid"] == 850
    await assert_clean(database)


async def test_holds_of_many_dead_are_all_given_back_at_once(store, database):
    await open_account(database, store.books, "payer", paid=10_000)
    await asyncio.gather(
        *(
            store.books.hold(call_of("payer"), Ceiling(Nanos(2)))
            for _ in range(MAX_EXPIRED * 2 + 500)
        )
    )
    facts: list[Fact] = []
    later = Upkeep(
        database,
        store.books.commits,
        store.journal,
        LaterClock(OWNER_SILENT_S + 1),
        "living",
        facts.append,
    )
    await later.start()
    async with asyncio.timeout(60):
        while not facts:
            await asyncio.sleep(0.01)
    await later.close()
    message = "2500 hold(s) were given back: their process has died, or they expired"
    assert facts == [Warned(subject="holds", message=message)]
    assert (await wallet_of(database, "payer"))["held"] == 0
    await assert_clean(database)


async def test_settlements_wait_on_the_disk_while_the_store_is_away_and_are_booked_once(
    store, location, database, tmp_path, databases
):
    """The store breaks for good for this process; another one, later, finds what it left behind."""
    data_dir = tmp_path / "dead"
    await open_account(database, store.books, "payer", paid=1_000)
    calls = [call_of("payer") for _ in range(5)]
    async with open_process_books(location, data_dir, "dead") as dead:
        holds = [await dead.hold(call, Ceiling(Nanos(100))) for call in calls]
        dead.commits._commit, dead.timeouts = _away, QUICK
        with pytest.raises(Fault) as refused:
            await dead.hold(call_of("payer"), Ceiling(Nanos(100)))
        assert refused.value.kind == "unavailable"
        assert refused.value.retry_after_s
        assert (
            await asyncio.gather(
                *(
                    dead.settle(call, hold, outcome_of(60))
                    for call, hold in zip(calls, holds, strict=True)
                )
            )
            == [True] * 5
        )
        assert "journal" in dead.warned[0]
    files = list((data_dir / FOLDER).glob("*.jsonl"))
    assert len(files) == 1
    with files[0].open("ab") as file:
        file.write(b'{"call": "torn by the cra')
    heir = DiskJournal(data_dir, "heir", lambda message: None)
    assert await heir.replay(store.books.commits) == 5
    assert await heir.replay(store.books.commits) == 0
    wallet = await wallet_of(database, "payer")
    assert (wallet["paid"], wallet["held"]) == (700, 0)
    async with database.begin() as connection:
        assert await connection.scalar(select(func.count()).select_from(CALLS)) == 5
        assert await connection.scalar(select(func.count()).select_from(HOLDS)) == 0
    await assert_clean(database)


async def _away(orders):
    raise Fault("unavailable", "The store cannot be used: it is gone.", retry_after_s=1.0)


async def test_a_settlement_that_nothing_can_take_is_said_to_be_unavailable(
    store, database, location, tmp_path
):
    await open_account(database, store.books, "payer", paid=1_000)
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / FOLDER).write_text("a file where the folder should be")
    async with open_process_books(location, tmp_path / "blocked", "blocked") as books:
        call = call_of("payer")
        hold = await books.hold(call, Ceiling(Nanos(100)))
        books.commits._commit, books.timeouts = _away, QUICK
        with pytest.raises(Fault, match="journal") as refused:
            await books.settle(call, hold, outcome_of(60))
        assert refused.value.kind == "unavailable"


async def test_one_order_that_the_store_refuses_does_not_spoil_its_batch(store, database):
    await open_account(database, store.books, "payer", paid=10_000)
    calls = [call_of("payer") for _ in range(10)]
    holds = [await store.books.hold(call, Ceiling(Nanos(100))) for call in calls]
    bad = outcome_of(2**70)
    settled = await asyncio.gather(
        *(
            store.books.settle(call, hold, bad if number == 4 else outcome_of(50))
            for number, (call, hold) in enumerate(zip(calls, holds, strict=True))
        ),
        return_exceptions=True,
    )
    assert [result for number, result in enumerate(settled) if number != 4] == [True] * 9
    assert isinstance(settled[4], Exception)
    await assert_clean(database)


async def test_what_clients_write_into_names_is_kept_or_replaced_but_never_lost(store, database):
    await open_account(database, store.books, "payer", paid=10_000)
    call = call_of("payer")
    strange = "a\x00b\u2028'; DROP TABLE calls; --"
    outcome = outcome_of(10)
    hold = await store.books.hold(call, Ceiling(Nanos(100)))
    request = replace(call.request, model=strange, user=strange)
    assert await store.books.settle(replace(call, request=request), hold, outcome)
    async with database.begin() as connection:
        row = (await connection.execute(select(CALLS.c.asked_model, CALLS.c.end_user))).one()
    assert row[0].replace("�", "\x00") == strange
    await assert_clean(database)


PLANTED: dict[str, list[Executable]] = {
    "sum_is_zero": [update(WALLETS).values(paid=WALLETS.c.paid + 1)],
    "balance_is_its_transfers": [update(WALLETS).values(paid=WALLETS.c.paid + 1)],
    "held_is_open_holds": [update(HOLDS).values(paid=HOLDS.c.paid + 1)],
    "cost_is_usage_transfers": [update(CALLS).values(cost=CALLS.c.cost + 1)],
    "days_are_their_calls": [text("UPDATE usage_models SET cost = cost + 1, calls = calls - 1")],
    "refund_is_within_its_charge": [
        text(
            "INSERT INTO transfers (id, account_id, debit, credit, amount, kind, call_id) "
            "SELECT 'r', account_id, 'income:usage', 'wallet:payer:paid', 999999, 'refund_call', id "
            "FROM calls"
        )
    ],
    "no_wallet_is_overdrawn": [update(WALLETS).values(floor=WALLETS.c.paid + 5)],
    "margin_is_not_negative": [update(CALLS).values(upstream_cost="0.5")],
    "no_hold_is_stale": [update(HOLDS).values(deadline_ms=5)],
    "a_call_is_billed_once": [
        text(
            "INSERT INTO transfers (id, account_id, debit, credit, amount, kind, call_id) "
            "SELECT 'u' || kind, account_id, 'held:payer', 'income:usage', 5, 'usage', id "
            "FROM calls, (SELECT '1' AS kind UNION SELECT '2') AS two"
        )
    ],
    "budget_held_is_open_holds": [update(BUDGETS).values(held=-5)],
}


@pytest.mark.parametrize("check", PLANTED)
async def test_every_planted_violation_is_found(check, store, database):
    await open_account(database, store.books, "payer", paid=10_000)
    async with database.begin() as connection:
        await connection.execute(
            BUDGETS.insert().values(
                subject="key:K", account_id="payer", limit_nanos=10_000, period="day"
            )
        )
    for cost in (120, None):
        call = call_of("payer", budgets=("key:K",))
        hold = await store.books.hold(call, Ceiling(Nanos(300)))
        if cost is not None:
            await store.books.settle(call, hold, outcome_of(cost))
    await assert_clean(database)
    async with database.begin() as connection:
        for statement in PLANTED[check]:
            await connection.execute(statement)
    assert check in {
        violation.check for violation in await violations(database, SystemClock().wall_ms())
    }


def test_the_planted_violations_are_all_the_checks():
    assert set(PLANTED) == set(CHECKS)
