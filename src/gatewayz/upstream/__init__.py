"""Outbound: HTTP to providers, and the tokens of their accounts."""
