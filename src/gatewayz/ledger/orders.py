"""Orders: what the books can be asked to do. Each is carried out once, in a transaction with many others."""

from typing import Any, Literal

from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos


class Hold(Struct, frozen=True, kw_only=True):
    """Reserve `amount` for a call; refused when the wallet or a budget has less."""

    call: str
    account: str
    amount: Nanos
    key: str = ""
    owner: str = ""
    budgets: tuple[str, ...] = ()
    deadline_ms: int = 0


class Extend(Struct, frozen=True, kw_only=True):
    """Reserve as much more for a call that holds already."""

    call: str
    account: str
    amount: Nanos


class Settle(Struct, frozen=True, kw_only=True):
    """End a call: take its cost, give back the rest, keep its record. A second one finds the record and does nothing.

    `rows` are the record's rows by table, `answer` what an idempotent replay needs (`None`: not kept).
    """

    call: str
    account: str
    cost: Nanos
    rows: Any = None
    replay_key: str = ""
    answer: bytes | None = None
    budgets: tuple[str, ...] = ()


class Release(Struct, frozen=True, kw_only=True):
    """Give a hold back: its call never was, or whoever held has died (`how`)."""

    call: str
    account: str
    how: Literal["release", "expire"] = "release"


class Move(Struct, frozen=True, kw_only=True):
    """Money in or out, named by `id`, which moves once: top-ups, grants, refunds, adjustments.

    `side` is the wallet's; `amount` below zero takes away, clamped to what is there unless `exact`.
    `refunds`: the call whose charge is given back, never more than it took from this side of the wallet.
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


class Sweep(Struct, frozen=True, kw_only=True):
    """Take back what is left of grants that have ended. Every other order does so first, too."""

    account: str


Order = Hold | Extend | Settle | Release | Move | Sweep


class Done(Struct, frozen=True, kw_only=True):
    """What became of an order: `fresh` if it did something, `moved` how much, `fault` why it was refused.

    `budget` is the subject whose budget refused it for good.
    """

    fresh: bool = True
    moved: Nanos = Nanos(0)
    fault: Fault | None = None
    budget: str = ""
