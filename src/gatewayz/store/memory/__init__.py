"""Ports kept in memory and in small files, without a database."""
