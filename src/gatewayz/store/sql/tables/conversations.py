"""Conversations, to be stored where a client asks for it; no version writes them yet."""

from sqlalchemy import Column, Index, LargeBinary, Table

from gatewayz.store.sql.columns import METADATA, number, text

SESSIONS = Table(
    "sessions",
    METADATA,
    text("id", key=True),
    text("account_id"),
    text("key_id"),
    text("title"),
    text("model"),
    number("created_ms"),
    number("changed_ms"),
    Index("sessions_account", "account_id", "changed_ms"),
)

MESSAGES = Table(
    "messages",
    METADATA,
    text("id", key=True),
    text("account_id"),
    text("session_id"),
    text("call_id"),
    text("role"),
    Column("content", LargeBinary, nullable=False),
    number("created_ms"),
    Index("messages_session", "account_id", "session_id", "id"),
)
