"""`/admin/accounts` and `/admin/users`: who has a wallet, how it is billed, who its people are and what they may."""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from gatewayz.core.access import Role
from gatewayz.core.faults import Fault
from gatewayz.ledger.values import Billing
from gatewayz.store.sql import accounts, users
from gatewayz.store.sql.accounts import AccountRules, Status
from gatewayz.store.sql.users import User
from gatewayz.web.api.account import AccountShown, account_shown
from gatewayz.web.api.shapes import (
    Given,
    Here,
    Id,
    Listed,
    Name,
    Shown,
    Sliced,
    UsdGiven,
    nanos,
    sliced,
)
from gatewayz.web.api.visit import Visit

Of = Annotated[str, Query(max_length=128, description="Only this account's")]
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


class AccountGiven(Given):
    """A new account. `credit_line` goes with billing by credit."""

    id: Annotated[str, Field(pattern=f"^{accounts.ID.pattern}$")] | None = None
    name: Annotated[str, Field(min_length=1, max_length=accounts.MAX_NAME)]
    billing: Billing = "prepaid"
    credit_line: UsdGiven = "0"


class AccountChanged(Given):
    """What shall be another; what is left out stays."""

    name: Annotated[str, Field(min_length=1, max_length=accounts.MAX_NAME)] | None = None
    status: Status | None = None
    billing: Billing | None = None
    credit_line: UsdGiven | None = None
    markup_bp: Markup | None = None
    limits: AccountLimits | None = None
    models: Models | None = None


class UserShown(Shown):
    """A person of an account."""

    id: str
    object: Literal["user"] = "user"
    account: str
    email: str
    name: str
    role: str
    created_ms: int
    disabled_ms: int | None


class UserGiven(Given):
    """A new person."""

    account: Id
    email: Annotated[str, Field(max_length=256)]
    role: Role = "member"
    name: Name = ""


class UserChanged(Given):
    """What shall be another; what is left out stays."""

    role: Role | None = None
    disabled: bool | None = None


def user_shown(user: User) -> UserShown:
    """A person as they are shown."""
    return UserShown(
        **{name: getattr(user, name) for name in UserShown.model_fields if name != "object"}
    )


async def several(here: Here, cut: Sliced) -> Listed[AccountShown]:
    """All accounts and what they have, in the order of their ids."""
    found, more = await accounts.several(here.database, cut)
    return sliced(more, [account_shown(one) for one in found])


async def create(here: Here, given: AccountGiven) -> AccountShown:
    """Create an account with an empty wallet."""
    line = nanos(given.credit_line)
    made = await accounts.create(
        here.desk, given.name, given.billing, credit_line=line, account=given.id or ""
    )
    return account_shown(made)


async def show(here: Here, id: Id) -> AccountShown:
    """An account: what it has, how it is billed, what holds for its keys."""
    return account_shown(await accounts.one(here.database, id))


async def change(here: Here, id: Id, given: AccountChanged) -> AccountShown:
    """Change an account's name, status, billing, markup, limits or models."""
    account = await accounts.one(here.database, id)
    said = given.model_fields_set
    if given.credit_line is not None and given.billing is None:
        raise Fault(
            "bad_request",
            "A credit line is set together with billing: credit.",
            param="credit_line",
        )
    if given.billing is not None:
        await accounts.set_billing(here.desk, id, given.billing, nanos(given.credit_line or "0"))
    if "limits" in said or "models" in said:
        limits = (
            account.rules.limits
            if given.limits is None
            else {str(name): n for name, n in given.limits.items()}
        )
        models = account.rules.models if given.models is None else tuple(given.models)
        await accounts.set_rules(here.desk, id, AccountRules(limits=limits, models=models))
    if "markup_bp" in said:
        await accounts.set_markup(here.desk, id, given.markup_bp)
    if given.name is not None:
        await accounts.rename(here.desk, id, given.name)
    if given.status is not None:
        await accounts.set_status(here.desk, id, given.status)
    return account_shown(await accounts.one(here.database, id))


async def people(here: Here, cut: Sliced, account: Of = "") -> Listed[UserShown]:
    """The people of an account, or of all; the oldest first."""
    found, more = await users.several(here.database, account, cut)
    return sliced(more, [user_shown(one) for one in found])


async def add_person(here: Here, given: UserGiven) -> UserShown:
    """Add a person to an account."""
    return user_shown(
        await users.create(here.desk, given.account, given.email, given.role, given.name)
    )


async def person(here: Here, id: Id) -> UserShown:
    """A person, by id."""
    return await _person(here, id)


async def change_person(here: Here, id: Id, given: UserChanged) -> UserShown:
    """Give a person another role, refuse them and their keys, or let them go on."""
    account = await users.owner(here.database, id)
    if given.role is not None:
        await users.set_role(here.desk, account, id, given.role)
    if given.disabled is not None:
        await (users.disable if given.disabled else users.enable)(here.desk, account, id)
    return await _person(here, id)


async def _person(here: Visit, user_id: str) -> UserShown:
    account = await users.owner(here.database, user_id)
    return user_shown(await users.one(here.database, account, user_id))
