"""`/v1/account`, `/admin/accounts`: who has a wallet, how it is billed, what holds for its keys."""

from typing import Annotated, Literal

from msgspec import UNSET
from pydantic import Field

from gatewayz.control import accounts
from gatewayz.control.accounts import Account, AccountUpdate, Status
from gatewayz.core.faults import Fault
from gatewayz.core.money import nanos_from_usd
from gatewayz.ledger.values import Billing
from gatewayz.web.api.shapes import (
    Ctx,
    Id,
    ListResponse,
    PageCursor,
    RequestModel,
    ResponseModel,
    Usd,
    UsdAmount,
    list_response,
    money_fields,
)

AccountName = Annotated[str, Field(min_length=1, max_length=accounts.MAX_NAME)]
Markup = Annotated[
    int, Field(ge=0, le=accounts.MAX_MARKUP_BP, description="Hundredths of a percent on the price")
]
AccountLimits = Annotated[
    dict[
        Literal["key_rpm", "key_per_day", "key_concurrency", "account_rpm", "account_concurrency"],
        Annotated[int, Field(ge=1, le=10**9)],
    ],
    Field(description="In the place of the installation's"),
]
Models = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=1_000)
]

Caching = Annotated[
    Literal["auto", "off"],
    Field(description="auto: prompts are marked for caching where the model caches by mark"),
]


class AccountView(ResponseModel):
    """An account. `balance` is what calls can spend; `paid` may be below zero on a credit line."""

    id: str
    object: Literal["account"] = "account"
    name: str
    billing: str
    status: str
    balance: Usd
    balance_nanos: int
    paid: Usd
    paid_nanos: int
    promo: Usd
    promo_nanos: int
    held: Usd
    held_nanos: int
    credit_line: Usd
    credit_line_nanos: int
    markup_bp: int | None
    limits: dict[str, int]
    models: list[str]
    caching: Caching
    created_ms: int


class CreateAccountRequest(RequestModel):
    """A new account. `credit_line` goes with billing by credit."""

    id: Annotated[str, Field(pattern=f"^{accounts.ID.pattern}$")] | None = None
    name: AccountName
    billing: Billing = "prepaid"
    credit_line: UsdAmount = "0"


class UpdateAccountRequest(RequestModel):
    """What to change; a field that is left out stays."""

    name: AccountName | None = None
    status: Status | None = None
    billing: Billing | None = None
    credit_line: UsdAmount | None = None
    markup_bp: Markup | None = None
    limits: AccountLimits | None = None
    models: Models | None = None
    caching: Caching | None = None


def account_view(account: Account) -> AccountView:
    """An account as it is shown."""
    spendable = max(account.paid + account.promo - account.floor, 0)
    amounts = money_fields(
        balance=spendable,
        paid=account.paid,
        promo=account.promo,
        held=account.held,
        credit_line=-account.floor,
    )
    return AccountView(
        id=account.id,
        name=account.name,
        billing=account.billing,
        status=account.status,
        markup_bp=account.markup_bp,
        limits=account.rules.limits,
        models=list(account.rules.models),
        caching="auto" if account.caching == "auto" else "off",
        created_ms=account.created_ms,
        **amounts,
    )


async def get_account(ctx: Ctx) -> AccountView:
    """The account: its balance, how it is billed, what holds for its keys."""
    return account_view(await accounts.get_account(ctx.database, ctx.account))


async def list_accounts(ctx: Ctx, cursor: PageCursor) -> ListResponse[AccountView]:
    """All accounts and their balances, in the order of their ids."""
    rows, page = await accounts.list_accounts(ctx.database, cursor)
    return list_response(page, [account_view(account) for account in rows])


async def create_account(ctx: Ctx, body: CreateAccountRequest) -> AccountView:
    """Create an account with an empty wallet."""
    account = await accounts.create_account(
        ctx.transaction,
        body.name,
        body.billing,
        credit_line=nanos_from_usd(body.credit_line),
        account=body.id or "",
    )
    return account_view(account)


async def get_any_account(ctx: Ctx, id: Id) -> AccountView:
    """An account: its balance, how it is billed, what holds for its keys."""
    return account_view(await accounts.get_account(ctx.database, id))


async def update_account(ctx: Ctx, id: Id, body: UpdateAccountRequest) -> AccountView:
    """Change an account's name, status, billing, markup, limits, models or caching: all of it, or
    nothing.
    """
    if body.credit_line is not None and body.billing is None:
        raise Fault(
            "bad_request",
            "A credit line is set together with billing: credit.",
            param="credit_line",
        )
    limits, models = body.limits, body.models
    update = AccountUpdate(
        name=body.name,
        status=body.status,
        billing=body.billing,
        credit_line=nanos_from_usd(body.credit_line or "0"),
        markup_bp=body.markup_bp if "markup_bp" in body.model_fields_set else UNSET,
        limits=None if limits is None else {str(name): limits[name] for name in limits},
        models=None if models is None else tuple(models),
        caching=body.caching,
    )
    await accounts.update_account(ctx.transaction, id, update)
    return account_view(await accounts.get_account(ctx.database, id))
