"""Budgets: how much a key, an account or an end user may spend in a day, week, month, or ever.

A budget counts from the moment it is set. It is changed while its account's wallet is locked, as
calls change it.
"""

from collections.abc import Mapping
from typing import Any, get_args

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.control.accounts import account_not_found
from gatewayz.control.audit import AuditEvent
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.faults import Fault
from gatewayz.core.labels import MAX_END_USER
from gatewayz.core.money import Nanos
from gatewayz.ledger.values import Budget, Period, period_start_ms
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.pagination import MAX_LISTED
from gatewayz.store.sql.tables import API_KEYS, BUDGETS, HOLDS, WALLETS


class BudgetLimit(Struct, frozen=True, kw_only=True):
    """How many nano-dollars in which period.

    Example: BudgetLimit(amount=Nanos(5 * 10**9), period="day")
    """

    amount: Nanos
    period: Period


def key_subject(key_id: str) -> str:
    """The subject of a key's budget."""
    return f"key:{key_id}"


def account_subject(account: str) -> str:
    """The subject of the budget of everything that an account spends."""
    return f"account:{account}"


def end_user_subject(account: str, end_user: str) -> str:
    """The subject of whom requests name as their `user`; an empty name stands for any of them."""
    return f"user:{account}/{end_user}"


def token_subject(token: str) -> str:
    """The subject of a token, which is seen with the token and ends with it."""
    return f"token:{token}"


def is_account_budget() -> ColumnElement[bool]:
    """Which budgets are an account's to look after: all but those of tokens."""
    return ~BUDGETS.c.subject.startswith(token_subject(""))


def budget_from_columns(row: Mapping[str, Any]) -> Budget:
    """A row of `budgets`, by column name, as the ledger's value."""
    return Budget(
        subject=row["subject"],
        account=row["account_id"],
        limit=row["limit_nanos"],
        period=row["period"],
        period_start_ms=row["period_ms"],
        spent=row["spent"],
        held=row["held"],
    )


async def list_budgets(database: Database, account: str, now_ms: int) -> list[Budget]:
    """The budgets of an account as of now. Faults: `unavailable`."""
    own = select(*BUDGETS.c).where(BUDGETS.c.account_id == account, is_account_budget())
    ordered = own.order_by(BUDGETS.c.subject).limit(MAX_LISTED)
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(ordered)).mappings().all()
    return [budget_from_columns(dict(row)).at(now_ms) for row in rows]


async def find_budget(database: Database, account: str, subject: str, now_ms: int) -> Budget | None:
    """The budget of one subject as of now, if it has one. Faults: `unavailable`."""
    own = select(*BUDGETS.c).where(BUDGETS.c.account_id == account, BUDGETS.c.subject == subject)
    async with database.begin(reading=True) as connection:
        row = (await connection.execute(own)).mappings().first()
    return None if row is None else budget_from_columns(dict(row)).at(now_ms)


async def put_budget(
    transaction: ControlTransaction, account: str, subject: str, limit: BudgetLimit
) -> None:
    """Sets a budget, or changes its limit; another period begins with nothing spent.

    Faults: `bad_request`, `not_found` for an account or key that is not there.
    """
    if limit.amount < 0 or limit.period not in get_args(Period):
        raise Fault(
            "bad_request",
            f"A budget is an amount of zero or more per {', '.join(get_args(Period))}.",
        )
    event = AuditEvent(
        action="budget.set",
        subject=subject,
        account=account,
        detail={"limit_nanos": limit.amount, "period": limit.period},
    )
    async with transaction.begin_change(event) as connection:
        # The wallet first, as calls do: nothing is spent or held of the budget meanwhile.
        await _lock_wallet(connection, account)
        await _check_subject(connection, account, subject)

        own = update(BUDGETS).where(BUDGETS.c.account_id == account, BUDGETS.c.subject == subject)
        same_period = own.where(BUDGETS.c.period == limit.period)
        if (await connection.execute(same_period.values(limit_nanos=limit.amount))).rowcount:
            return

        new_period = {
            "limit_nanos": limit.amount,
            "period": limit.period,
            "period_ms": period_start_ms(limit.period, transaction.clock.wall_ms()),
            "spent": 0,
        }
        if (await connection.execute(own.values(new_period))).rowcount:
            return

        held = await _open_holds_total(connection, account, subject)
        row = {"subject": subject, "account_id": account, "held": held, **new_period}
        await connection.execute(insert(BUDGETS).values(row))


async def delete_budget(transaction: ControlTransaction, account: str, subject: str) -> None:
    """Takes a budget away; calls are no longer bounded by it. Faults: `not_found`."""
    event = AuditEvent(action="budget.remove", subject=subject, account=account)
    async with transaction.begin_change(event) as connection:
        await _lock_wallet(connection, account)
        own = delete(BUDGETS).where(BUDGETS.c.account_id == account, BUDGETS.c.subject == subject)
        if not (await connection.execute(own)).rowcount:
            raise Fault("not_found", f"There is no budget of {subject[:300]!r}.")


async def copy_budget(connection: AsyncConnection, account: str, old: str, new: str) -> None:
    """Gives the subject `new` the budget of `old`, with what is spent of it."""
    await _lock_wallet(connection, account)
    budget = select(*BUDGETS.c).where(BUDGETS.c.account_id == account, BUDGETS.c.subject == old)
    for row in (await connection.execute(budget)).mappings().all():
        await connection.execute(insert(BUDGETS).values({**row, "subject": new, "held": 0}))


async def _lock_wallet(connection: AsyncConnection, account: str) -> None:
    wallet = select(WALLETS.c.account_id).where(WALLETS.c.account_id == account).with_for_update()
    if (await connection.execute(wallet)).first() is None:
        raise account_not_found(account)


async def _check_subject(connection: AsyncConnection, account: str, subject: str) -> None:
    """The subject is the account's own: itself, one of its keys, one of its end users.

    Faults: `not_found` for a key that it does not have, `bad_request` for anything else.
    """
    kind, _, name = subject.partition(":")
    if kind == "key":
        key = select(API_KEYS.c.id).where(API_KEYS.c.account_id == account, API_KEYS.c.id == name)
        if (await connection.execute(key)).first() is None:
            raise Fault("not_found", f"The account has no key {name[:64]!r}.")
        return

    prefix = end_user_subject(account, "")
    end_user = subject.removeprefix(prefix) if subject.startswith(prefix) else ""
    if subject != account_subject(account) and not 0 < len(end_user) <= MAX_END_USER:
        raise Fault(
            "bad_request",
            f"A budget is of a key, an account, or an end user of 1 to {MAX_END_USER} characters.",
        )


async def _open_holds_total(connection: AsyncConnection, account: str, subject: str) -> int:
    """What calls under way hold of a budget that was deleted meanwhile.

    They give it back to the new one, so the new one begins with it.
    """
    holds = select(HOLDS.c.promo + HOLDS.c.paid, HOLDS.c.budgets)
    rows = (await connection.execute(holds.where(HOLDS.c.account_id == account))).all()
    return sum(amount for amount, subjects in rows if subject in msgspec.json.decode(subjects))
