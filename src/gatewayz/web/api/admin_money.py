"""`/admin/credits`: money in and out of wallets, what was booked, and whether the books add up."""

from typing import Annotated, Literal

from fastapi import Query, Response
from pydantic import ConfigDict, Field

from gatewayz.core.faults import Fault
from gatewayz.store.sql import accounts, calls, credits
from gatewayz.store.sql.calls import Whose
from gatewayz.store.sql.checking import violations
from gatewayz.store.sql.credits import Moved, Payment, Teller
from gatewayz.store.sql.usage import By
from gatewayz.web.api.account import (
    AccountShown,
    Asked,
    Transaction,
    UsageShown,
    account_shown,
    booked,
    usage_answered,
)
from gatewayz.web.api.admin_accounts import Of
from gatewayz.web.api.admin_keys import Account
from gatewayz.web.api.export import AsCsv
from gatewayz.web.api.shapes import (
    Given,
    Here,
    Id,
    Listed,
    Moment,
    Shown,
    Sliced,
    Usd,
    UsdGiven,
    UsdMoved,
    money,
    nanos,
)
from gatewayz.web.api.visit import Visit

MovementId = Annotated[
    str,
    Field(
        pattern=f"^{credits.NAME.pattern}$",
        description="An id of your own: the same id moves money once",
    ),
]


class GrantShown(Shown):
    """Money that was given, until it expires if it does."""

    id: str
    amount: Usd
    amount_nanos: int
    expires_ms: int | None
    created_ms: int


class PaymentShown(Shown):
    """Money that came in from outside, and how much of it went back."""

    id: str
    source: str
    status: str
    amount: Usd
    amount_nanos: int
    refunded: Usd
    refunded_nanos: int
    created_ms: int


class CreditsShown(Shown):
    """What an account has, was given and has paid."""

    account: AccountShown
    grants: list[GrantShown]
    payments: list[PaymentShown]


class Movement(Shown):
    """What moved, now or (`fresh` is false) before; and what the account has since."""

    id: str
    object: Literal["movement"] = "movement"
    amount: Usd
    amount_nanos: int
    fresh: bool
    account: AccountShown


class TopUp(Given):
    """Money that was paid; `id` is the payment's where it came from."""

    account: Id
    amount: UsdGiven
    source: MovementId = "manual"
    id: MovementId | None = None


class GrantGiven(Given):
    """Money that is given; it is spent before what was paid."""

    account: Id
    amount: UsdGiven
    expires_ms: Moment | None = None
    id: MovementId | None = None


class Adjustment(Given):
    """A correction, up or down, never by more than there is."""

    account: Id
    amount: UsdMoved
    why: Annotated[str, Field(min_length=1, max_length=credits.MAX_NOTE)]
    id: MovementId | None = None


class RefundGiven(Given):
    """Gives back what a call took, or money to whoever paid: all that is left of it, or a part."""

    call: Id | None = None
    payment: Id | None = None
    amount: UsdGiven | None = None
    chargeback: bool = False
    id: MovementId | None = None


class ViolationShown(Shown):
    """One thing that is not as it must be."""

    check: str
    subject: str
    says: str


class CheckShown(Shown):
    """Whether the books add up, and what does not."""

    adds_up: bool
    violations: list[ViolationShown]


class UsageAsked(Given):
    """What to sum by, whose, over which time."""

    model_config = ConfigDict(extra="forbid", strict=False)

    by: By = "day"
    account: Annotated[str, Field(max_length=128)] = ""
    from_ms: Moment | None = None
    until_ms: Moment | None = None


ANSWERS = EXPORTED = {"transactions": Listed[Transaction], "usage_by": Listed[UsageShown]}


def _teller(here: Visit) -> Teller:
    return Teller(here.desk, here.office.commits)


async def _movement(here: Visit, account: str, moved: Moved) -> Movement:
    shown = account_shown(await accounts.one(here.database, account))
    return Movement(id=moved.id, fresh=moved.fresh, account=shown, **money(amount=moved.amount))


def _payment(one: Payment) -> PaymentShown:
    amounts = money(amount=one.amount, refunded=one.refunded)
    return PaymentShown(
        id=one.id, source=one.source, status=one.status, created_ms=one.created_ms, **amounts
    )


def _only_payment(given: RefundGiven) -> str:
    if given.call is not None or given.payment is None:
        raise Fault(
            "bad_request",
            "Name one of them: call or payment; a chargeback is of a payment.",
            param="payment",
        )
    return given.payment


async def show(here: Here, account: Account) -> CreditsShown:
    """What an account has, was given and has paid."""
    found = await accounts.one(here.database, account)
    grants = [
        GrantShown(
            id=row["id"],
            expires_ms=row["expires_ms"],
            created_ms=row["created_ms"],
            **money(amount=row["amount"]),
        )
        for row in await credits.grants(here.database, account)
    ]
    payments = [_payment(one) for one in await credits.payments(here.database, account)]
    return CreditsShown(account=account_shown(found), grants=grants, payments=payments)


async def topup(here: Here, given: TopUp) -> Movement:
    """Book money that was paid; the same payment is booked once."""
    moved = await _teller(here).topup(
        given.account, nanos(given.amount), given.source, here.named(given.id)
    )
    return await _movement(here, given.account, moved)


async def grant(here: Here, given: GrantGiven) -> Movement:
    """Give credit, until it expires if it does."""
    moved = await _teller(here).grant(
        given.account, nanos(given.amount), given.expires_ms, here.named(given.id)
    )
    return await _movement(here, given.account, moved)


async def adjust(here: Here, given: Adjustment) -> Movement:
    """Correct a wallet, up or down, never by more than it has."""
    moved = await _teller(here).adjust(
        given.account, nanos(given.amount), given.why, here.named(given.id)
    )
    return await _movement(here, given.account, moved)


async def refund(here: Here, given: RefundGiven) -> Movement:
    """Give back what a call took, or money to whoever paid it; never more than there was."""
    amount = None if given.amount is None else nanos(given.amount)
    teller, name = _teller(here), here.named(given.id)
    if given.call is not None and given.payment is None and not given.chargeback:
        call = calls.call_id_of(given.call)
        account = await calls.owner(here.database, call)
        return await _movement(here, account, await teller.refund_call(account, call, amount, name))
    payment = _only_payment(given)
    account = await credits.payment_owner(here.database, payment)
    moved = await teller.refund_payment(account, payment, amount, name, chargeback=given.chargeback)
    return await _movement(here, account, moved)


async def transactions(
    here: Here, cut: Sliced, csv: AsCsv, account: Of = ""
) -> Listed[Transaction] | Response:
    """What was booked for an account, or for all; the newest first."""
    return await booked(here, account, cut, csv)


async def usage_by(
    here: Here, csv: AsCsv, asked: Annotated[UsageAsked, Query()]
) -> Listed[UsageShown] | Response:  # fmt: skip
    """What the calls of an account, or of all, came to, by day, model, provider, key, end user or tag."""
    return await usage_answered(
        here, Whose(asked.account), Asked(asked.by, asked.from_ms, asked.until_ms), csv
    )


async def check(here: Here) -> CheckShown:
    """Check that the books add up: each balance is the sum of its transfers, each cost was booked, each hold ends."""
    found = await violations(here.database, here.now_ms)
    shown = [ViolationShown(check=one.check, subject=one.subject, says=one.says) for one in found]
    return CheckShown(adds_up=not shown, violations=shown)
