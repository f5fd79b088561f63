"""`/admin/keys` and `/admin/budgets`: every account's keys, and what accounts, keys and end users may spend."""

from typing import Annotated

from fastapi import Query
from pydantic import Field

from gatewayz.core.faults import Fault
from gatewayz.core.labels import MAX_END_USER
from gatewayz.ledger.values import Period
from gatewayz.store.sql import accounts, budgets, keys
from gatewayz.store.sql.keys import Owner, Wish
from gatewayz.web.api.account import BudgetShown, EndUser, KeyOf, budget_shown
from gatewayz.web.api.admin_accounts import Of
from gatewayz.web.api.keys import (
    KeyChanged,
    KeyGiven,
    KeyMade,
    KeyShown,
    Rotation,
    change_of,
    key_made,
    key_shown,
    plain,
)
from gatewayz.web.api.shapes import (
    Done,
    Given,
    Here,
    Id,
    Listed,
    Sliced,
    UsdGiven,
    nanos,
    sliced,
    whole,
)

Account = Annotated[str, Query(min_length=1, max_length=128, description="The account's id")]


class AnyKeyGiven(KeyGiven):
    """What a new key shall be, and whose."""

    account: Id


class AnyBudgetGiven(Given):
    """A budget of an account, or of a key or an end user of it if one is named."""

    account: Id
    key_id: Id | None = None
    end_user: Annotated[str, Field(min_length=1, max_length=MAX_END_USER)] | None = None
    limit: UsdGiven
    period: Period = "total"


async def several(here: Here, cut: Sliced, account: Of = "") -> Listed[KeyShown]:
    """The keys of an account, or of all; the oldest first."""
    found, more = await keys.several(here.database, Owner(account), cut)
    return sliced(more, [key_shown(one, here.now_ms) for one in found])


async def create(here: Here, given: AnyKeyGiven) -> KeyMade:
    """Make a key for an account; its secret is shown in this answer and never again."""
    wish = Wish(
        account=given.account,
        user=given.user or "",
        name=given.name,
        scopes=tuple(given.scopes),
        models=tuple(given.models),
        addresses=tuple(given.addresses),
        limits=plain(given.limits),
        expires_ms=given.expires_ms,
    )
    secret, made = await keys.make(here.desk, wish)
    return key_made(secret, made, here.now_ms)


async def show(here: Here, id: Id) -> KeyShown:
    """A key of any account, without its secret."""
    return key_shown(
        await keys.one(here.database, await keys.owner(here.database, id), id), here.now_ms
    )


async def change(here: Here, id: Id, given: KeyChanged) -> KeyShown:
    """Change a key's name, models, addresses, limits or end."""
    account = await keys.owner(here.database, id)
    return key_shown(await keys.change(here.desk, account, id, change_of(given)), here.now_ms)


async def revoke(here: Here, id: Id) -> Done:
    """End a key for good; it is refused everywhere within two seconds."""
    await keys.revoke(here.desk, await keys.owner(here.database, id), id)
    return Done(id=id, object="key")


async def rotate(here: Here, id: Id, given: Rotation | None = None) -> KeyMade:
    """Make a key in the place of this one, which may do the same; the old one ends, at once or later."""
    keep_ms = (given.keep_s if given is not None else 0) * 1000
    secret, made = await keys.rotate(here.desk, await keys.owner(here.database, id), id, keep_ms)
    return key_made(secret, made, here.now_ms)


def _subject(account: str, key_id: str, end_user: str) -> str:
    if key_id and end_user:
        raise Fault(
            "bad_request",
            "Name one of them, key_id or end_user, or none for the account.",
            param="key_id",
        )
    if key_id:
        return budgets.of_key(key_id)
    return budgets.of_end_user(account, end_user) if end_user else budgets.of_account(account)


async def list_budgets(here: Here, account: Account) -> Listed[BudgetShown]:
    """The budgets of an account, its keys and its end users."""
    await accounts.one(here.database, account)
    return whole(
        [budget_shown(one) for one in await budgets.listed(here.database, account, here.now_ms)]
    )


async def put_budget(here: Here, given: AnyBudgetGiven) -> BudgetShown:
    """Set how much an account, a key or an end user may spend; it counts from now on."""
    subject = _subject(given.account, given.key_id or "", given.end_user or "")
    await budgets.put(
        here.desk,
        given.account,
        subject,
        budgets.Limit(amount=nanos(given.limit), period=given.period),
    )
    found = await budgets.listed(here.database, given.account, here.now_ms)
    return next(budget_shown(one) for one in found if one.subject == subject)


async def remove_budget(
    here: Here, account: Account, key_id: KeyOf = "", end_user: EndUser = ""
) -> Done:
    """Take a budget away."""
    subject = _subject(account, key_id, end_user)
    await budgets.remove(here.desk, account, subject)
    return Done(id=subject, object="budget")
