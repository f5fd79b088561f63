"""The values of the ledger: wallets, budgets, holds, and transfers with two sides.

Accounts of the ledger are names: `wallet:ID:paid`, `wallet:ID:promo`, `held:ID`, `income:usage`,
`cash:SOURCE`, `expense:promo|house|writeoff|adjust`. A transfer moves an amount from its debit to
its credit, so all of them sum to zero whatever is booked. Amounts are nano-dollars.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct

from gatewayz.core.clock import DAY_MS
from gatewayz.core.money import Nanos

Billing = Literal["prepaid", "credit", "house"]
Period = Literal["total", "day", "week", "month"]

INCOME = "income:usage"
PROMO_EXPENSE, HOUSE_EXPENSE = "expense:promo", "expense:house"
WRITEOFF, ADJUSTMENTS = "expense:writeoff", "expense:adjust"

OWNER_SILENT_S = 60
"""A process that holds and has not beaten for so long has died: its holds are given back."""
DEADLINE_GRACE_S = 120
"""A hold this long past the deadline of its call is given back, whoever holds it."""
REPLAY_MS = DAY_MS
"""How long an answer can be had again under its idempotency key, and the key means that answer."""


def wallet_paid(account: str) -> str:
    """The side of a wallet that was paid for."""
    return f"wallet:{account}:paid"


def wallet_promo(account: str) -> str:
    """The side of a wallet that was given."""
    return f"wallet:{account}:promo"


def wallet_held(account: str) -> str:
    """What is held of a wallet by calls under way."""
    return f"held:{account}"


class Transfer(Struct, frozen=True):
    """One movement. `id` says what it is for, so that the same event never moves twice.

    Example: Transfer("01JE…:hd", "acme", "wallet:acme:paid", "held:acme", Nanos(4200), "hold")
    """

    id: str
    account: str
    debit: str
    credit: str
    amount: Nanos
    kind: str
    call: str = ""
    note: str = ""


class Wallet(Struct, frozen=True, kw_only=True):
    """What an account can spend. `promo_until_ms`: when the next grant ends, if one does.

    `floor` is below zero for a credit line. Example: Wallet(account="acme", paid=5_000_000_000)
    """

    account: str
    billing: Billing = "prepaid"
    paid: int = 0
    promo: int = 0
    held: int = 0
    floor: int = 0
    promo_until_ms: int | None = None

    @property
    def spendable(self) -> int:
        """What another call may hold: not below zero, though a credit line may reach there."""
        return max(self.promo + self.paid - self.floor, 0)


class Grant(Struct, frozen=True, kw_only=True):
    """Money given, until `expires_ms` if that is set."""

    id: str
    amount: int
    expires_ms: int | None = None


class Budget(Struct, frozen=True, kw_only=True):
    """A limit on what a subject may spend in a period that began at `period_start_ms`.

    Example: Budget(subject="key:01JE…", account="acme", limit=5_000_000_000, period="day")
    """

    subject: str
    account: str = ""
    limit: int = 0
    period: Period = "total"
    period_start_ms: int = 0
    spent: int = 0
    held: int = 0

    def at(self, now_ms: int) -> "Budget":
        """The budget as of now: a new period begins with nothing spent."""
        began = period_start_ms(self.period, now_ms)
        if began <= self.period_start_ms:
            return self
        return Budget(
            subject=self.subject,
            account=self.account,
            limit=self.limit,
            period=self.period,
            period_start_ms=began,
            spent=0,
            held=self.held,
        )


def period_start_ms(period: Period, now_ms: int) -> int:
    """When the period of this moment began, in UTC; weeks begin on Monday."""
    if period == "total":
        return 0
    day = datetime.fromtimestamp(now_ms / 1000, UTC).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    if period == "week":
        day -= timedelta(days=day.weekday())
    elif period == "month":
        day = day.replace(day=1)
    return int(day.timestamp() * 1000)


class OpenHold(Struct, frozen=True, kw_only=True):
    """A reservation in the books: how much came from which side of the wallet."""

    call: str
    account: str
    key: str = ""
    owner: str = ""
    promo: int = 0
    paid: int = 0
    budgets: tuple[str, ...] = ()
    opened_ms: int = 0
    deadline_ms: int = 0

    @property
    def amount(self) -> Nanos:
        return Nanos(self.promo + self.paid)
