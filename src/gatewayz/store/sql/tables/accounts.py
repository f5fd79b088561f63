"""Who: accounts, people, keys, tokens; and the counters that tell of their changes."""

from sqlalchemy import Column, Index, Table, Text

from gatewayz.store.sql.columns import METADATA, flag, json, number, one_of, optional_number, text

ACCOUNTS = Table(
    "accounts",
    METADATA,
    text("id", key=True),
    text("name"),
    *one_of("billing", "prepaid", "credit", "house"),
    *one_of("status", "active", "suspended"),
    optional_number("markup_bp"),
    json("rules", "{}"),
    number("created_ms"),
    text("caching"),
)
"""`rules`: limits and models that hold for the whole account, as `AccountRules` in JSON; `caching`
is `auto` where its prompts are marked for caching.
"""

USERS = Table(
    "users",
    METADATA,
    text("id", key=True),
    text("account_id"),
    Column("email", Text, nullable=False, unique=True),
    text("name"),
    *one_of("role", "member", "admin", "operator", "metrics"),
    text("password_hash"),
    number("created_ms"),
    optional_number("disabled_ms"),
    Index("users_account", "account_id", "id"),
)
"""A person of an account. No version has set a `password_hash` yet."""

API_KEYS = Table(
    "api_keys",
    METADATA,
    text("id", key=True),
    text("account_id"),
    text("user_id"),
    Column("digest", Text, nullable=False, unique=True),
    text("pepper_id"),
    text("shown"),
    text("name"),
    json("scopes", "[]"),
    json("models", "[]"),
    json("addresses", "[]"),
    json("limits", "{}"),
    optional_number("expires_ms"),
    number("created_ms"),
    optional_number("revoked_ms"),
    flag("bootstrap"),
    text("caching"),
    Index("api_keys_account", "account_id", "id"),
)
"""A key: its digest, what may be shown of it, and what it may do.

`addresses` are the networks that it may be used from; `caching` is `auto`, `off`, or empty for its
account's.
"""

TOKENS = Table(
    "tokens",
    METADATA,
    text("id", key=True),
    text("account_id"),
    text("key_id"),
    Column("digest", Text, nullable=False, unique=True),
    text("pepper_id"),
    text("shown"),
    text("name"),
    json("models", "[]"),
    json("origins", "[]"),
    number("expires_ms"),
    number("created_ms"),
    optional_number("revoked_ms"),
    Index("tokens_key", "account_id", "key_id", "expires_ms"),
    Index("tokens_expiry", "expires_ms"),
)
"""A token for a web page, of the key that created it.

`origins` are those of the pages that it may be used from.
"""

REVISIONS = Table("revisions", METADATA, text("subject", key=True), number("number"))
"""Counts changes: a cache that has seen another number is stale.

Subjects: `keys`, `catalog`; `audit` counts the entries of the log,
`audit_head` is the seal of its last one; `first_day` is the first day whose calls are still there.
"""
