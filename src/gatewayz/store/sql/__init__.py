"""The store: one schema and one set of functions over SQLite and PostgreSQL."""
