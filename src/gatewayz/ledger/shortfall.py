"""Why a call cannot hold what it may cost: the wallet or a budget has less.

Two answers: `credit_held` when calls under way hold what is missing, so that asking again later
helps; `insufficient_credit` when it does not.
"""

from collections.abc import Iterable

from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.ledger.orders import OrderResult
from gatewayz.ledger.values import Budget, Wallet

CREDIT_HELD_RETRY_S = 2.0
"""`Retry-After` for a call whose credit is only held by calls that are under way."""


def find_shortfall(wallet: Wallet, budgets: Iterable[Budget], amount: int) -> OrderResult | None:
    """The refusal of a hold of `amount`; `None` when it can be held. `budgets` are as of now."""
    if wallet.billing != "house" and amount > wallet.spendable:
        return _wallet_shortfall(wallet, amount)
    for budget in budgets:
        if amount > budget.limit - budget.spent - budget.held:
            return _budget_shortfall(budget, amount)
    return None


def _wallet_shortfall(wallet: Wallet, amount: int) -> OrderResult:
    needs = f"This call may cost ${usd_text(Nanos(amount))}"
    has = f"the account has ${usd_text(Nanos(wallet.spendable))}"
    if amount <= wallet.spendable + wallet.held:
        held = usd_text(Nanos(wallet.held))
        return _credit_held(f"{needs}; {has} and ${held} is held by calls under way.")
    return _insufficient_credit(f"{needs}; {has}. Add credit, or ask for fewer output tokens.")


def _budget_shortfall(budget: Budget, amount: int) -> OrderResult:
    left = budget.limit - budget.spent - budget.held
    # Without the name of an end user, which is the account's to know and not the caller's.
    subject = budget.subject.partition("/")[0]
    needs = f"This call may cost ${usd_text(Nanos(amount))}"
    has = f"the {budget.period} budget of {subject} has ${usd_text(Nanos(left))}"
    if amount <= left + budget.held:
        held = usd_text(Nanos(budget.held))
        return _credit_held(f"{needs}; {has}, and ${held} is held by calls under way.")
    return _insufficient_credit(f"{needs}; {has} left.", budget.subject)


def _credit_held(message: str) -> OrderResult:
    fault = Fault("credit_held", message, retry_after_s=CREDIT_HELD_RETRY_S)
    return OrderResult(applied=False, fault=fault)


def _insufficient_credit(message: str, budget: str = "") -> OrderResult:
    return OrderResult(applied=False, fault=Fault("insufficient_credit", message), budget=budget)
