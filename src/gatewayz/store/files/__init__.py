"""Ports over files of the data directory."""
