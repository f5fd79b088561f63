"""The transfers of a call are found by index: refunds and explanations ask for them."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("transfers_call", "transfers", ["call_id"], unique=False)


def downgrade() -> None:
    op.drop_index("transfers_call", "transfers")
