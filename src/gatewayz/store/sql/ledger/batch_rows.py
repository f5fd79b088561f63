"""Between the ledger's batch and rows of tables: what a batch reads, and what it writes.

Rows are tuples in the order of the `…_COLUMNS` beside them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.ledger.batch import LedgerBatch, wallet_side
from gatewayz.ledger.orders import (
    ExtendOrder,
    HoldOrder,
    MoveOrder,
    Order,
    ReleaseOrder,
    SettleOrder,
)
from gatewayz.ledger.values import REPLAY_MS, Budget, Grant, OpenHold, Transfer, Wallet
from gatewayz.store.sql.ledger.compact import SharedTexts, compact_call
from gatewayz.store.sql.ledger.records import sums_of

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


class BatchKeys(Struct, frozen=True, kw_only=True):
    """What a batch of orders has to read, each list sorted: locks are taken in one order.

    `refunds` are calls with a side of the wallet.
    """

    accounts: list[str]
    calls: list[str]
    budgets: list[str]
    moves: list[str]
    refunds: list[tuple[str, str]]


def keys_to_read(orders: Sequence[Order]) -> BatchKeys:
    """What these orders need to know."""
    calls = {
        order.call
        for order in orders
        if isinstance(order, HoldOrder | ExtendOrder | SettleOrder | ReleaseOrder)
    }
    budgets = {
        subject
        for order in orders
        if isinstance(order, HoldOrder | SettleOrder)
        for subject in order.budgets
    }
    moves = [order for order in orders if isinstance(order, MoveOrder)]
    return BatchKeys(
        accounts=sorted({order.account for order in orders}),
        calls=sorted(calls),
        budgets=sorted(budgets),
        moves=sorted({order.id for order in moves}),
        refunds=sorted({(order.refunds, wallet_side(order)) for order in moves if order.refunds}),
    )


def calls_to_settle(orders: Sequence[Order]) -> list[str]:
    """The calls of which must be known whether they are settled already."""
    return sorted({order.call for order in orders if isinstance(order, SettleOrder)})


def wallet_from(row: Row) -> Wallet:
    """A row of `WALLET_COLUMNS`."""
    account, billing, paid, promo, held, floor, promo_until_ms = row
    return Wallet(
        account=account,
        billing=billing,
        paid=paid,
        promo=promo,
        held=held,
        floor=floor,
        promo_until_ms=promo_until_ms,
    )


def hold_from(row: Row) -> OpenHold:
    """A row of `HOLD_COLUMNS`."""
    call, account, key, owner, promo, paid, budgets, opened_ms, deadline_ms = row
    return OpenHold(
        call=call,
        account=account,
        key=key,
        owner=owner,
        promo=promo,
        paid=paid,
        budgets=tuple(msgspec.json.decode(budgets)) if budgets != "[]" else (),
        opened_ms=opened_ms,
        deadline_ms=deadline_ms,
    )


def budget_from(row: Row) -> Budget:
    """A row of `BUDGET_COLUMNS`."""
    subject, account, limit, period, period_ms, spent, held = row
    return Budget(
        subject=subject,
        account=account,
        limit=limit,
        period=period,
        period_start_ms=period_ms,
        spent=spent,
        held=held,
    )


def grants_from(rows: Iterable[Row]) -> dict[str, tuple[Grant, ...]]:
    """Rows of (account, id, amount, expiry), by account."""
    grants: dict[str, tuple[Grant, ...]] = {}
    for account, name, amount, expires_ms in rows:
        grant = Grant(id=name, amount=amount, expires_ms=expires_ms)
        grants[account] = (*grants.get(account, ()), grant)
    return grants


def ending_grants(batch: LedgerBatch) -> list[str]:
    """Accounts with a grant that has ended: theirs are read, the others' are not needed."""
    return [
        wallet.account
        for wallet in batch.wallets.values()
        if wallet.promo_until_ms is not None and wallet.promo_until_ms <= batch.now_ms
    ]


class BatchRows(Struct, frozen=True, kw_only=True):
    """What carrying out has changed, as rows.

    `wallets`: (account_id, paid, promo, held, promo_until_ms); `budgets`: (subject, period_ms,
    spent, held); `ended` are the calls whose holds are gone; `replays`: (account_id, key, call_id,
    state, answer, expires_ms). All others are whole rows.
    """

    wallets: list[Row]
    budgets: list[Row]
    transfers: list[Row]
    holds: list[Row]
    ended: list[str]
    grants: list[Row]
    calls: list[Row]
    texts: list[Row]
    sums: list[Row]
    replays: list[Row]


def rows_to_write(batch: LedgerBatch, texts: SharedTexts) -> BatchRows:
    """What a batch that was carried out writes, each list in the order in which rows are locked."""
    now_ms = batch.now_ms
    records = [order.rows for order in batch.records if order.rows is not None]
    to_store: dict[str, str] = {}
    calls: list[Row] = [compact_call(record, texts, to_store) for record in records]
    wallets = [batch.wallets[account] for account in sorted(batch.changed_wallets)]
    budgets = [batch.budgets[subject] for subject in sorted(batch.changed_budgets)]
    return BatchRows(
        wallets=[
            (wallet.account, wallet.paid, wallet.promo, wallet.held, wallet.promo_until_ms)
            for wallet in wallets
        ],
        budgets=[
            (budget.subject, budget.period_start_ms, budget.spent, budget.held)
            for budget in budgets
        ],
        transfers=[_transfer_row(transfer, now_ms) for transfer in batch.transfers],
        holds=[_hold_row(hold) for hold in batch.changed_holds.values()],
        ended=sorted(batch.ended_holds),
        grants=[
            (grant.id, account, "grant", grant.amount, grant.expires_ms, now_ms)
            for account, grant in batch.new_grants
        ],
        calls=calls,
        texts=sorted(to_store.items()),
        sums=sums_of(record.call for record in records),
        replays=[_replay_row(order, now_ms) for order in batch.records if order.replay_key],
    )


def _transfer_row(transfer: Transfer, now_ms: int) -> Row:
    return (
        transfer.id,
        transfer.account,
        transfer.debit,
        transfer.credit,
        transfer.amount,
        transfer.kind,
        transfer.call,
        transfer.note,
        now_ms,
    )


def _replay_row(order: SettleOrder, now_ms: int) -> Row:
    state = "kept" if order.answer is not None else "not_kept"
    return order.account, order.replay_key, order.call, state, order.answer, now_ms + REPLAY_MS


def _hold_row(hold: OpenHold) -> Row:
    budgets = encode_json(hold.budgets).decode() if hold.budgets else "[]"
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
