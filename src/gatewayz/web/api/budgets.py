"""`/v1/account/budgets`, `/admin/budgets`: what accounts, keys and end users may spend."""

from typing import Literal

from gatewayz.control import accounts, budgets, delegation
from gatewayz.control.context import RequestContext
from gatewayz.core.faults import Fault
from gatewayz.core.money import nanos_from_usd
from gatewayz.ledger.values import Budget, Period
from gatewayz.web.api.shapes import (
    AccountIdQuery,
    Ctx,
    DeleteResponse,
    EndUser,
    EndUserQuery,
    Id,
    KeyIdQuery,
    ListResponse,
    RequestModel,
    ResponseModel,
    Usd,
    UsdAmount,
    full_list_response,
    money_fields,
)


class BudgetView(ResponseModel):
    """How much may be spent in a period, and how much of that is left."""

    object: Literal["budget"] = "budget"
    account: str
    subject: str
    period: str
    since_ms: int
    limit: Usd
    limit_nanos: int
    spent: Usd
    spent_nanos: int
    held: Usd
    held_nanos: int
    left: Usd
    left_nanos: int


class PutBudgetRequest(RequestModel):
    """A budget of a key or of an end user: one of the two is named."""

    key_id: Id | None = None
    end_user: EndUser | None = None
    limit: UsdAmount
    period: Period = "total"


class PutAnyBudgetRequest(PutBudgetRequest):
    """A budget of an account, or of one of its keys or end users if one is named."""

    account: Id


def budget_view(budget: Budget) -> BudgetView:
    """A budget as it is shown."""
    left = max(budget.limit - budget.spent - budget.held, 0)
    return BudgetView(
        account=budget.account,
        subject=budget.subject,
        period=budget.period,
        since_ms=budget.period_start_ms,
        **money_fields(limit=budget.limit, spent=budget.spent, held=budget.held, left=left),
    )


def budget_subject(account: str, key_id: str, end_user: str, *, or_account: bool = False) -> str:
    """Whose budget is meant. `or_account`: it is the account's own where neither is named.

    Faults: `bad_request` if both are named, or neither although one must be.
    """
    if key_id and end_user:
        raise Fault("bad_request", "Name either key_id or end_user, not both.", param="key_id")
    if key_id:
        return budgets.key_subject(key_id)
    if end_user:
        return budgets.end_user_subject(account, end_user)
    if or_account:
        return budgets.account_subject(account)
    raise Fault("bad_request", "Name one of key_id and end_user.", param="key_id")


async def list_budgets(ctx: Ctx) -> ListResponse[BudgetView]:
    """The budgets of the account, its keys and end users, or those that count for this key."""
    rows = await budgets.list_budgets(ctx.database, ctx.account, ctx.now_ms)
    if not ctx.has_account_scope:
        own = {
            budgets.key_subject(ctx.principal.key),
            budgets.account_subject(ctx.account),
        }
        rows = [budget for budget in rows if budget.subject in own]
    return full_list_response([budget_view(budget) for budget in rows])


async def put_budget(ctx: Ctx, body: PutBudgetRequest) -> BudgetView:
    """Set how much a key or an end user may spend; it counts from now on."""
    subject = budget_subject(ctx.account, body.key_id or "", body.end_user or "")
    limit = budgets.BudgetLimit(amount=nanos_from_usd(body.limit), period=body.period)
    await _check_change(ctx, subject, limit)
    return await _put_budget(ctx, ctx.account, subject, body)


async def delete_budget(
    ctx: Ctx, key_id: KeyIdQuery = "", end_user: EndUserQuery = ""
) -> DeleteResponse:
    """Remove the budget of a key or of an end user."""
    subject = budget_subject(ctx.account, key_id, end_user)
    await _check_change(ctx, subject, None)
    await budgets.delete_budget(ctx.transaction, ctx.account, subject)
    return DeleteResponse(id=subject, object="budget")


async def _check_change(
    ctx: RequestContext, subject: str, limit: budgets.BudgetLimit | None
) -> None:
    """Customers tighten what the operator set, and never their own key's. Faults: `forbidden`."""
    if "operator" in ctx.principal.scopes:
        return
    current = await budgets.find_budget(ctx.database, ctx.account, subject, ctx.now_ms)
    own = budgets.key_subject(ctx.principal.key)
    await delegation.check_budget(ctx.database, ctx.account, subject, limit, own, current)


async def list_any_budgets(ctx: Ctx, account: AccountIdQuery) -> ListResponse[BudgetView]:
    """The budgets of an account, its keys and its end users."""
    # An account that is not there is a fault, not an empty list.
    await accounts.get_account(ctx.database, account)
    rows = await budgets.list_budgets(ctx.database, account, ctx.now_ms)
    return full_list_response([budget_view(budget) for budget in rows])


async def put_any_budget(ctx: Ctx, body: PutAnyBudgetRequest) -> BudgetView:
    """Set how much an account, a key or an end user may spend; it counts from now on."""
    subject = budget_subject(body.account, body.key_id or "", body.end_user or "", or_account=True)
    return await _put_budget(ctx, body.account, subject, body)


async def delete_any_budget(
    ctx: Ctx, account: AccountIdQuery, key_id: KeyIdQuery = "", end_user: EndUserQuery = ""
) -> DeleteResponse:
    """Remove the budget of an account, or of one of its keys or end users."""
    subject = budget_subject(account, key_id, end_user, or_account=True)
    await budgets.delete_budget(ctx.transaction, account, subject)
    return DeleteResponse(id=subject, object="budget")


async def _put_budget(
    ctx: RequestContext, account: str, subject: str, body: PutBudgetRequest
) -> BudgetView:
    limit = budgets.BudgetLimit(amount=nanos_from_usd(body.limit), period=body.period)
    await budgets.put_budget(ctx.transaction, account, subject, limit)
    rows = await budgets.list_budgets(ctx.database, account, ctx.now_ms)
    return next(budget_view(budget) for budget in rows if budget.subject == subject)
