"""The laws are worth something: each of these mistakes, made on purpose in the ledger, breaks one of them."""

import inspect
import types

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gatewayz.ledger import pages
from tests.property.test_ledger_laws import machine
from tests.support.keepers import PureKeeper

MISTAKES = {
    "a call is settled twice": ("if order.call in self.settled:", "if False:"),
    "an event moves twice": ("if order.id in self.moved:", "if False:"),
    "what is held can be held again": ("amount > wallet.spendable:", "amount > wallet.spendable + wallet.held:"),
    "promo is given back though it was used": ("promo_used = min(hold.promo, cost)", "promo_used = 0"),
    "the rest is not given back": ("paid=wallet.paid + paid_back,", "paid=wallet.paid,"),
    "the hold stays open": ("del self.holds[call]", "pass"),
    "a cost above the hold is forgotten": ("if over > 0:", "if False:"),
    "a wallet is emptied below its floor": ("paid = min(max(wallet.paid - wallet.floor, 0), over - promo)", "paid = over - promo"),
    "a refund takes what is not there": ("taken = min(-order.amount, there)", "taken = -order.amount"),
    "an extension is not written down": ("promo=hold.promo + promo, paid=hold.paid + paid", "promo=hold.promo, paid=hold.paid"),
    "paid before promo": ("promo = min(wallet.promo, amount)\n        paid", "promo = 0\n        paid"),
    "a refused hold changes the wallet": ("fault = self._missing(order.account, order.amount, order.budgets)\n        if fault is not None:", "fault = self._missing(order.account, order.amount, order.budgets)\n        if fault is not None and not self._take(order.account, 1, order.call, \"hold\", order.call):"),
}


def mutated(before: str, after: str) -> type[pages.Pages]:
    source = inspect.getsource(pages)
    assert before in source
    module = types.ModuleType("gatewayz.ledger.mutated")
    exec(compile(source.replace(before, after), "mutated", "exec"), module.__dict__)
    return module.Pages


class MutatedKeeper(PureKeeper):
    def __init__(self, of: type[pages.Pages]) -> None:
        super().__init__()
        self.pages = of(self.clock.date_ms, "mutated")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_ledger_is_caught(mistake):
    of = mutated(*MISTAKES[mistake])
    search = settings(max_examples=400, stateful_step_count=40, phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.raises((AssertionError, KeyError, ExceptionGroup)):
        run_state_machine_as_test(machine(lambda: MutatedKeeper(of)), settings=search)
