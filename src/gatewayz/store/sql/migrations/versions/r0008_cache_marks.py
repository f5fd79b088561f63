"""Who has their prompts marked for caching: accounts, and keys that say otherwise."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

TABLES = ("accounts", "api_keys")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("caching", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "caching")
