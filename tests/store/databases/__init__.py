"""One SQLite file for each revision of the schema, which every later version can upgrade."""
