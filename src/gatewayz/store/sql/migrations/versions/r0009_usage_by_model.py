"""What calls sum to by account, day, key, model and provider, from the records that there are; and
records that are shorter: attempts beside their call, texts that many calls have in one place.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

DAY_MS = 86_400_000
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
COUNTS = ("calls", "failed", "input_tokens", "output_tokens", "cost")
FIRST_AND_LAST = "SELECT MIN(received_ms), MAX(received_ms) FROM calls"
SUMS = """
INSERT INTO usage_models (account_id, day, key_id, model, provider,
    calls, failed, input_tokens, output_tokens, cost)
SELECT account_id, received_ms / 86400000, key_id, model, provider, COUNT(*),
    SUM(CASE WHEN fault <> '' THEN 1 ELSE 0 END), SUM(input_tokens), SUM(output_tokens), SUM(cost)
FROM calls WHERE id >= :first AND id < :after
GROUP BY account_id, received_ms / 86400000, key_id, model, provider
ON CONFLICT (account_id, day, key_id, model, provider) DO UPDATE SET
    calls = usage_models.calls + excluded.calls,
    failed = usage_models.failed + excluded.failed,
    input_tokens = usage_models.input_tokens + excluded.input_tokens,
    output_tokens = usage_models.output_tokens + excluded.output_tokens,
    cost = usage_models.cost + excluded.cost
"""


def first_id(day: int) -> str:
    """Ids begin with the time of their call: the smallest of a day."""
    ms, letters = day * DAY_MS, ""
    for _ in range(10):
        ms, digit = divmod(ms, 32)
        letters = CROCKFORD[digit] + letters
    return letters + "0" * 16


def fill(connection: sa.Connection) -> None:
    """A day at a time: a statement over all calls would take as long as there are calls."""
    first_ms, last_ms = connection.execute(sa.text(FIRST_AND_LAST)).one()
    if first_ms is None:
        return
    # An id is made a moment before or after the time of its call is taken.
    for day in range(max(first_ms // DAY_MS - 1, 0), last_ms // DAY_MS + 2):
        span = {"first": first_id(day), "after": first_id(day + 1)}
        connection.execute(sa.text(SUMS), span)


def upgrade() -> None:
    op.create_table(
        "usage_models",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), server_default="0", nullable=False) for name in COUNTS),
        sa.PrimaryKeyConstraint("account_id", "day", "key_id", "model", "provider"),
    )
    op.create_index("usage_models_day", "usage_models", ["day"], unique=False)
    op.create_table(
        "call_texts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.add_column("calls", sa.Column("attempts", sa.Text(), server_default="", nullable=False))
    fill(op.get_bind())


def downgrade() -> None:
    op.drop_column("calls", "attempts")
    op.drop_table("call_texts")
    op.drop_table("usage_models")
