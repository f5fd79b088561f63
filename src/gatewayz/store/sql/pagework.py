"""Between the pages of the ledger and rows of tables: what a batch reads, and what it writes."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gatewayz.dialects.jsontext import encoded
from gatewayz.ledger.orders import Extend, Hold, Move, Order, Release, Settle
from gatewayz.ledger.pages import Pages, side_of
from gatewayz.ledger.values import Budget, Grant, OpenHold, Wallet
from gatewayz.store.sql.records import days_of

Row = tuple[Any, ...]

WALLET_COLUMNS = ("account_id", "billing", "paid", "promo", "held", "floor", "promo_until_ms")
HOLD_COLUMNS = (
    "call_id",
    "account_id",
    "key_id",
    "owner",
    "promo",
    "paid",
    "budgets",
    "opened_ms",
    "deadline_ms",
)
BUDGET_COLUMNS = ("subject", "account_id", "limit_nanos", "period", "period_ms", "spent", "held")
TRANSFER_COLUMNS = (
    "id",
    "account_id",
    "debit",
    "credit",
    "amount",
    "kind",
    "call_id",
    "note",
    "at_ms",
)
GRANT_COLUMNS = ("id", "account_id", "kind", "amount", "expires_ms", "created_ms")


class Wanted(Struct, frozen=True):
    """What a batch of orders has to read, each list sorted: locks are taken in one order everywhere."""

    accounts: list[str]
    calls: list[str]
    budgets: list[str]
    moves: list[str]
    refunds: list[tuple[str, str]]


def wanted(orders: Sequence[Order]) -> Wanted:
    calls = {order.call for order in orders if isinstance(order, Hold | Extend | Settle | Release)}
    budgets = {
        subject for order in orders if isinstance(order, Hold | Settle) for subject in order.budgets
    }
    moves = [order for order in orders if isinstance(order, Move)]
    return Wanted(
        accounts=sorted({order.account for order in orders}),
        calls=sorted(calls),
        budgets=sorted(budgets),
        moves=sorted({order.id for order in moves}),
        refunds=sorted({(order.refunds, side_of(order)) for order in moves if order.refunds}),
    )


def settled_calls(orders: Sequence[Order]) -> list[str]:
    return sorted({order.call for order in orders if isinstance(order, Settle)})


def wallet_from(row: Row) -> Wallet:
    account, billing, paid, promo, held, floor, until = row
    return Wallet(
        account=account,
        billing=billing,
        paid=paid,
        promo=promo,
        held=held,
        floor=floor,
        promo_until_ms=until,
    )


def hold_from(row: Row) -> OpenHold:
    call, account, key, owner, promo, paid, budgets, opened, deadline = row
    return OpenHold(
        call=call,
        account=account,
        key=key,
        owner=owner,
        promo=promo,
        paid=paid,
        budgets=tuple(msgspec.json.decode(budgets)) if budgets != "[]" else (),
        opened_ms=opened,
        deadline_ms=deadline,
    )


def budget_from(row: Row) -> Budget:
    subject, account, limit, period, began, spent, held = row
    return Budget(
        subject=subject,
        account=account,
        limit=limit,
        period=period,
        period_ms=began,
        spent=spent,
        held=held,
    )


def grants_from(rows: Iterable[Row]) -> dict[str, tuple[Grant, ...]]:
    """Rows of (account, id, amount, expiry)."""
    found: dict[str, tuple[Grant, ...]] = {}
    for account, name, amount, expires in rows:
        found[account] = (
            *found.get(account, ()),
            Grant(id=name, amount=amount, expires_ms=expires),
        )
    return found


def ending_grants(pages: Pages) -> list[str]:
    """Accounts with a grant that has ended: theirs are read, the others' are not needed."""
    return [
        wallet.account
        for wallet in pages.wallets.values()
        if wallet.promo_until_ms is not None and wallet.promo_until_ms <= pages.now_ms
    ]


class Written(Struct, frozen=True):
    """What carrying out has changed, as rows."""

    wallets: list[Row]
    budgets: list[Row]
    transfers: list[Row]
    holds: list[Row]
    ended: list[str]
    grants: list[Row]
    calls: list[Row]
    attempts: list[Row]
    days: list[Row]
    replays: list[Row]


def written(pages: Pages) -> Written:
    now = pages.now_ms
    calls: list[Row] = [order.rows.call for order in pages.records if order.rows is not None]
    kept = [pages.wallets[account] for account in sorted(pages.changed)]
    budgets = [pages.budgets[subject] for subject in sorted(pages.spent)]
    return Written(
        wallets=[(one.account, one.paid, one.promo, one.held, one.promo_until_ms) for one in kept],
        budgets=[(one.subject, one.period_ms, one.spent, one.held) for one in budgets],
        transfers=[
            (
                one.id,
                one.account,
                one.debit,
                one.credit,
                one.amount,
                one.kind,
                one.call,
                one.note,
                now,
            )
            for one in pages.transfers
        ],
        holds=[_hold_row(hold) for hold in pages.opened.values()],
        ended=sorted(pages.ended),
        grants=[
            (one.id, account, "grant", one.amount, one.expires_ms, now)
            for account, one in pages.granted
        ],
        calls=calls,
        attempts=[
            row for order in pages.records if order.rows is not None for row in order.rows.attempts
        ],
        days=days_of(calls),
        replays=[_replay_row(order, now) for order in pages.records if order.replay_key],
    )


REPLAY_MS = 86_400_000
"""How long an answer can be had again, and its key means that answer."""


def _replay_row(order: Settle, now_ms: int) -> Row:
    state = "kept" if order.answer is not None else "not_kept"
    return order.account, order.replay_key, order.call, state, order.answer, now_ms + REPLAY_MS


def _hold_row(hold: OpenHold) -> Row:
    budgets = encoded(hold.budgets).decode() if hold.budgets else "[]"
    return (
        hold.call,
        hold.account,
        hold.key,
        hold.owner,
        hold.promo,
        hold.paid,
        budgets,
        hold.opened_ms,
        hold.deadline_ms,
    )
