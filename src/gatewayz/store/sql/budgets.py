"""Budgets: how much a key, an account or an end user may spend in a day, week, month, or ever.

A budget counts from the moment it is set. It is changed while its account's wallet is locked, as calls change it.
"""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.faults import Fault
from gatewayz.core.labels import MAX_END_USER
from gatewayz.core.money import Nanos
from gatewayz.ledger.values import Budget, Period, period_start
from gatewayz.store.sql.accounts import unknown
from gatewayz.store.sql.audit import Deed
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.desk import Desk
from gatewayz.store.sql.tables import API_KEYS, BUDGETS, HOLDS, WALLETS

MAX_LISTED = 10_000


class Limit(Struct, frozen=True, kw_only=True):
    """How much in which period."""

    amount: Nanos
    period: Period


def of_key(key_id: str) -> str:
    return f"key:{key_id}"


def of_account(account: str) -> str:
    return f"account:{account}"


def of_end_user(account: str, end_user: str) -> str:
    """The subject of whom a request names as its `user`; without a name it stands for whoever that is."""
    return f"user:{account}/{end_user}"


def of_token(token: str) -> str:
    """The subject of a token, which is seen with the token and ends with it."""
    return f"token:{token}"


def lasting() -> ColumnElement[bool]:
    """Which budgets are an account's to look after: all but those of tokens."""
    return ~BUDGETS.c.subject.startswith(of_token(""))


COLUMNS = tuple(
    BUDGETS.c[name]
    for name in ("subject", "account_id", "limit_nanos", "period", "period_ms", "spent", "held")
)


def _budget(row: Sequence[Any], now_ms: int) -> Budget:
    return Budget(**dict(zip(Budget.__struct_fields__, row, strict=True))).at(now_ms)


async def listed(database: Database, account: str, now_ms: int) -> list[Budget]:
    """The budgets of an account as of now. Faults: `unavailable`."""
    own = select(*COLUMNS).where(BUDGETS.c.account_id == account, lasting())
    wanted = own.order_by(BUDGETS.c.subject).limit(MAX_LISTED)
    async with database.begin(reading=True) as connection:
        return [_budget(row, now_ms) for row in (await connection.execute(wanted)).all()]


async def put(desk: Desk, account: str, subject: str, limit: Limit) -> None:
    """Sets a budget, or changes its limit; another period begins with nothing spent.

    Faults: `bad_request`, `unknown_route` for an account or key that is not there.
    """
    if limit.amount < 0 or limit.period not in get_args(Period):
        raise Fault(
            "bad_request",
            f"A budget is an amount of zero or more per {', '.join(get_args(Period))}.",
        )
    detail = {"limit_nanos": limit.amount, "period": limit.period}
    async with desk.changing(
        Deed(action="budget.set", subject=subject, account=account, detail=detail)
    ) as connection:
        await _locked(connection, account)
        await _is_of(connection, account, subject)
        own = update(BUDGETS).where(BUDGETS.c.account_id == account, BUDGETS.c.subject == subject)
        same = await connection.execute(
            own.where(BUDGETS.c.period == limit.period).values(limit_nanos=limit.amount)
        )
        if same.rowcount:
            return
        began = {
            "period": limit.period,
            "period_ms": period_start(limit.period, desk.clock.wall_ms()),
            "spent": 0,
        }
        other = await connection.execute(own.values(limit_nanos=limit.amount, **began))
        if not other.rowcount:
            row = {"subject": subject, "account_id": account, "limit_nanos": limit.amount, **began}
            held = await _held(connection, account, subject)
            await connection.execute(insert(BUDGETS).values(row | {"held": held}))


async def remove(desk: Desk, account: str, subject: str) -> None:
    """Faults: `unknown_route`."""
    async with desk.changing(
        Deed(action="budget.remove", subject=subject, account=account)
    ) as connection:
        await _locked(connection, account)
        own = delete(BUDGETS).where(BUDGETS.c.account_id == account, BUDGETS.c.subject == subject)
        if not (await connection.execute(own)).rowcount:
            raise Fault("unknown_route", f"There is no budget of {subject[:300]!r}.")


async def carried_over(connection: AsyncConnection, account: str, old: str, new: str) -> None:
    """Gives the new subject the old one's budget, with what is spent of it."""
    await _locked(connection, account)
    own = BUDGETS.c.account_id == account
    for row in (
        (await connection.execute(select(*BUDGETS.c).where(own, BUDGETS.c.subject == old)))
        .mappings()
        .all()
    ):
        await connection.execute(insert(BUDGETS).values({**row, "subject": new, "held": 0}))


async def _locked(connection: AsyncConnection, account: str) -> None:
    wallet = select(WALLETS.c.account_id).where(WALLETS.c.account_id == account).with_for_update()
    if (await connection.execute(wallet)).first() is None:
        raise unknown(account)


async def _is_of(connection: AsyncConnection, account: str, subject: str) -> None:
    """Whether the subject is the account's own: itself, one of its keys, one of its end users."""
    kind, _, name = subject.partition(":")
    if kind == "key":
        key = select(API_KEYS.c.id).where(API_KEYS.c.account_id == account, API_KEYS.c.id == name)
        if (await connection.execute(key)).first() is None:
            raise Fault("unknown_route", f"The account has no key {name[:64]!r}.")
        return
    end_user = (
        name.removeprefix(f"{account}/")
        if kind == "user" and name.startswith(f"{account}/")
        else ""
    )
    if subject != of_account(account) and not 0 < len(end_user) <= MAX_END_USER:
        raise Fault(
            "bad_request",
            f"A budget is of a key, an account, or an end user of 1 to {MAX_END_USER} characters.",
        )


async def _held(connection: AsyncConnection, account: str, subject: str) -> int:
    """What calls under way hold of a budget that was taken away meanwhile: they give it back to this one."""
    rows = (
        await connection.execute(
            select(HOLDS.c.promo + HOLDS.c.paid, HOLDS.c.budgets).where(
                HOLDS.c.account_id == account
            )
        )
    ).all()
    return sum(amount for amount, subjects in rows if subject in msgspec.json.decode(subjects))
