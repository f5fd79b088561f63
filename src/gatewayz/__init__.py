"""Gatewayz: a universal inference API."""

__version__ = "0.2.0"
