"""Notifications: where an account's go, those that wait or were sent, what was crossed already."""

from sqlalchemy import Column, Index, Integer, LargeBinary, Table

from gatewayz.store.sql.columns import METADATA, number, one_of, optional_number, text

WEBHOOKS = Table(
    "webhooks",
    METADATA,
    text("account_id", key=True),
    text("url"),
    Column("secret", LargeBinary, nullable=False),
    optional_number("low_balance"),
    number("created_ms"),
    number("changed_ms"),
)
"""Where an account's notifications go. The secret is encrypted.

Below a balance of `low_balance` nano-dollars the account is notified.
"""

NOTICES = Table(
    "notices",
    METADATA,
    text("id", key=True),
    text("account_id"),
    text("kind"),
    text("body"),
    *one_of("state", "waiting", "delivered", "failed"),
    number("attempts", Integer),
    number("next_ms"),
    text("lease_owner"),
    number("lease_until_ms"),
    number("status", Integer),
    text("why"),
    number("created_ms"),
    optional_number("ended_ms"),
    Index("notices_account", "account_id", "id"),
    Index("notices_due", "state", "next_ms"),
)
"""The outbox: one row a crossing, sent by whoever holds its lease."""

NOTICE_MARKS = Table(
    "notice_marks",
    METADATA,
    text("account_id", key=True),
    text("subject", key=True),
    number("level", Integer),
    number("period_ms"),
    number("limit_nanos"),
)
"""What an account was notified of: `balance` or a budget, up to which level in percent.

For the limit and the period that the row names.
"""
