"""`/admin/credits`: money in and out of wallets, and whether the books add up."""

from typing import Annotated, Literal

from pydantic import Field

from gatewayz.control import accounts, calls, credits, payments, transfers
from gatewayz.control.context import RequestContext
from gatewayz.control.credits import Credits, MoveResult
from gatewayz.control.payments import Payment
from gatewayz.core.faults import Fault
from gatewayz.core.money import nanos_from_usd
from gatewayz.web.api.accounts import AccountView, account_view
from gatewayz.web.api.shapes import (
    AccountIdQuery,
    Ctx,
    Id,
    Moment,
    RequestModel,
    ResponseModel,
    SignedUsdAmount,
    Usd,
    UsdAmount,
    ViolationView,
    money_fields,
)

MovementId = Annotated[
    str,
    Field(
        pattern=f"^{credits.NAME.pattern}$",
        description="An id of your own: the same id moves money once",
    ),
]


class GrantView(ResponseModel):
    """Money that was given, until it expires if it does."""

    id: str
    amount: Usd
    amount_nanos: int
    expires_ms: int | None
    created_ms: int


class PaymentView(ResponseModel):
    """Money that came in from outside, and how much of it went back."""

    id: str
    source: str
    status: str
    amount: Usd
    amount_nanos: int
    refunded: Usd
    refunded_nanos: int
    created_ms: int


class CreditsView(ResponseModel):
    """What an account has, was given and has paid."""

    account: AccountView
    grants: list[GrantView]
    payments: list[PaymentView]


class MovementView(ResponseModel):
    """What moved, now or (`fresh` is false) before; and what the account has since."""

    id: str
    object: Literal["movement"] = "movement"
    amount: Usd
    amount_nanos: int
    fresh: bool
    account: AccountView


class CreateTopupRequest(RequestModel):
    """Money that was paid; `id` is the payment's where it came from."""

    account: Id
    amount: UsdAmount
    source: MovementId = "manual"
    id: MovementId | None = None


class CreateGrantRequest(RequestModel):
    """Money that is given; it is spent before what was paid."""

    account: Id
    amount: UsdAmount
    expires_ms: Moment | None = None
    id: MovementId | None = None


class CreateAdjustmentRequest(RequestModel):
    """A correction, up or down, never by more than there is."""

    account: Id
    amount: SignedUsdAmount
    why: Annotated[str, Field(min_length=1, max_length=credits.MAX_NOTE)]
    id: MovementId | None = None


class CreateRefundRequest(RequestModel):
    """Gives back what a call took, or money to whoever paid: all that is left of it, or a part."""

    call: Id | None = None
    payment: Id | None = None
    amount: UsdAmount | None = None
    chargeback: bool = False
    id: MovementId | None = None


class LedgerCheckView(ResponseModel):
    """Whether the books add up, and what does not."""

    adds_up: bool
    violations: list[ViolationView]


def payment_view(payment: Payment) -> PaymentView:
    """A payment as it is shown."""
    return PaymentView(
        id=payment.id,
        source=payment.source,
        status=payment.status,
        created_ms=payment.created_ms,
        **money_fields(amount=payment.amount, refunded=payment.refunded),
    )


async def get_credits(ctx: Ctx, account: AccountIdQuery) -> CreditsView:
    """What an account has, was given and has paid."""
    wallet = await accounts.get_account(ctx.database, account)
    grants = [
        GrantView(
            id=row["id"],
            expires_ms=row["expires_ms"],
            created_ms=row["created_ms"],
            **money_fields(amount=row["amount"]),
        )
        for row in await transfers.list_grants(ctx.database, account)
    ]
    paid = [
        payment_view(payment) for payment in await payments.list_payments(ctx.database, account)
    ]
    return CreditsView(account=account_view(wallet), grants=grants, payments=paid)


async def create_topup(ctx: Ctx, body: CreateTopupRequest) -> MovementView:
    """Book money that was paid; the same payment is booked once."""
    name = ctx.movement_name(body.id)
    result = await _credits(ctx).topup(body.account, nanos_from_usd(body.amount), body.source, name)
    return await _movement_view(ctx, body.account, result)


async def create_grant(ctx: Ctx, body: CreateGrantRequest) -> MovementView:
    """Give credit, until it expires if it does."""
    name = ctx.movement_name(body.id)
    result = await _credits(ctx).grant(
        body.account, nanos_from_usd(body.amount), body.expires_ms, name
    )
    return await _movement_view(ctx, body.account, result)


async def create_adjustment(ctx: Ctx, body: CreateAdjustmentRequest) -> MovementView:
    """Correct a wallet, up or down, never by more than it has."""
    name = ctx.movement_name(body.id)
    result = await _credits(ctx).adjust(body.account, nanos_from_usd(body.amount), body.why, name)
    return await _movement_view(ctx, body.account, result)


async def create_refund(ctx: Ctx, body: CreateRefundRequest) -> MovementView:
    """Give back what a call took, or money to whoever paid it; never more than there was."""
    amount = None if body.amount is None else nanos_from_usd(body.amount)
    name = ctx.movement_name(body.id)

    if body.call is not None and body.payment is None and not body.chargeback:
        call = calls.parse_call_id(body.call)
        account = await calls.account_of_call(ctx.database, call)
        result = await _credits(ctx).refund_call(account, call, amount, name)
        return await _movement_view(ctx, account, result)

    payment = _payment_of(body)
    account = await payments.account_of_payment(ctx.database, payment)
    result = await _credits(ctx).refund_payment(
        account, payment, amount, name, chargeback=body.chargeback
    )
    return await _movement_view(ctx, account, result)


async def check_ledger(ctx: Ctx) -> LedgerCheckView:
    """Check the books: balances are the sums of their transfers, costs are booked, holds end."""
    views = [
        ViolationView(check=violation.check, subject=violation.subject, message=violation.says)
        for violation in await transfers.check_ledger(ctx.database, ctx.now_ms)
    ]
    return LedgerCheckView(adds_up=not views, violations=views)


def _credits(ctx: RequestContext) -> Credits:
    return Credits(ctx.transaction, ctx.control.commits)


def _payment_of(body: CreateRefundRequest) -> str:
    if body.call is not None or body.payment is None:
        raise Fault(
            "bad_request",
            "Name either call or payment; a chargeback is of a payment.",
            param="payment",
        )
    return body.payment


async def _movement_view(ctx: RequestContext, account: str, result: MoveResult) -> MovementView:
    return MovementView(
        id=result.id,
        fresh=result.fresh,
        account=account_view(await accounts.get_account(ctx.database, account)),
        **money_fields(amount=result.amount),
    )
