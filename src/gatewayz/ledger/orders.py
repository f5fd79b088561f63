"""Orders: what the books can be asked to do.

Each is carried out once, in a transaction with many others. Amounts are nano-dollars.
"""

from typing import Any, Literal

from msgspec import Struct

from gatewayz.core.ceiling import Ceiling
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos


class HoldOrder(Struct, frozen=True, kw_only=True):
    """Reserve what a call may cost; refused when the wallet or a budget has less than the least.

    How much that is within the ceiling is decided here, by what is free when the wallet is locked.
    `owner` is the process that holds; `budgets` are the subjects whose budgets count.
    Example: HoldOrder(call="01JE…", account="acme", ceiling=Ceiling(Nanos(4200)))
    """

    call: str
    account: str
    ceiling: Ceiling
    key: str = ""
    owner: str = ""
    budgets: tuple[str, ...] = ()
    deadline_ms: int = 0


class ExtendOrder(Struct, frozen=True, kw_only=True):
    """Reserve as much more for a call that holds already."""

    call: str
    account: str
    amount: Nanos


class SettleOrder(Struct, frozen=True, kw_only=True):
    """End a call: take its cost, give back the rest, keep its record.

    A second one finds the record and does nothing. `rows` are the record's rows by table, `answer`
    what an idempotent replay needs (`None`: not kept). The names of the fields are those of lines
    in the journal on disk, so they never change.
    """

    call: str
    account: str
    cost: Nanos
    rows: Any = None
    replay_key: str = ""
    answer: bytes | None = None
    budgets: tuple[str, ...] = ()


class ReleaseOrder(Struct, frozen=True, kw_only=True):
    """Give a hold back: its call never was (`release`), or has not ended in time (`expire`)."""

    call: str
    account: str
    how: Literal["release", "expire"] = "release"


class MoveOrder(Struct, frozen=True, kw_only=True):
    """Money in or out, named by `id`, which moves once: top-ups, grants, refunds, adjustments.

    `side` is the wallet's, `counter` the other account of the ledger; `amount` below zero takes
    away, clamped to what is there unless `exact`. `refunds`: the call whose charge is given back,
    never more than it took from this side of the wallet.
    Example: MoveOrder(id="topup:bank:7", account="acme", kind="topup", counter="cash:bank", …)
    """

    id: str
    account: str
    kind: Literal["topup", "grant", "adjust", "refund", "chargeback", "refund_call"]
    counter: str
    amount: Nanos
    side: Literal["paid", "promo"] = "paid"
    exact: bool = False
    expires_ms: int | None = None
    refunds: str = ""
    note: str = ""


class ExpireGrantsOrder(Struct, frozen=True, kw_only=True):
    """Take back what is left of grants that have ended. Every other order does so first, too."""

    account: str


Order = HoldOrder | ExtendOrder | SettleOrder | ReleaseOrder | MoveOrder | ExpireGrantsOrder


class OrderResult(Struct, frozen=True, kw_only=True):
    """What became of an order.

    `applied` says whether it did something, `moved` how much, `fault` why it was refused. `budget`
    is the subject whose budget refused it for good. `free` is what a hold could have taken at the
    most; `None` where nothing bounds it.
    """

    applied: bool = True
    moved: Nanos = Nanos(0)
    fault: Fault | None = None
    budget: str = ""
    free: Nanos | None = None
