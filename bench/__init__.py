"""Measures what the gateway costs, beside nginx in the same run."""
