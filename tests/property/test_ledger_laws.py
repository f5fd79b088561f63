"""The laws of the ledger, as a state machine over every harness.

Whatever is ordered, in whatever order, the books agree.
"""

from collections.abc import Callable
from typing import Any

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
from gatewayz.core.ceiling import Ceiling
from gatewayz.core.clock import DAY_MS
from gatewayz.core.money import Nanos
from gatewayz.ledger.orders import (
    ExpireGrantsOrder,
    ExtendOrder,
    HoldOrder,
    MoveOrder,
    ReleaseOrder,
    SettleOrder,
)
from gatewayz.ledger.values import Budget, Wallet
from gatewayz.store.sql.ledger.records import RecordRows
from tests.support.examples import examples
from tests.support.ledger_harness import PureLedgerHarness, open_ledger_harness
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
LONGEST_MS = 3 * DAY_MS


class LedgerMachine(RuleBasedStateMachine):
    """A client of the ledger that remembers its answers, and checks the books after every step."""

    harness: Callable[[], Any]
    calls = Bundle("calls")

    def __init__(self):
        super().__init__()
        self.books = type(self).harness()
        self.orders = 0
        self.settled = set()
        self.held = {}
        self.moves = []
        for wallet in ACCOUNTS.values():
            self.books.open_account(wallet)
        for budget in BUDGETS:
            self.books.open_budget(budget)

    def teardown(self):
        self.books.close()

    def commit(self, order):
        return self.books.commit([order])[0]

    @rule(account=accounts, amount=amounts)
    def top_up(self, account, amount):
        order = MoveOrder(
            id=f"pay:{self._next()}",
            account=account,
            kind="topup",
            counter="cash:bank",
            amount=amount,
        )
        self._move(order)

    @rule(account=accounts, amount=amounts, days=st.none() | st.integers(1, 3))
    def grant(self, account, amount, days):
        until = None if days is None else self.books.clock.date_ms + days * DAY_MS
        order = MoveOrder(
            id=f"grant:{self._next()}",
            account=account,
            kind="grant",
            side="promo",
            counter="expense:promo",
            amount=amount,
            expires_ms=until,
        )
        self._move(order)

    @rule(account=accounts, amount=amounts)
    def take_back(self, account, amount):
        order = MoveOrder(
            id=f"refund:{self._next()}",
            account=account,
            kind="refund",
            counter="cash:bank",
            amount=Nanos(-amount),
        )
        before = self.books.wallet(account)
        result = self._move(order)
        assert result.moved >= -max(before.paid - before.floor, 0)

    @precondition(lambda self: self.moves)
    @rule(data=st.data())
    def the_same_event_again(self, data):
        order = data.draw(st.sampled_from(self.moves))
        before = self.books.wallet(order.account)
        assert not self.commit(order).applied
        assert self.books.wallet(order.account).spendable <= before.spendable

    @rule(target=calls, account=accounts, amount=amounts, budgeted=st.booleans())
    def hold(self, account, amount, budgeted):
        call = new_ulid()
        subjects = (
            {"prepaid": ("key:K",), "house": ("account:house",)}.get(account, ())
            if budgeted
            else ()
        )
        self.books.commit([ExpireGrantsOrder(account=account)])
        before = self.books.wallet(account)
        result = self.commit(
            HoldOrder(
                call=call,
                account=account,
                ceiling=Ceiling(amount),
                budgets=subjects,
                owner="me",
                deadline_ms=self.books.clock.date_ms,
            )
        )
        fits = account == "house" or amount <= before.spendable
        if not subjects:
            assert (result.fault is None) == fits
        if result.fault is None:
            assert fits
            self.held[call] = amount
        else:
            within = amount <= before.spendable + before.held
            if not fits:
                assert result.fault.kind == ("credit_held" if within else "insufficient_credit")
            assert self.books.wallet(account) == before
        return call, account

    @rule(
        target=calls,
        account=accounts,
        figures=st.lists(st.integers(1, 600), min_size=3, max_size=3).map(sorted),
        base=st.integers(0, 100),
        budgeted=st.booleans(),
    )
    def hold_a_range(self, account, figures, base, budgeted):
        call, (least, step, most) = new_ulid(), figures
        subject = {"prepaid": "key:K", "house": "account:house"}.get(account, "")
        subjects = (subject,) if budgeted and subject else ()
        self.books.commit([ExpireGrantsOrder(account=account)])
        before, free = self.books.wallet(account), self._free(account, subjects)
        ceiling = Ceiling(Nanos(step), Nanos(least), Nanos(most), Nanos(min(base, least)))
        result = self.commit(
            HoldOrder(
                call=call,
                account=account,
                ceiling=ceiling,
                budgets=subjects,
                owner="me",
                deadline_ms=self.books.clock.date_ms,
            )
        )
        if free is None:
            assert result.moved == most
            assert result.free is None
        elif free < least:
            assert result.fault is not None
            assert self.books.wallet(account) == before
            return call, account
        else:
            # A step where that is free, more of a large wallet, and never more than is there.
            share = ceiling.base + free // 4
            assert result.moved == min(free, step if share < step else min(share, most))
            assert result.free == free
        self.held[call] = result.moved
        return call, account

    def _free(self, account, subjects):
        """What may be held: of the wallet, and of what is left of the budgets in their periods."""
        left = [] if account == "house" else [self.books.wallet(account).spendable]
        for budget in BUDGETS:
            if budget.subject in subjects:
                now = self.books.budget(budget.subject).at(self.books.clock.date_ms)
                left.append(max(budget.limit - now.spent - now.held, 0))
        return min(left, default=None)

    @rule(held_call=calls, amount=amounts)
    def extend(self, held_call, amount):
        call, account = held_call
        result = self.commit(ExtendOrder(call=call, account=account, amount=amount))
        if call not in self.held:
            assert not result.applied
        elif result.fault is None:
            self.held[call] += amount

    @rule(held_call=calls, cost=st.integers(0, 900).map(Nanos))
    def settle(self, held_call, cost):
        call, account = held_call
        before = self.books.wallet(account)
        result = self.commit(
            SettleOrder(
                call=call,
                account=account,
                cost=cost,
                rows=RecordRows(call_row(call, account, cost), ()),
            )
        )
        if call in self.settled:
            assert not result.applied
            return
        assert result.applied
        self.settled.add(call)
        held = self.held.pop(call, 0)
        after = self.books.wallet(account)
        gone = before.paid + before.promo + before.held - after.paid - after.promo - after.held
        assert after.held == before.held - held
        if account != "house":
            # Exactly the cost, unless the wallet did not reach that far; a grant may have ended
            # in between.
            assert gone >= min(cost, held + before.spendable)
            assert after.paid >= min(before.paid, before.floor)

    @rule(held_call=calls)
    def release(self, held_call):
        call, account = held_call
        result = self.commit(ReleaseOrder(call=call, account=account, how="expire"))
        assert result.applied == (call in self.held)
        self.held.pop(call, None)

    @rule(held_calls=st.lists(calls, min_size=2, max_size=6), cost=st.integers(0, 300).map(Nanos))
    def many_at_once(self, held_calls, cost):
        orders = [
            SettleOrder(
                call=call,
                account=account,
                cost=cost,
                rows=RecordRows(call_row(call, account, cost), ()),
            )
            for call, account in held_calls
        ]
        results = self.books.commit(orders)
        for (call, _), result in zip(held_calls, results, strict=True):
            assert result.applied == (call not in self.settled)
            self.settled.add(call)
            self.held.pop(call, None)

    @rule(ms=st.integers(1, LONGEST_MS))
    def time_goes_on(self, ms):
        self.books.clock.date_ms += ms

    @rule(account=accounts)
    def expire_grants(self, account):
        self.commit(ExpireGrantsOrder(account=account))

    @invariant()
    def the_books_are_clean(self):
        assert self.books.violations() == []

    @invariant()
    def what_is_held_is_what_was_held(self):
        assert {call: hold.amount for call, hold in self.books.holds().items()} == self.held

    @invariant()
    def no_wallet_is_below_its_floor(self):
        for name, wallet in ACCOUNTS.items():
            current = self.books.wallet(name)
            assert current.promo >= 0
            assert current.billing == "house" or current.paid >= wallet.floor

    def _next(self):
        self.orders += 1
        return self.orders

    def _move(self, order):
        result = self.commit(order)
        if result.fault is None:
            self.moves.append(order)
        return result


def machine(harness):
    return type("Machine", (LedgerMachine,), {"harness": staticmethod(harness)})


def test_the_decisions_alone_keep_the_laws():
    run_state_machine_as_test(
        machine(PureLedgerHarness), settings=examples(2_000, stateful_step_count=40)
    )


def test_a_database_keeps_the_laws(location):
    run_state_machine_as_test(
        machine(lambda: open_ledger_harness(location)),
        settings=examples(1_000, few=15, stateful_step_count=40),
    )
