"""The schema: every table, once, for both databases.

Ids are ULIDs as text, times milliseconds since the epoch, money nano-dollars; all three are never NULL where they must
be known. Lists and objects are JSON text. Every table of a tenant's things begins its access path with `account_id`.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from gatewayz.store.sql.columns import METADATA as METADATA
from gatewayz.store.sql.columns import flag as _flag
from gatewayz.store.sql.columns import maybe as _maybe
from gatewayz.store.sql.columns import number as _number
from gatewayz.store.sql.columns import one_of as _one_of
from gatewayz.store.sql.columns import text as _text
from gatewayz.store.sql.notice_tables import NOTICE_MARKS as NOTICE_MARKS
from gatewayz.store.sql.notice_tables import NOTICES as NOTICES
from gatewayz.store.sql.notice_tables import WEBHOOKS as WEBHOOKS

# Who: tenants, people, keys.

ACCOUNTS = Table(
    "accounts",
    METADATA,
    _text("id", key=True),
    _text("name"),
    *_one_of("billing", "prepaid", "credit", "house"),
    *_one_of("status", "active", "suspended"),
    _maybe("markup_bp"),
    Column("rules", Text, nullable=False, server_default="{}"),
    _number("created_ms"),
)
"""`rules`: limits and models that hold for the whole account, as `AccountRules` in JSON."""

USERS = Table(
    "users",
    METADATA,
    _text("id", key=True),
    _text("account_id"),
    Column("email", Text, nullable=False, unique=True),
    _text("name"),
    *_one_of("role", "member", "admin", "operator", "metrics"),
    _text("password_hash"),
    _number("created_ms"),
    _maybe("disabled_ms"),
    Index("users_account", "account_id", "id"),
)

API_KEYS = Table(
    "api_keys",
    METADATA,
    _text("id", key=True),
    _text("account_id"),
    _text("user_id"),
    Column("digest", Text, nullable=False, unique=True),
    _text("pepper_id"),
    _text("shown"),
    _text("name"),
    Column("scopes", Text, nullable=False, server_default="[]"),
    Column("models", Text, nullable=False, server_default="[]"),
    Column("addresses", Text, nullable=False, server_default="[]"),
    Column("limits", Text, nullable=False, server_default="{}"),
    _maybe("expires_ms"),
    _number("created_ms"),
    _maybe("revoked_ms"),
    _flag("bootstrap"),
    Index("api_keys_account", "account_id", "id"),
)
"""A key: its digest, what may be shown of it, and what it may do. `addresses` are networks it may be used from."""

TOKENS = Table(
    "tokens",
    METADATA,
    _text("id", key=True),
    _text("account_id"),
    _text("key_id"),
    Column("digest", Text, nullable=False, unique=True),
    _text("pepper_id"),
    _text("shown"),
    _text("name"),
    Column("models", Text, nullable=False, server_default="[]"),
    Column("origins", Text, nullable=False, server_default="[]"),
    _number("expires_ms"),
    _number("created_ms"),
    _maybe("revoked_ms"),
    Index("tokens_key", "account_id", "key_id", "expires_ms"),
    Index("tokens_expiry", "expires_ms"),
)
"""A token for a web page, of the key that minted it. `origins` are the pages that it may be used from."""

REVISIONS = Table("revisions", METADATA, _text("subject", key=True), _number("number"))
"""Counts changes: a cache that has seen another number is stale. Subjects: `keys`, `catalog`."""

_REFUNDS = text("kind = 'refund_call'")

# Money: every change goes through `ledger.pages`, in one transaction with its transfers.

WALLETS = Table(
    "wallets",
    METADATA,
    _text("account_id", key=True),
    Column("billing", Text, nullable=False),
    _number("paid"),
    _number("promo"),
    _number("held"),
    _number("floor"),
    _maybe("promo_until_ms"),
    CheckConstraint("held >= 0", name="held_is_not_negative"),
    CheckConstraint("promo >= 0", name="promo_is_not_negative"),
)
"""What an account can spend, without what is held. `paid` never goes below `floor` by a call."""

TRANSFERS = Table(
    "transfers",
    METADATA,
    _text("id", key=True),
    _text("account_id"),
    _text("debit"),
    _text("credit"),
    _number("amount"),
    _text("kind"),
    _text("call_id"),
    _text("note"),
    _number("at_ms"),
    CheckConstraint("amount > 0", name="something_moves"),
    CheckConstraint("debit <> credit", name="it_has_two_sides"),
    Index("transfers_account", "account_id", "at_ms"),
    Index("transfers_call", "call_id"),
    Index("transfers_refunds", "account_id", sqlite_where=_REFUNDS, postgresql_where=_REFUNDS),
)
"""One movement: both sides in a row, so the sum is zero by construction. Rows are never changed or deleted."""

HOLDS = Table(
    "holds",
    METADATA,
    _text("call_id", key=True),
    _text("account_id"),
    _text("key_id"),
    _text("owner"),
    _number("promo"),
    _number("paid"),
    Column("budgets", Text, nullable=False, server_default="[]"),
    _number("opened_ms"),
    _number("deadline_ms"),
)
"""Open holds only: an ending takes the row away and leaves transfers."""

OWNERS = Table("owners", METADATA, _text("id", key=True), _number("started_ms"), _number("beat_ms"))
"""Processes that hold; one that is silent for `OWNER_SILENT_S` has died."""

BUDGETS = Table(
    "budgets",
    METADATA,
    _text("subject", key=True),
    _text("account_id"),
    _number("limit_nanos"),
    *_one_of("period", "total", "day", "week", "month"),
    _number("period_ms"),
    _number("spent"),
    _number("held"),
    Index("budgets_account", "account_id"),
)
"""A limit on spending: `key:ID`, `account:ID` or `user:ACCOUNT/END_USER`; `period_ms` is when the period began."""

GRANTS = Table(
    "grants",
    METADATA,
    _text("id", key=True),
    _text("account_id"),
    _text("kind"),
    _number("amount"),
    _maybe("expires_ms"),
    _number("created_ms"),
    Index("grants_account", "account_id"),
)

PAYMENTS = Table(
    "payments",
    METADATA,
    _text("id", key=True),
    _text("account_id"),
    _text("source"),
    _number("amount"),
    _number("refunded"),
    _text("status"),
    _number("created_ms"),
    Index("payments_account", "account_id", "id"),
)

IDEMPOTENCY = Table(
    "idempotency",
    METADATA,
    _text("account_id", key=True),
    _text("key", key=True),
    _text("fingerprint"),
    _text("call_id"),
    _text("owner"),
    *_one_of("state", "running", "kept", "not_kept"),
    Column("answer", LargeBinary, nullable=True),
    _number("created_ms"),
    _number("expires_ms"),
    Index("idempotency_expiry", "expires_ms"),
)

# What happened: calls, attempts, who did what.

CALLS = Table(
    "calls",
    METADATA,
    _text("id", key=True),
    _text("account_id"),
    _text("key_id"),
    _text("end_user"),
    _text("session_id"),
    _text("endpoint"),
    _text("dialect"),
    _flag("streamed"),
    _text("asked_model"),
    _text("model"),
    _text("provider"),
    _text("upstream_id"),
    _number("status", Integer),
    _text("fault"),
    _text("message"),
    _text("stop"),
    _number("received_ms"),
    _maybe("first_event_ms"),
    _number("duration_ms"),
    _number("input_tokens"),
    _number("output_tokens"),
    Column("usage", Text, nullable=False, server_default="{}"),
    Column("price", Text, nullable=False, server_default="{}"),
    _number("cost"),
    _number("held"),
    _text("upstream_cost"),
    _flag("estimated"),
    _flag("unpriced"),
    Column("dropped", Text, nullable=False, server_default="[]"),
    Column("reasons", Text, nullable=False, server_default="[]"),
    Column("tags", Text, nullable=False, server_default="[]"),
    _text("trace"),
    Index("calls_account", "account_id", "id"),
)
"""The record of a call, never what was said in it. Written in the transaction that settles."""

USAGE_DAYS = Table(
    "usage_days",
    METADATA,
    _text("account_id", key=True),
    _text("key_id", key=True),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    _number("calls"),
    _number("failed"),
    _number("input_tokens"),
    _number("output_tokens"),
    _number("cost"),
)
"""What the records of a key's calls that came in on a day sum to: booked with them, so that nobody has to add them up.

