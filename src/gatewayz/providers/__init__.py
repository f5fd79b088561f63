"""Whom we can call: rows, quirks, credentials."""
