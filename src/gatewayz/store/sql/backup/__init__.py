"""Backups: a snapshot of every table, the file that holds it, and how it is read back."""
