"""Who, and money: accounts, users, keys, wallets, transfers, holds, budgets."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("billing", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("markup_bp", sa.BigInteger(), nullable=True),
        sa.Column("rules", sa.Text(), server_default="{}", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("billing IN ('prepaid', 'credit', 'house')", name="billing_is_known"),
        sa.CheckConstraint("status IN ('active', 'suspended')", name="status_is_known"),
        sa.PrimaryKeyConstraint("id"),
    )


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), server_default="", nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), server_default="", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("disabled_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "role IN ('member', 'admin', 'operator', 'metrics')", name="role_is_known"
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email"),
    )
    op.create_index("users_account", "users", ["account_id", "id"], unique=False)


def _api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), server_default="", nullable=False),
        sa.Column("user_id", sa.Text(), server_default="", nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("pepper_id", sa.Text(), server_default="", nullable=False),
        sa.Column("shown", sa.Text(), server_default="", nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("scopes", sa.Text(), server_default="[]", nullable=False),
        sa.Column("models", sa.Text(), server_default="[]", nullable=False),
        sa.Column("addresses", sa.Text(), server_default="[]", nullable=False),
        sa.Column("limits", sa.Text(), server_default="{}", nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.Column("bootstrap", sa.Boolean(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index("api_keys_account", "api_keys", ["account_id", "id"], unique=False)


def _revisions() -> None:
    op.create_table(
        "revisions",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("subject"),
    )


def _wallets() -> None:
    op.create_table(
        "wallets",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("billing", sa.Text(), nullable=False),
        sa.Column("paid", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("promo", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("floor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("promo_until_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("held >= 0", name="held_is_not_negative"),
        sa.CheckConstraint("promo >= 0", name="promo_is_not_negative"),
        sa.PrimaryKeyConstraint("account_id"),
    )


def _transfers() -> None:
    op.create_table(
        "transfers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), server_default="", nullable=False),
        sa.Column("debit", sa.Text(), server_default="", nullable=False),
        sa.Column("credit", sa.Text(), server_default="", nullable=False),
        sa.Column("amount", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("call_id", sa.Text(), server_default="", nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("at_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("amount > 0", name="something_moves"),
        sa.CheckConstraint("debit <> credit", name="it_has_two_sides"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("transfers_account", "transfers", ["account_id", "at_ms"], unique=False)


def _holds() -> None:
    op.create_table(
        "holds",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), server_default="", nullable=False),
        sa.Column("key_id", sa.Text(), server_default="", nullable=False),
        sa.Column("owner", sa.Text(), server_default="", nullable=False),
        sa.Column("promo", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("paid", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("budgets", sa.Text(), server_default="[]", nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("deadline_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("call_id"),
    )


def _owners() -> None:
    op.create_table(
        "owners",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("beat_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), server_default="", nullable=False),
        sa.Column("limit_nanos", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("period_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("period IN ('total', 'day', 'week', 'month')", name="period_is_known"),
        sa.PrimaryKeyConstraint("subject"),
    )
    op.create_index("budgets_account", "budgets", ["account_id"], unique=False)


def _grants() -> None:
    op.create_table(
        "grants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("amount", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("grants_account", "grants", ["account_id"], unique=False)


def _payments() -> None:
    op.create_table(
        "payments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), server_default="", nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("amount", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("refunded", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("status", sa.Text(), server_default="", nullable=False),
        sa.Column("created_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("payments_account", "payments", ["account_id", "id"], unique=False)


def _idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), server_default="", nullable=False),
        sa.Column("call_id", sa.Text(), server_default="", nullable=False),
        sa.Column("owner", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("state IN ('running', 'kept', 'not_kept')", name="state_is_known"),
        sa.PrimaryKeyConstraint("account_id", "key"),
    )
    op.create_index("idempotency_expiry", "idempotency", ["expires_ms"], unique=False)


TABLES = (
    _accounts,
    _users,
    _api_keys,
    _revisions,
    _wallets,
    _transfers,
    _holds,
    _owners,
    _budgets,
    _grants,
    _payments,
    _idempotency,
)


def upgrade() -> None:
    for create in TABLES:
        create()


def downgrade() -> None:
    for create in reversed(TABLES):
        op.drop_table(create.__name__.removeprefix("_"))
