"""What Alembic runs: the revisions, on the connection from `migrate`, in one transaction."""

from alembic import context

from gatewayz.store.sql.tables import METADATA

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
