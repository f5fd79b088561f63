"""People of an account, and their roles. A role bounds what their keys can do, from the moment it is given or taken."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from msgspec import Struct
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from gatewayz.core.access import HOUSE, OWN_ROLES, Role
from gatewayz.core.calls import new_ulid
from gatewayz.core.faults import Fault
from gatewayz.store.sql.accounts import unknown
from gatewayz.store.sql.audit import Deed
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.desk import Desk
from gatewayz.store.sql.slices import Cut, Slice, sliced
from gatewayz.store.sql.tables import ACCOUNTS, USERS

EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
MAX_LISTED = 10_000


class User(Struct, frozen=True, kw_only=True):
    """A person. `disabled_ms`: since when they and their keys are refused."""

    id: str
    account: str
    email: str
    name: str = ""
    role: Role
    created_ms: int = 0
    disabled_ms: int | None = None


COLUMNS = tuple(
    USERS.c[name]
    for name in ("id", "account_id", "email", "name", "role", "created_ms", "disabled_ms")
)


def _user(row: Sequence[Any]) -> User:
    return User(**dict(zip(User.__struct_fields__, row, strict=True)))


async def listed(database: Database, account: str) -> list[User]:
    """The people of an account. Faults: `unavailable`."""
    wanted = (
        select(*COLUMNS).where(USERS.c.account_id == account).order_by(USERS.c.id).limit(MAX_LISTED)
    )
    async with database.begin(reading=True) as connection:
        return [_user(row) for row in (await connection.execute(wanted)).all()]


async def several(database: Database, account: str, cut: Cut) -> tuple[list[User], Slice]:
    """A slice of the people of an account, or of all if none is named; the oldest first."""
    wanted = select(*COLUMNS).where(USERS.c.account_id == account) if account else select(*COLUMNS)
    found = await sliced(database, wanted, (USERS.c.id,), cut)
    return [_user(tuple(row.values())) for row in found.rows], found


async def owner(database: Database, user_id: str) -> str:
    """Whose a person is, for the operator. Faults: `unknown_route`."""
    async with database.begin(reading=True) as connection:
        found = (
            await connection.execute(select(USERS.c.account_id).where(USERS.c.id == user_id))
        ).scalar()
    if found is None:
        raise _unknown(user_id)
    return str(found)


async def one(database: Database, account: str, word: str) -> User:
    """A person by id or e-mail address; another account's is as one that does not exist. Faults: `unknown_route`."""
    named = (USERS.c.id == word) | (USERS.c.email == word.lower())
    async with database.begin(reading=True) as connection:
        row = (
            await connection.execute(select(*COLUMNS).where(USERS.c.account_id == account, named))
        ).first()
    if row is None:
        raise _unknown(word)
    return _user(row)


async def create(desk: Desk, account: str, email: str, role: Role, name: str = "") -> User:
    """A new person. Faults: `bad_request`, `forbidden` for a role that the account cannot give, `unknown_route`."""
    if EMAIL.fullmatch(email) is None:
        raise Fault("bad_request", f"{email[:64]!r} is no e-mail address.")
    _may_have(account, role)
    user = User(
        id=new_ulid(),
        account=account,
        email=email.lower(),
        name=name,
        role=role,
        created_ms=desk.clock.wall_ms(),
    )
    row = {
        "id": user.id,
        "account_id": account,
        "email": user.email,
        "name": name,
        "role": role,
        "created_ms": user.created_ms,
    }
    deed = Deed(
        action="user.create",
        subject=user.id,
        account=account,
        detail={"email": user.email, "role": role},
    )
    try:
        async with desk.changing(deed) as connection:
            if (
                await connection.execute(select(ACCOUNTS.c.id).where(ACCOUNTS.c.id == account))
            ).first() is None:
                raise unknown(account)
            await connection.execute(insert(USERS).values(row))
    except IntegrityError:
        raise Fault("bad_request", f"The address {user.email} is used already.") from None
    return user


async def set_role(desk: Desk, account: str, user_id: str, role: Role) -> None:
    """Faults: `bad_request`, `forbidden`, `unknown_route`."""
    _may_have(account, role)
    await _set(
        desk,
        account,
        user_id,
        Deed(action="user.role", subject=user_id, detail={"role": role}),
        {"role": role},
    )


async def disable(desk: Desk, account: str, user_id: str) -> None:
    """Refuses a person and all their keys. Faults: `unknown_route`."""
    await _set(
        desk,
        account,
        user_id,
        Deed(action="user.disable", subject=user_id),
        {"disabled_ms": desk.clock.wall_ms()},
    )


async def enable(desk: Desk, account: str, user_id: str) -> None:
    """Faults: `unknown_route`."""
    await _set(
        desk, account, user_id, Deed(action="user.enable", subject=user_id), {"disabled_ms": None}
    )


async def _set(
    desk: Desk, account: str, user_id: str, deed: Deed, values: Mapping[str, Any]
) -> None:
    told = Deed(action=deed.action, subject=user_id, account=account, detail=deed.detail)
    async with desk.changing(told) as connection:
        own = update(USERS).where(USERS.c.account_id == account, USERS.c.id == user_id)
        if not (await connection.execute(own.values(**values))).rowcount:
            raise _unknown(user_id)


def _may_have(account: str, role: str) -> None:
    if role not in get_args(Role):
        raise Fault("bad_request", f"Roles are {', '.join(get_args(Role))}, not {role!r}.")
    if role in OWN_ROLES and account != HOUSE:
        raise Fault(
            "forbidden",
            f"Only the account {HOUSE} has a role {role}: it concerns the whole installation.",
        )


def _unknown(word: str) -> Fault:
    return Fault(
        "unknown_route", f"The account has no user {word[:64]!r}; `gatewayz users list` shows them."
    )
