"""Why a call cannot hold what it may cost: the wallet or a budget has less.

Two answers: `credit_held` when calls under way hold what is missing, so that asking again later
helps; `insufficient_credit` when it does not.
"""

from collections.abc import Sequence

from gatewayz.core.ceiling import Ceiling
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.ledger.orders import OrderResult
from gatewayz.ledger.values import Budget, Wallet

CREDIT_HELD_RETRY_S = 2.0
"""`Retry-After` for a call whose credit is only held by calls that are under way."""


def free_amount(wallet: Wallet, budgets: Sequence[Budget]) -> Nanos | None:
    """The most that a call can hold now, in nano-dollars; `None` where nothing bounds it.

    `budgets` are as of now.
    """
    amounts = [budget.limit - budget.spent - budget.held for budget in budgets]
    if wallet.billing != "house":
        amounts.append(wallet.spendable)
    return Nanos(max(min(amounts), 0)) if amounts else None


def find_shortfall(
    wallet: Wallet, budgets: Sequence[Budget], ceiling: Ceiling
) -> OrderResult | None:
    """The refusal of a hold; `None` when at least its smallest amount can be held.

    `budgets` are as of now.
    """
    amount = ceiling.smallest
    if wallet.billing != "house" and amount > wallet.spendable:
        return _wallet_shortfall(wallet, ceiling, _advice(ceiling, free_amount(wallet, budgets)))
    for budget in budgets:
        if amount > budget.limit - budget.spent - budget.held:
            return _budget_shortfall(
                budget, ceiling, _advice(ceiling, free_amount(wallet, budgets))
            )
    return None


def _wallet_shortfall(wallet: Wallet, ceiling: Ceiling, advice: str) -> OrderResult:
    amount = ceiling.smallest
    has = f"the account has ${usd_text(Nanos(wallet.spendable))}"
    if amount <= wallet.spendable + wallet.held:
        held = usd_text(Nanos(wallet.held))
        return _credit_held(f"{_needs(ceiling)}; {has} and ${held} is held by calls under way.")
    return _insufficient_credit(f"{_needs(ceiling)}; {has}. Add credit{advice}.")


def _budget_shortfall(budget: Budget, ceiling: Ceiling, advice: str) -> OrderResult:
    amount = ceiling.smallest
    left = budget.limit - budget.spent - budget.held
    # Without the name of an end user, which is the account's to know and not the caller's.
    subject = budget.subject.partition("/")[0]
    has = f"the {budget.period} budget of {subject} has ${usd_text(Nanos(left))}"
    if amount <= left + budget.held:
        held = usd_text(Nanos(budget.held))
        return _credit_held(f"{_needs(ceiling)}; {has}, and ${held} is held by calls under way.")
    message = f"{_needs(ceiling)}; {has} left. Raise it{advice}."
    return _insufficient_credit(message, budget.subject)


def _needs(ceiling: Ceiling) -> str:
    amount = usd_text(ceiling.smallest)
    is_range = ceiling.smallest < ceiling.step
    return f"This call needs at least ${amount}" if is_range else f"This call may cost ${amount}"


def _advice(ceiling: Ceiling, free: Nanos | None) -> str:
    """What else would help than more money: the largest output limit that is paid for."""
    tokens = ceiling.tokens(free or 0)
    return f", or ask for at most {tokens:,} output tokens" if tokens else ""


def _credit_held(message: str) -> OrderResult:
    fault = Fault("credit_held", message, retry_after_s=CREDIT_HELD_RETRY_S)
    return OrderResult(applied=False, fault=fault)


def _insufficient_credit(message: str, budget: str = "") -> OrderResult:
    return OrderResult(applied=False, fault=Fault("insufficient_credit", message), budget=budget)
