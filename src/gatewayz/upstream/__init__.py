"""Rim: outbound HTTP."""
