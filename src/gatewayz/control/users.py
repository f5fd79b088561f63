"""People of an account, and their roles, which bound what their keys can do.

A role holds from the moment it is set, for keys that are there as well.
"""

import re
from collections.abc import Mapping
from typing import Any, get_args

from msgspec import Struct
from sqlalchemy import Select, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.control.accounts import account_not_found
from gatewayz.control.audit import AuditEvent
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.access import HOUSE, HOUSE_ROLES, Role
from gatewayz.core.calls import new_ulid
from gatewayz.core.faults import Fault
from gatewayz.core.pagination import Cursor, Page
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.pagination import MAX_LISTED, paginate
from gatewayz.store.sql.tables import ACCOUNTS, USERS

EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")


class User(Struct, frozen=True, kw_only=True):
    """A person. `disabled_ms`: since when they and their keys are refused.

    Example: User(id="01JE…", account="acme", email="eve@acme.example", role="admin")
    """

    id: str
    account: str
    email: str
    name: str = ""
    role: Role
    created_ms: int = 0
    disabled_ms: int | None = None


def _user_from_row(row: Mapping[str, Any]) -> User:
    return User(
        id=row["id"],
        account=row["account_id"],
        email=row["email"],
        name=row["name"],
        role=row["role"],
        created_ms=row["created_ms"],
        disabled_ms=row["disabled_ms"],
    )


def _select_users(account: str) -> Select[Any]:
    statement = select(*USERS.c)
    return statement.where(USERS.c.account_id == account) if account else statement


async def list_all_users(database: Database, account: str) -> list[User]:
    """The people of an account, the oldest first. Faults: `unavailable`."""
    own = select(*USERS.c).where(USERS.c.account_id == account)
    oldest_first = own.order_by(USERS.c.id).limit(MAX_LISTED)
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(oldest_first)).mappings().all()
    return [_user_from_row(dict(row)) for row in rows]


async def list_users(database: Database, account: str, cursor: Cursor) -> tuple[list[User], Page]:
    """A page of the people of an account, or of all if none is named; the oldest first.

    Faults: `bad_request`, `unavailable`.
    """
    page = await paginate(database, _select_users(account), (USERS.c.id,), cursor)
    return [_user_from_row(row) for row in page.rows], page


async def account_of_user(database: Database, user_id: str) -> str:
    """The account of a person, for the operator. Faults: `not_found`."""
    own = select(USERS.c.account_id).where(USERS.c.id == user_id)
    async with database.begin(reading=True) as connection:
        account = (await connection.execute(own)).scalar()
    if account is None:
        raise _user_not_found(user_id)
    return str(account)


async def get_user(database: Database, account: str, name: str) -> User:
    """A person by id or e-mail address; another account's is as one that does not exist.

    Faults: `not_found`.
    """
    named = (USERS.c.id == name) | (USERS.c.email == name.lower())
    own = select(*USERS.c).where(USERS.c.account_id == account, named)
    async with database.begin(reading=True) as connection:
        row = (await connection.execute(own)).mappings().first()
    if row is None:
        raise _user_not_found(name)
    return _user_from_row(dict(row))


async def create_user(
    transaction: ControlTransaction, account: str, email: str, role: Role, name: str = ""
) -> User:
    """A new person.

    Faults: `bad_request`, `forbidden` for a role that the account cannot give, `not_found`.
    """
    if EMAIL.fullmatch(email) is None:
        raise Fault("bad_request", f"{email[:64]!r} is no e-mail address.")
    _check_role(account, role)

    user = User(
        id=new_ulid(),
        account=account,
        email=email.lower(),
        name=name,
        role=role,
        created_ms=transaction.clock.wall_ms(),
    )
    row = {
        "id": user.id,
        "account_id": account,
        "email": user.email,
        "name": name,
        "role": role,
        "created_ms": user.created_ms,
    }
    event = AuditEvent(
        action="user.create",
        subject=user.id,
        account=account,
        detail={"email": user.email, "role": role},
    )
    try:
        async with transaction.begin_change(event) as connection:
            await _check_account(connection, account)
            await connection.execute(insert(USERS).values(row))
    except IntegrityError:
        raise Fault("bad_request", f"The address {user.email} is used already.") from None
    return user


async def _check_account(connection: AsyncConnection, account: str) -> None:
    """Faults: `not_found` for an account that is not there."""
    own = select(ACCOUNTS.c.id).where(ACCOUNTS.c.id == account)
    if (await connection.execute(own)).first() is None:
        raise account_not_found(account)


async def update_user(
    transaction: ControlTransaction,
    account: str,
    user_id: str,
    *,
    role: Role | None = None,
    disabled: bool | None = None,
) -> None:
    """Changes a person's role, or refuses them and all their keys, or lets them go on: all that is
    named, with an audit entry each, or nothing. Faults: `bad_request`, `forbidden`, `not_found`.
    """
    if role is not None:
        _check_role(account, role)
    changes: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = []
    if role is not None:
        changes.append(("user.role", {"role": role}, {"role": role}))
    if disabled is not None:
        disabled_ms = transaction.clock.wall_ms() if disabled else None
        action = "user.disable" if disabled else "user.enable"
        changes.append((action, {"disabled_ms": disabled_ms}, {}))

    own = update(USERS).where(USERS.c.account_id == account, USERS.c.id == user_id)
    async with transaction.begin_locked() as connection:
        for action, values, detail in changes:
            if not (await connection.execute(own.values(**values))).rowcount:
                raise _user_not_found(user_id)
            event = AuditEvent(action=action, subject=user_id, account=account, detail=detail)
            await transaction.append_event(connection, event)


async def set_role(transaction: ControlTransaction, account: str, user_id: str, role: Role) -> None:
    """Gives a person another role. Faults: `bad_request`, `forbidden`, `not_found`."""
    await update_user(transaction, account, user_id, role=role)


async def disable_user(transaction: ControlTransaction, account: str, user_id: str) -> None:
    """Refuses a person and all their keys. Faults: `not_found`."""
    await update_user(transaction, account, user_id, disabled=True)


async def enable_user(transaction: ControlTransaction, account: str, user_id: str) -> None:
    """Lets a person and their keys go on. Faults: `not_found`."""
    await update_user(transaction, account, user_id, disabled=False)


def _check_role(account: str, role: str) -> None:
    if role not in get_args(Role):
        raise Fault("bad_request", f"Roles are {', '.join(get_args(Role))}, not {role!r}.")
    if role in HOUSE_ROLES and account != HOUSE:
        raise Fault(
            "forbidden",
            f"Only the account {HOUSE} can give the role {role}: it covers all accounts.",
        )


def _user_not_found(name: str) -> Fault:
    return Fault(
        "not_found", f"The account has no user {name[:64]!r}; `gatewayz users list` shows them."
    )
