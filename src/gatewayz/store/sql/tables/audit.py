"""Who did what: the audit log, and activity."""

from sqlalchemy import BigInteger, Column, Index, Integer, Table

from gatewayz.store.sql.columns import METADATA, json, number, text

AUDIT_LOG = Table(
    "audit_log",
    METADATA,
    Column(
        "number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    number("at_ms"),
    text("actor"),
    text("action"),
    text("subject"),
    text("account_id"),
    json("detail", "{}"),
    text("previous"),
    text("digest"),
    Index("audit_log_account", "account_id", "number"),
)
"""Who changed money, keys, roles, prices, providers.

Each row holds the digest of the one before it.
"""

ACTIVITY = Table(
    "activity",
    METADATA,
    text("id", key=True),
    text("account_id"),
    text("user_id"),
    text("action"),
    json("detail", "{}"),
    number("at_ms"),
    Index("activity_account", "account_id", "id"),
)
"""What people did; no version writes it yet."""
