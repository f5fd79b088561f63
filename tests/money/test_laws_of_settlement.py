"""What a call is charged, out of which side of a wallet, and what counts in a budget: laws, each over its kind."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.catalog.offers import Offer
from gatewayz.core.calls import Call, Principal, new_ulid
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import DAY_MS
from gatewayz.core.conversation import Message, Text
from gatewayz.core.events import BlockDelta, BlockStarted, Frame, Kind, Started
from gatewayz.core.faults import FAULTS, Fault
from gatewayz.core.money import Nanos
from gatewayz.core.requests import ChatRequest
from gatewayz.core.usage import Usage
from gatewayz.engine.background import ShieldedTasks
from gatewayz.engine.call_state import CallState
from gatewayz.engine.charge import answer_cost, charge
from gatewayz.engine.output_limits import CallEstimate
from gatewayz.engine.settlement import Settlement
from gatewayz.engine.usage_meter import UsageMeter
from gatewayz.ledger.orders import ExtendOrder, HoldOrder, MoveOrder, ReleaseOrder, SettleOrder
from gatewayz.ledger.values import Budget, Wallet, period_start_ms
from gatewayz.ports.books import Hold
from gatewayz.providers.spec import Provider
from gatewayz.routing.candidates import Candidate
from gatewayz.routing.plan import Plan
from gatewayz.store.sql.ledger.journal import DiskJournal
from gatewayz.store.sql.ledger.records import RecordRows
from tests.support.clocks import ManualClock
from tests.support.examples import examples
from tests.support.ledger_harness import PureLedgerHarness, open_ledger_harness
from tests.support.prices import price_from_usd
from tests.support.records import call_row

PAYER = Wallet(account="payer")
HELLO = (Message("user", (Text("Hello there"),)),)
MONDAY_MS = 1_800_230_400_000
"""2027-01-18, a Monday, at midnight UTC."""
amounts = st.integers(0, 500)


def move(name, amount, **more):
    kind = "grant" if more.get("side") == "promo" else "topup"
    return MoveOrder(
        **{
            "id": name,
            "account": "payer",
            "kind": kind,
            "counter": "cash:bank",
            "amount": Nanos(amount),
            **more,
        }
    )


def hold(call, amount, *budgets):
    return HoldOrder(call=call, account="payer", ceiling=Ceiling(Nanos(amount)), budgets=budgets)


def settle(call, cost, *budgets):
    rows = RecordRows(call_row(call, "payer", cost), ())
    return SettleOrder(call=call, account="payer", cost=Nanos(cost), rows=rows, budgets=budgets)


def refund(name, call, amount, side="paid"):
    more = {"kind": "refund_call", "counter": "income:usage", "refunds": call, "side": side}
    return move(name, amount, **more)


def opened(paid=0, promo=0, books=None, wallet=PAYER):
    books = books or PureLedgerHarness()
    books.open_account(wallet)
    orders = [move("pay", paid)] if paid else []
    orders += [move("gift", promo, side="promo", counter="expense:promo")] if promo else []
    books.commit(orders)
    return books


@pytest.fixture
def ledger(location):
    books = open_ledger_harness(location)
    yield books
    assert books.violations() == []
    books.close()


# What was given and what was paid


@examples(300)
@given(amounts, amounts, amounts, st.integers(0, 900), st.booleans())
def test_what_was_given_is_spent_before_what_was_paid(paid, promo, ceiling, cost, held):
    books = opened(paid, promo)
    if held and 0 < ceiling <= paid + promo:
        assert books.commit([hold("call", ceiling)])[0].fault is None
        wallet = books.wallet("payer")
        assert wallet.promo == max(promo - ceiling, 0)
    books.commit([settle("call", cost)])
    wallet = books.wallet("payer")
    assert wallet.promo == max(promo - cost, 0)
    assert wallet.paid == max(paid - max(cost - promo, 0), 0)
    assert books.violations() == []


def test_a_credit_line_is_reached_only_when_all_that_was_given_is_spent():
    books = opened(10, 100, wallet=Wallet(account="payer", billing="credit", floor=-50))
    books.commit([hold("call", 150), settle("call", 155)])
    assert (books.wallet("payer").promo, books.wallet("payer").paid) == (0, -45)


def test_a_grant_that_has_ended_is_neither_held_nor_spent_and_a_living_one_stays():
    for later in (hold("call", 60), settle("call", 60)):
        books = opened(0, 40)
        ends_ms = books.clock.date_ms + DAY_MS
        gift = {"side": "promo", "counter": "expense:promo", "expires_ms": ends_ms}
        books.commit([move("trial", 100, **gift)])
        books.clock.date_ms += DAY_MS
        books.commit([later])
        assert books.violations() == []
        taken = 40 if isinstance(later, SettleOrder) else 0
        assert (books.wallet("payer").promo, books.wallet("payer").held) == (40 - taken, 0)


# Once is once


def test_a_call_is_refunded_once_whatever_stands_in_one_batch(ledger):
    opened(300, 100, ledger)
    first, second = new_ulid(), new_ulid()
    ledger.commit([hold(first, 250), hold(second, 100)])
    ledger.commit([settle(first, 250), settle(second, 90)])
    before = ledger.wallet("payer")

    done = ledger.commit([refund("a", first, 150), refund("b", first, 150)])
    assert [one.fault is None for one in done] == [True, False]
    parts = [refund(f"part {number}", second, 40) for number in range(4)]
    assert [one.fault is None for one in ledger.commit(parts)] == [True, True, False, False]
    gifts = [refund(f"gift {number}", first, 60, "promo") for number in range(2)]
    assert [one.fault is None for one in ledger.commit(gifts)] == [True, False]

    after = ledger.wallet("payer")
    assert (after.paid - before.paid, after.promo - before.promo) == (150 + 80, 60)
    # Nor in a later one, and never of a call that took nothing there.
    assert ledger.commit([refund("late", first, 1)])[0].fault is not None
    assert ledger.commit([refund("stranger", new_ulid(), 1)])[0].fault is not None


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("kind", ["payment", "grant", "hold", "settlement"])
def test_what_comes_twice_happens_once(kind, batches):
    books = opened(400, 100)
    twice = {
        "payment": [move("again", 50)] * 2,
        "grant": [move("again", 50, side="promo", counter="expense:promo")] * 2,
        "hold": [hold("call", 50)] * 2,
        "settlement": [settle("call", 50)] * 2,
    }[kind]
    results = books.commit(twice) if batches == 1 else [books.commit([one])[0] for one in twice]
    assert [one.applied for one in results] == [True, False]
    wallet = books.wallet("payer")
    moved = {"payment": (450, 100, 0), "grant": (400, 150, 0), "hold": (400, 50, 50)}
    assert (wallet.paid, wallet.promo, wallet.held) == moved.get(kind, (400, 50, 0))
    assert books.violations() == []


def test_a_call_that_has_ended_holds_nothing_again(ledger):
    opened(400, 0, ledger)
    call = new_ulid()
    results = ledger.commit([hold(call, 50), settle(call, 20), hold(call, 50)])
    assert [one.applied for one in results] == [True, True, False]
    assert (ledger.wallet("payer").paid, ledger.wallet("payer").held) == (380, 0)
    assert not ledger.holds()


async def test_the_journal_of_a_process_that_lives_is_its_own(tmp_path):
    order = settle(new_ulid(), 5)
    living = DiskJournal(tmp_path, "living", lambda _: None)
    other = DiskJournal(tmp_path, "other", lambda _: None)

    class Commits:
        def __init__(self):
            self.orders = []

        async def put(self, order):
            self.orders.append(order)
            raise Fault("bad_request", "nobody should have asked")

    await living.append(order)
    commits: Any = Commits()
    assert await other.replay(commits) == 0
    assert commits.orders == []
    living.close()
    await other.replay(commits)
    assert [one.call for one in commits.orders] == [order.call]
    other.close()


@pytest.mark.parametrize("max_bytes", [0, 3_000, 10_000])
async def test_a_full_journal_refuses_what_does_not_fit_and_never_grows_beyond(tmp_path, max_bytes):
    journal = DiskJournal(tmp_path, "full", lambda _: None, max_bytes=max_bytes)
    taken, refused = 0, 0
    for _ in range(40):
        try:
            await journal.append(settle(new_ulid(), 5))
            taken += 1
        except Fault as fault:
            assert fault.kind == "unavailable"
            refused += 1
        assert journal.waiting_bytes <= max_bytes
    assert refused
    assert bool(taken) == bool(max_bytes)
    assert sum(path.stat().st_size for path in tmp_path.rglob("full.jsonl")) <= max_bytes
    journal.close()


# Budgets


def budgeted(period, limit=1_000):
    books = opened(10_000)
    books.clock.date_ms = MONDAY_MS
    start_ms = period_start_ms(period, MONDAY_MS)
    books.open_budget(
        Budget(
            subject="key:K", account="payer", limit=limit, period=period, period_start_ms=start_ms
        )
    )
    return books


@pytest.mark.parametrize(("period", "days"), [("day", 1), ("week", 7), ("month", 31)])
def test_a_new_period_knows_what_calls_under_way_hold_and_forgets_what_was_spent(period, days):
    books = budgeted(period)
    books.commit([hold("done", 300, "key:K"), settle("done", 250), hold("long", 400, "key:K")])
    budget = books.batch.budgets["key:K"]
    assert (budget.spent, budget.held) == (250, 400)

    books.clock.date_ms += days * DAY_MS
    refused = books.commit([hold("next", 700, "key:K")])[0]
    assert refused.fault is not None
    assert refused.fault.kind == "credit_held"
    assert books.commit([hold("small", 600, "key:K")])[0].fault is None
    books.commit([settle("long", 350), ReleaseOrder(call="small", account="payer")])
    budget = books.batch.budgets["key:K"]
    # What was held before is spent in the period in which its call ends.
    assert (budget.spent, budget.held) == (350, 0)


@examples(200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["hold", "extend", "settle", "release", "later"]),
            st.sampled_from("abc"),
            st.integers(1, 400),
        ),
        max_size=25,
    )
)
def test_a_budget_holds_what_its_calls_hold_and_never_promises_more_than_it_has(steps):
    held: dict[str, int] = {}
    books, spent, ended = budgeted("day"), 0, set()
    for what, call, amount in steps:
        if what == "later":
            books.clock.date_ms += DAY_MS
            spent = 0
        elif what == "hold" and call not in ended:
            left = 1_000 - spent - sum(held.values())
            result = books.commit([hold(call, amount, "key:K")])[0]
            assert (result.fault is None) == (call in held or amount <= left)
            if result.applied:
                held[call] = amount
        elif what == "extend":
            order = ExtendOrder(call=call, account="payer", amount=Nanos(amount))
            if books.commit([order])[0].applied:
                held[call] += amount
        elif what == "settle" and call not in ended:
            books.commit([settle(call, amount, "key:K")])
            spent += amount
            held.pop(call, None)
            ended.add(call)
        elif what == "release":
            books.commit([ReleaseOrder(call=call, account="payer")])
            held.pop(call, None)
        budget = books.batch.budgets["key:K"].at(books.clock.date_ms)
        assert (budget.spent, budget.held) == (spent, sum(held.values()))


@pytest.mark.parametrize(
    ("period", "start_ms"),
    [
        ("day", MONDAY_MS + 3 * DAY_MS),
        ("week", MONDAY_MS),
        ("month", MONDAY_MS - 17 * DAY_MS),
        ("total", 0),
    ],
)
def test_periods_begin_at_midnight_on_mondays_and_on_the_first(period, start_ms):
    thursday_ms = MONDAY_MS + 3 * DAY_MS
    assert period_start_ms(period, thursday_ms + DAY_MS - 1) == start_ms


# Who pays how much


@pytest.mark.parametrize("kind", FAULTS)
def test_who_failed_is_paid_by_nobody_and_who_was_left_for_what_was_held_at_most(kind):
    held = Hold("call", "payer", Nanos(70))
    unrecorded = Hold("call", "house", Nanos(0), recorded=False)
    left = kind == "client_gone"
    assert charge(Nanos(90), held, Fault(kind, "x"), late=False) == (70 if left else 0)
    assert charge(Nanos(50), held, Fault(kind, "x"), late=False) == (50 if left else 0)
    assert charge(Nanos(90), unrecorded, Fault(kind, "x"), late=False) == (90 if left else 0)
    late = left or kind == "upstream_timeout"
    assert charge(Nanos(90), held, Fault(kind, "x"), late=True) == (70 if late else 0)
    assert charge(Nanos(90), held, None, late=False) == 90


def test_an_answer_without_a_block_is_free_unless_its_model_has_thought():
    price = price_from_usd({"input": "1.00", "output": "2.00"})
    assert answer_cost(Usage(input=10), price, None, empty=True) == 0
    assert answer_cost(Usage(input=10), price, None, empty=False) == 10_000
    thought = Usage(input=10, reasoning=5)
    assert answer_cost(thought, price, None, empty=True) == 20_000


def chat_call(markup_bp=None):
    request = ChatRequest(dialect="openai_chat", model="m", messages=HELLO, max_output=100)
    return Call(
        id=new_ulid(),
        endpoint="/v1/chat/completions",
        request=request,
        principal=Principal("payer", "k", billing="prepaid", markup_bp=markup_bp),
        received_at=0.0,
        received_ms=0,
        deadline=100.0,
    )


def candidates_at(*figures):
    return tuple(
        Candidate(
            offer=Offer(model="m", provider=f"p{n}", upstream_id="u", price=price_from_usd(usd)),
            provider=Provider(id=f"p{n}", name="P", dialect="openai_chat", base_url="http://p"),
        )
        for n, usd in enumerate(figures)
    )


def held_for(candidates, markup_bp=None):
    call = chat_call(markup_bp)
    return CallEstimate(call).ceiling(Plan(model="m", candidates=candidates)).step


def test_the_dearest_candidate_is_held_and_an_accounts_own_markup_is_in_it():
    figures = [
        {"input": "1.00", "output": "9.00"},
        {"input": "50.00", "output": "1.00"},
        {"input": "0.10", "output": "0.10"},
    ]
    alone = [held_for(candidates_at(usd)) for usd in figures]
    for order in (figures, figures[::-1], figures[1:] + figures[:1]):
        assert held_for(candidates_at(*order)) == max(alone)
    assert held_for(candidates_at(*figures), 1_000) == pytest.approx(max(alone) * 1.1)
    assert held_for(()) == 0


def test_an_offer_that_is_tried_as_a_last_resort_holds_like_any_other():
    (candidate,) = candidates_at({"input": "1.00", "output": "9.00"})
    plan = Plan(model="m", candidates=(), last_resort=candidate)
    assert CallEstimate(chat_call()).ceiling(plan).step == held_for((candidate,))


@pytest.mark.parametrize(("markup_bp", "share"), [(None, 1.0), (0, 1.0), (500, 1.05), (20_000, 3)])
def test_an_accounts_own_markup_is_charged(markup_bp, share):
    offer = candidates_at({"input": "1.00", "output": "2.00"})[0].offer
    usage = Usage(input=1_000, output=1_000)
    meter = UsageMeter(chat_call(markup_bp))
    meter._has_output = True
    assert meter.full_cost(usage, offer) == round(3_000_000 * share)


@pytest.mark.parametrize(
    ("kind", "counts", "thinks"),
    [
        (Kind.TEXT, True, False),
        (Kind.TOOL, True, False),
        (Kind.REASONING, True, True),
        (Kind.IMAGE, False, False),
    ],
)
def test_what_a_model_thinks_is_output_and_how_an_image_is_spelt_is_not(kind, counts, thinks):
    offer = candidates_at({"input": "1.00", "output": "2.00"})[0].offer
    meter = UsageMeter(chat_call())
    words = "Grüße und viele Worte " * 10
    meter.watch([Frame((Started(), BlockStarted(0, kind), BlockDelta(0, words)))], offer)
    assert meter.output_bytes == (len(words.encode()) if counts else 0)
    usage = meter.usage(offer)
    assert usage.estimated
    assert (usage.reasoning > 0, usage.output > 0) == (thinks, counts and not thinks)


class SlowBooks:
    """Books that settle when they are let."""

    def __init__(self):
        self.go = asyncio.Event()
        self.settled = []

    async def settle(self, call, _hold, _outcome, _replay=None):
        await self.go.wait()
        self.settled.append(call.id)
        return True


@pytest.mark.parametrize("leave", ["before it began", "while it waits", "twice"])
async def test_a_settlement_goes_on_when_whoever_waits_for_it_leaves(leave):
    books, tasks = SlowBooks(), ShieldedTasks()

    class Observers:
        def emit(self, fact):
            """Nobody looks."""

    settlement = Settlement(books, None, ManualClock(), Observers(), tasks)  # type: ignore[arg-type]
    state = CallState(chat_call())
    state.hold = Hold(state.call.id, "payer", Nanos(10))
    for _ in range(2 if leave == "twice" else 1):
        waiting = asyncio.create_task(settlement.settle(state))
        await asyncio.sleep(0)
        if leave != "before it began":
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    books.go.set()
    await tasks.finish()
    assert books.settled == [state.call.id]
    assert await settlement.settle(state) is None
    assert books.settled == [state.call.id]
