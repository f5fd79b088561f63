"""The laws of the ledger, as a state machine over every keeper: whatever is asked, in whatever order, the books agree."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gatewayz.core.calls import new_ulid
from gatewayz.core.money import Nanos
from gatewayz.ledger.orders import Extend, Hold, Move, Release, Settle, Sweep
from gatewayz.ledger.values import Budget, Wallet
from gatewayz.store.sql.records import RecordRows
from tests.support.keepers import PureKeeper, keeper_on
from tests.support.records import call_row

ACCOUNTS = {
    "prepaid": Wallet(account="prepaid"),
    "credit": Wallet(account="credit", billing="credit", floor=-500),
    "house": Wallet(account="house", billing="house"),
}
BUDGETS = (
    Budget(subject="key:K", account="prepaid", limit=400),
    Budget(subject="account:house", account="house", limit=900, period="day"),
)
accounts = st.sampled_from(sorted(ACCOUNTS))
amounts = st.integers(1, 600).map(Nanos)
LONGEST_MS = 3 * 86_400_000


class LedgerMachine(RuleBasedStateMachine):
    """A client of the ledger that remembers what it was told, and looks at the books after every step."""

    keeper = None
    calls = Bundle("calls")

    def __init__(self):
        super().__init__()
        self.books = type(self).keeper()
        self.asked = 0
        self.put_in = dict.fromkeys(ACCOUNTS, 0)
        self.charged = dict.fromkeys(ACCOUNTS, 0)
        self.written_off = dict.fromkeys(ACCOUNTS, 0)
        self.ended = {}
        self.held = {}
        self.moves = []
        for wallet in ACCOUNTS.values():
            self.books.open_account(wallet)
        for budget in BUDGETS:
            self.books.open_budget(budget)

    def teardown(self):
        self.books.close()

    def one(self, order):
        return self.books.commit([order])[0]

    @rule(account=accounts, amount=amounts)
    def top_up(self, account, amount):
        order = Move(
            id=f"pay:{self._next()}",
            account=account,
            kind="topup",
            counter="cash:bank",
            amount=amount,
        )
        self._moved(order)

    @rule(account=accounts, amount=amounts, days=st.none() | st.integers(1, 3))
    def grant(self, account, amount, days):
        until = None if days is None else self.books.clock.date_ms + days * 86_400_000
        order = Move(
            id=f"grant:{self._next()}",
            account=account,
            kind="grant",
            side="promo",
            counter="expense:promo",
            amount=amount,
            expires_ms=until,
        )
        self._moved(order)

    @rule(account=accounts, amount=amounts)
    def take_back(self, account, amount):
        order = Move(
            id=f"refund:{self._next()}",
            account=account,
            kind="refund",
            counter="cash:bank",
            amount=Nanos(-amount),
        )
        before = self.books.wallet(account)
        done = self._moved(order)
        assert done.moved >= -max(before.paid - before.floor, 0)

    @precondition(lambda self: self.moves)
    @rule(data=st.data())
    def the_same_event_again(self, data):
        order = data.draw(st.sampled_from(self.moves))
        before = self.books.wallet(order.account)
        assert not self.one(order).fresh
        assert self.books.wallet(order.account).spendable <= before.spendable

    @rule(target=calls, account=accounts, amount=amounts, budgeted=st.booleans())
    def hold(self, account, amount, budgeted):
        call = new_ulid()
        subjects = (
            {"prepaid": ("key:K",), "house": ("account:house",)}.get(account, ())
            if budgeted
            else ()
        )
        self.books.commit([Sweep(account=account)])
        before = self.books.wallet(account)
        done = self.one(
            Hold(
                call=call,
                account=account,
                amount=amount,
                budgets=subjects,
                owner="me",
                deadline_ms=self.books.clock.date_ms,
            )
        )
        fits = account == "house" or amount <= before.spendable
        if not subjects:
            assert (done.fault is None) == fits
        if done.fault is None:
            assert fits
            self.held[call] = amount
        else:
            within = amount <= before.spendable + before.held
            if not fits:
                assert done.fault.kind == ("credit_held" if within else "insufficient_credit")
            assert self.books.wallet(account) == before
        return call, account

    @rule(which=calls, amount=amounts)
    def extend(self, which, amount):
        call, account = which
        done = self.one(Extend(call=call, account=account, amount=amount))
        if call not in self.held:
            assert not done.fresh
        elif done.fault is None:
            self.held[call] += amount

    @rule(which=calls, cost=st.integers(0, 900).map(Nanos))
    def settle(self, which, cost):
        call, account = which
        before = self.books.wallet(account)
        done = self.one(
            Settle(
                call=call,
                account=account,
                cost=cost,
                rows=RecordRows(call_row(call, account, cost), ()),
            )
        )
        if call in self.ended:
            assert not done.fresh
            return
        assert done.fresh
        self.ended[call] = cost
        held = self.held.pop(call, 0)
        after = self.books.wallet(account)
        gone = before.paid + before.promo + before.held - after.paid - after.promo - after.held
        assert after.held == before.held - held
        if account != "house":
            # Exactly the cost, unless the wallet did not reach that far; a grant may have ended in between.
            assert gone >= min(cost, held + before.spendable)
            assert after.paid >= min(before.paid, before.floor)

    @rule(which=calls)
    def release(self, which):
        call, account = which
        done = self.one(Release(call=call, account=account, how="expire"))
        assert done.fresh == (call in self.held)
        self.held.pop(call, None)

    @rule(which=st.lists(calls, min_size=2, max_size=6), cost=st.integers(0, 300).map(Nanos))
    def many_at_once(self, which, cost):
        orders = [
            Settle(
                call=call,
                account=account,
                cost=cost,
                rows=RecordRows(call_row(call, account, cost), ()),
            )
            for call, account in which
        ]
        dones = self.books.commit(orders)
        for (call, _), done in zip(which, dones, strict=True):
            assert done.fresh == (call not in self.ended)
            self.ended.setdefault(call, cost)
            self.held.pop(call, None)

    @rule(ms=st.integers(1, LONGEST_MS))
    def time_goes_on(self, ms):
        self.books.clock.date_ms += ms

    @rule(account=accounts)
    def sweep(self, account):
        self.one(Sweep(account=account))

    @invariant()
    def the_books_are_clean(self):
        assert self.books.violations() == []

    @invariant()
    def what_is_held_is_what_was_held(self):
        assert {call: hold.amount for call, hold in self.books.holds().items()} == self.held

    @invariant()
    def no_wallet_is_below_its_floor(self):
        for name, wallet in ACCOUNTS.items():
            found = self.books.wallet(name)
            assert found.promo >= 0
            assert found.billing == "house" or found.paid >= wallet.floor

    def _next(self):
        self.asked += 1
        return self.asked

    def _moved(self, order):
        done = self.one(order)
        if done.fault is None:
            self.moves.append(order)
        return done


def machine(keeper):
    return type("Machine", (LedgerMachine,), {"keeper": staticmethod(keeper)})


def test_the_decisions_alone_keep_the_laws():
    run_state_machine_as_test(
        machine(PureKeeper), settings=settings(max_examples=300, stateful_step_count=40)
    )


def test_a_database_keeps_the_laws(location):
    run_state_machine_as_test(
        machine(lambda: keeper_on(location)),
        settings=settings(max_examples=40, stateful_step_count=30),
    )


@pytest.mark.long(reason="50,000 steps a keeper")
def test_the_decisions_alone_keep_the_laws_for_long():
    run_state_machine_as_test(
        machine(PureKeeper), settings=settings(max_examples=2_000, stateful_step_count=50)
    )


@pytest.mark.long(reason="50,000 steps a keeper")
def test_a_database_keeps_the_laws_for_long(location):
    run_state_machine_as_test(
        machine(lambda: keeper_on(location)),
        settings=settings(max_examples=1_000, stateful_step_count=50),
    )
