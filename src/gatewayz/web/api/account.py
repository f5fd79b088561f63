"""`/v1/account`: what an account has, what its calls came to, what was booked, how much may be spent."""

from typing import Annotated, Any, Literal, NamedTuple

from fastapi import Query, Response
from pydantic import Field

from gatewayz.core.faults import Fault
from gatewayz.core.labels import MAX_END_USER
from gatewayz.ledger.values import Budget, Period
from gatewayz.store.sql import accounts, budgets, credits, usage
from gatewayz.store.sql.accounts import Account
from gatewayz.store.sql.calls import Whose
from gatewayz.store.sql.records import DAY_MS
from gatewayz.store.sql.slices import Cut
from gatewayz.store.sql.usage import By, Span
from gatewayz.web.api.export import AsCsv, exported
from gatewayz.web.api.shapes import (
    Done,
    FromMs,
    Given,
    Here,
    Id,
    Listed,
    Shown,
    Sliced,
    UntilMs,
    Usd,
    UsdGiven,
    money,
    nanos,
    sliced,
    whole,
)
from gatewayz.web.api.visit import Visit

USUAL_DAYS = 30
EndUser = Annotated[
    str, Query(max_length=MAX_END_USER, description="Whom requests name as their user")
]
KeyOf = Annotated[str, Query(max_length=128, description="The id of a key")]


class AccountShown(Shown):
    """An account. `balance` is what calls can still spend; `paid` may be below zero on a credit line."""

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
    created_ms: int


class UsageShown(Shown):
    """What the calls of one group came to."""

    name: str
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost: Usd
    cost_nanos: int


class Transaction(Shown):
    """One movement of money between two accounts of the ledger."""

    id: str
    object: Literal["transaction"] = "transaction"
    at_ms: int
    kind: str
    debit: str
    credit: str
    amount: Usd
    amount_nanos: int
    call: str | None
    note: str


class BudgetShown(Shown):
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


class BudgetGiven(Given):
    """A budget of a key or of an end user: one of the two is named."""

    key_id: Id | None = None
    end_user: Annotated[str, Field(min_length=1, max_length=MAX_END_USER)] | None = None
    limit: UsdGiven
    period: Period = "total"


def account_shown(account: Account) -> AccountShown:
    """An account as it is shown."""
    spendable = max(account.paid + account.promo - account.floor, 0)
    amounts = money(
        balance=spendable,
        paid=account.paid,
        promo=account.promo,
        held=account.held,
        credit_line=-account.floor,
    )
    return AccountShown(
        id=account.id,
        name=account.name,
        billing=account.billing,
        status=account.status,
        markup_bp=account.markup_bp,
        limits=account.rules.limits,
        models=list(account.rules.models),
        created_ms=account.created_ms,
        **amounts,
    )


def budget_shown(budget: Budget) -> BudgetShown:
    """A budget as it is shown."""
    left = max(budget.limit - budget.spent - budget.held, 0)
    return BudgetShown(
        account=budget.account,
        subject=budget.subject,
        period=budget.period,
        since_ms=budget.period_ms,
        **money(limit=budget.limit, spent=budget.spent, held=budget.held, left=left),
    )


def transaction(row: dict[str, Any]) -> Transaction:
    """A transfer as it is shown."""
    return Transaction(
        id=row["id"],
        at_ms=row["at_ms"],
        kind=row["kind"],
        debit=row["debit"],
        credit=row["credit"],
        call=row["call_id"] or None,
        note=row["note"],
        **money(amount=row["amount"]),
    )


ANSWERS = EXPORTED = {"usage_by": Listed[UsageShown], "transactions": Listed[Transaction]}


async def show(here: Here) -> AccountShown:
    """The account: what it has, how it is billed, what holds for its keys."""
    return account_shown(await accounts.one(here.database, here.who.account))


class Asked(NamedTuple):
    """What to sum by, and over which time; the last thirty days unless something else is asked for."""

    by: By
    from_ms: int | None
    until_ms: int | None


async def usage_of(here: Visit, whose: Whose, asked: Asked) -> Listed[UsageShown]:
    """Usage as it is shown."""
    until = here.now_ms + 1 if asked.until_ms is None else asked.until_ms
    span = Span(
        max(until - USUAL_DAYS * DAY_MS, 0) if asked.from_ms is None else asked.from_ms, until
    )
    groups = await usage.summed(here.database, whose, asked.by, span)
    return whole(
        [
            UsageShown(
                name=group.name,
                calls=group.calls,
                failed=group.failed,
                input_tokens=group.input_tokens,
                output_tokens=group.output_tokens,
                **money(cost=group.cost),
            )
            for group in groups
        ]
    )


async def usage_answered(
    here: Visit, whose: Whose, asked: Asked, csv: AsCsv
) -> Listed[UsageShown] | Response:
    """Usage of somebody, also as a file."""
    if not csv:
        return await usage_of(here, whose, asked)
    return await exported(here, "usage", UsageShown, lambda _: usage_of(here, whose, asked))


async def usage_by(
    here: Here,
    csv: AsCsv,
    by: Annotated[By, Query(description="What to sum by")] = "day",
    from_ms: FromMs = None,
    until_ms: UntilMs = None,
) -> Listed[UsageShown] | Response:
    """What calls came to, by day, model, provider, key, end user or tag."""
    return await usage_answered(here, here.whose, Asked(by, from_ms, until_ms), csv)


async def booked(here: Visit, account: str, cut: Cut, csv: AsCsv) -> Listed[Transaction] | Response:
    """What was booked for somebody: a slice, or all of it as a file."""

    async def page(cut: Cut) -> Listed[Transaction]:
        found = await credits.booked(here.database, account, cut)
        return sliced(found, [transaction(row) for row in found.rows])

    return (
        await exported(here, "transactions", Transaction, page, cut.after)
        if csv
        else await page(cut)
    )


async def transactions(here: Here, cut: Sliced, csv: AsCsv) -> Listed[Transaction] | Response:
    """What was booked, the newest first."""
    return await booked(here, here.who.account, cut, csv)


async def list_budgets(here: Here) -> Listed[BudgetShown]:
    """The budgets: the account's and its keys' and end users', or those that this key counts against."""
    found = await budgets.listed(here.database, here.who.account, here.now_ms)
    if not here.keeps_account:
        own = {budgets.of_key(here.who.key), budgets.of_account(here.who.account)}
        found = [one for one in found if one.subject in own]
    return whole([budget_shown(one) for one in found])


def subject_of(account: str, key_id: str | None, end_user: str | None) -> str:
    """Whose budget is meant. Faults: `bad_request` unless exactly one is named."""
    if bool(key_id) == bool(end_user):
        raise Fault("bad_request", "Name one of them: key_id or end_user.", param="key_id")
    return budgets.of_key(key_id) if key_id else budgets.of_end_user(account, end_user or "")


async def put_budget(here: Here, given: BudgetGiven) -> BudgetShown:
    """Set how much a key or an end user may spend; it counts from now on."""
    account = here.who.account
    subject = subject_of(account, given.key_id, given.end_user)
    await budgets.put(
        here.desk, account, subject, budgets.Limit(amount=nanos(given.limit), period=given.period)
    )
    found = await budgets.listed(here.database, account, here.now_ms)
    return next(budget_shown(one) for one in found if one.subject == subject)


async def remove_budget(here: Here, key_id: KeyOf = "", end_user: EndUser = "") -> Done:
    """Take a budget away."""
    subject = subject_of(here.who.account, key_id, end_user)
    await budgets.remove(here.desk, here.who.account, subject)
    return Done(id=subject, object="budget")
