"""What calls sum to by key and day, from the records that there are; refunds are found by index."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

REFUNDS = sa.text("kind = 'refund_call'")
SUMS = """
INSERT INTO usage_days (account_id, key_id, day, calls, failed, input_tokens, output_tokens, cost)
SELECT account_id, key_id, received_ms / 86400000, COUNT(*),
    SUM(CASE WHEN fault <> '' THEN 1 ELSE 0 END), SUM(input_tokens), SUM(output_tokens), SUM(cost)
FROM calls GROUP BY account_id, key_id, received_ms / 86400000
"""


def upgrade() -> None:
    op.create_table(
        "usage_days",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("calls", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key_id", "day"),
    )
    op.execute(SUMS)
    op.create_index(
        "transfers_refunds",
        "transfers",
        ["account_id"],
        unique=False,
        sqlite_where=REFUNDS,
        postgresql_where=REFUNDS,
    )


def downgrade() -> None:
    op.drop_index("transfers_refunds", "transfers")
    op.drop_table("usage_days")
