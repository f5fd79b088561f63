"""Ports over the memory of one process, which forgets at its end."""
