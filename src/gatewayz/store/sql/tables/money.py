"""Money: every change goes through `ledger.batch`, in one transaction with its transfers."""

from sqlalchemy import CheckConstraint, Column, Index, Table, Text
from sqlalchemy import text as sql

from gatewayz.store.sql.columns import METADATA, json, number, one_of, optional_number, text

REFUNDS = sql("kind = 'refund_call'")
"""The rows of a partial index: refunds are few among all transfers."""

WALLETS = Table(
    "wallets",
    METADATA,
    text("account_id", key=True),
    Column("billing", Text, nullable=False),
    number("paid"),
    number("promo"),
    number("held"),
    number("floor"),
    optional_number("promo_until_ms"),
    CheckConstraint("held >= 0", name="held_is_not_negative"),
    CheckConstraint("promo >= 0", name="promo_is_not_negative"),
)
"""What an account can spend, without what is held. `paid` never goes below `floor` by a call."""

TRANSFERS = Table(
    "transfers",
    METADATA,
    text("id", key=True),
    text("account_id"),
    text("debit"),
    text("credit"),
    number("amount"),
    text("kind"),
    text("call_id"),
    text("note"),
    number("at_ms"),
    CheckConstraint("amount > 0", name="something_moves"),
    CheckConstraint("debit <> credit", name="it_has_two_sides"),
    Index("transfers_account", "account_id", "at_ms"),
    Index("transfers_call", "call_id"),
    Index("transfers_refunds", "account_id", sqlite_where=REFUNDS, postgresql_where=REFUNDS),
)
"""One movement: both sides in a row, so the sum is zero by construction.

Rows are never changed or deleted.
"""

HOLDS = Table(
    "holds",
    METADATA,
    text("call_id", key=True),
    text("account_id"),
    text("key_id"),
    text("owner"),
    number("promo"),
    number("paid"),
    json("budgets", "[]"),
    number("opened_ms"),
    number("deadline_ms"),
)
"""Open holds only: an ending takes the row away and leaves transfers."""

OWNERS = Table("owners", METADATA, text("id", key=True), number("started_ms"), number("beat_ms"))
"""Processes that hold; one that is silent for `OWNER_SILENT_S` has died."""

BUDGETS = Table(
    "budgets",
    METADATA,
    text("subject", key=True),
    text("account_id"),
    number("limit_nanos"),
    *one_of("period", "total", "day", "week", "month"),
    number("period_ms"),
    number("spent"),
    number("held"),
    Index("budgets_account", "account_id"),
)
"""A limit on spending of `key:ID`, `account:ID`, `user:ACCOUNT/END_USER` or `token:ID`.

`period_ms` is when the period began.
"""

GRANTS = Table(
    "grants",
    METADATA,
    text("id", key=True),
    text("account_id"),
    text("kind"),
    number("amount"),
    optional_number("expires_ms"),
    number("created_ms"),
    Index("grants_account", "account_id"),
)
"""Money that was given, in nano-dollars; one that has ended stays as a row."""

PAYMENTS = Table(
    "payments",
    METADATA,
    text("id", key=True),
    text("account_id"),
    text("source"),
    number("amount"),
    number("refunded"),
    text("status"),
    number("created_ms"),
    Index("payments_account", "account_id", "id"),
)
"""Money that came in: `status` is `pending`, `paid`, `refunding:NAME` or `refunded`."""
