"""Crossings: which wallets and budgets have passed a line of which their account is not notified.

What an account was notified of is its mark in `notice_marks`: a level in percent, for one limit and
one period. A mark of another limit or period counts for nothing.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, or_, select

from gatewayz.control.budgets import is_account_budget
from gatewayz.store.sql.tables import BUDGETS, NOTICE_MARKS, WALLETS, WEBHOOKS

BALANCE = "balance"
"""The subject of the mark of a wallet; a budget's mark has the budget's subject."""


def select_low_balances(limit: int) -> Select[Any]:
    """Wallets below their threshold without a mark, or above it with one.

    Columns: account_id, low_balance (the threshold), left_nanos.
    """
    left = WALLETS.c.paid + WALLETS.c.promo + WALLETS.c.held - WALLETS.c.floor
    same_threshold = NOTICE_MARKS.c.limit_nanos == WEBHOOKS.c.low_balance
    marked: ColumnElement[int] = case((same_threshold, NOTICE_MARKS.c.level), else_=0)
    mark = and_(
        NOTICE_MARKS.c.account_id == WEBHOOKS.c.account_id, NOTICE_MARKS.c.subject == BALANCE
    )
    crossed = or_(
        and_(left < WEBHOOKS.c.low_balance, marked == 0),
        and_(left >= WEBHOOKS.c.low_balance, marked > 0),
    )
    return (
        select(WEBHOOKS.c.account_id, WEBHOOKS.c.low_balance, left.label("left_nanos"))
        .join(WALLETS, WALLETS.c.account_id == WEBHOOKS.c.account_id)
        .outerjoin(NOTICE_MARKS, mark)
        .where(WEBHOOKS.c.low_balance.is_not(None), WALLETS.c.billing != "house", crossed)
        .limit(limit)
    )


def select_reached_budgets(exhausted: Sequence[str], limit: int) -> Select[Any]:
    """Budgets that have reached a higher level of their limit than they are marked with.

    One of `exhausted`, which has refused a call, counts as reached before all of it is spent.
    Columns: those of `budgets`, and `level` in percent.
    """
    spent, amount = BUDGETS.c.spent, BUDGETS.c.limit_nanos
    level: ColumnElement[int] = case(
        (spent >= amount, 100), (spent >= amount - amount // 5, 80), else_=0
    )
    same = and_(
        NOTICE_MARKS.c.period_ms == BUDGETS.c.period_ms, NOTICE_MARKS.c.limit_nanos == amount
    )
    marked: ColumnElement[int] = case((same, NOTICE_MARKS.c.level), else_=0)
    mark = and_(
        NOTICE_MARKS.c.account_id == BUDGETS.c.account_id,
        NOTICE_MARKS.c.subject == BUDGETS.c.subject,
    )
    refuses = and_(BUDGETS.c.subject.in_(exhausted), level > 0, marked < 100)
    return (
        select(*BUDGETS.c, level.label("level"))
        .join(WEBHOOKS, WEBHOOKS.c.account_id == BUDGETS.c.account_id)
        .outerjoin(NOTICE_MARKS, mark)
        .where(amount > 0, is_account_budget(), or_(level > marked, refuses))
        .limit(limit)
    )
