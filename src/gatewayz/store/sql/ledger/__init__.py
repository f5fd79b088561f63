"""The ledger on SQLite and PostgreSQL: batches of orders, the journal, reconciliation."""
