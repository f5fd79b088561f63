"""Rim: inbound HTTP."""