`day` counts from 1970, in UTC.
"""

ATTEMPTS = Table(
    "attempts",
    METADATA,
    _text("call_id", key=True),
    Column("number", Integer, primary_key=True),
    _text("provider"),
    _text("model"),
    _text("upstream_id"),
    _text("credential"),
    _number("started_ms"),
    _maybe("first_event_ms"),
    _number("ended_ms"),
    _number("status", Integer),
    _text("fault"),
    _text("message"),
    _text("upstream_request"),
)

AUDIT_LOG = Table(
    "audit_log",
    METADATA,
    Column(
        "number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    _number("at_ms"),
    _text("actor"),
    _text("action"),
    _text("subject"),
    _text("account_id"),
    Column("detail", Text, nullable=False, server_default="{}"),
    _text("previous"),
    _text("digest"),
    Index("audit_log_account", "account_id", "number"),
)
"""Who changed money, keys, roles, prices, providers; each row holds the digest of the one before it."""

ACTIVITY = Table(
    "activity",
    METADATA,
    _text("id", key=True),
    _text("account_id"),
    _text("user_id"),
    _text("action"),
    Column("detail", Text, nullable=False, server_default="{}"),
    _number("at_ms"),
    Index("activity_account", "account_id", "id"),
)

# Conversations, kept where a client asks for it.

SESSIONS = Table(
    "sessions",
    METADATA,
    _text("id", key=True),
    _text("account_id"),
    _text("key_id"),
    _text("title"),
    _text("model"),
    _number("created_ms"),
    _number("changed_ms"),
    Index("sessions_account", "account_id", "changed_ms"),
)

MESSAGES = Table(
    "messages",
    METADATA,
    _text("id", key=True),
    _text("account_id"),
    _text("session_id"),
    _text("call_id"),
    _text("role"),
    Column("content", LargeBinary, nullable=False),
    _number("created_ms"),
    Index("messages_session", "account_id", "session_id", "id"),
)

# What is sold, where the operator changed it, and how it stands.

MODELS = Table(
    "models",
    METADATA,
    _text("id", key=True),
    _text("name"),
    Column("aliases", Text, nullable=False, server_default="[]"),
    _flag("hidden"),
    _number("changed_ms"),
)

OFFERS = Table(
    "offers",
    METADATA,
    _text("id", key=True),
    _text("model_id"),
    _text("provider"),
    _text("upstream_id"),
    _maybe("context"),
    _maybe("max_output"),
    Column("can", Text, nullable=True),
    _flag("free"),
    _flag("hidden"),
    _number("changed_ms"),
    UniqueConstraint("model_id", "provider", "upstream_id", name="one_offer"),
)

PRICES = Table(
    "prices",
    METADATA,
    _text("id", key=True),
    _text("provider"),
    _text("upstream_id"),
    Column("price", Text, nullable=False),
    _text("source"),
    _number("valid_from_ms"),
    _number("created_ms"),
    Index("prices_offer", "provider", "upstream_id", "valid_from_ms"),
)

MODEL_HEALTH = Table(
    "model_health",
    METADATA,
    _text("provider", key=True),
    _text("upstream_id", key=True),
    Column("window_s", Integer, primary_key=True),
    _number("until_ms"),
    _number("succeeded"),
    _number("failed"),
    _number("first_event_ms"),
    _number("duration_ms"),
    _text("state"),
)
