"""Gatewayz: a universal inference API."""

__version__ = "0.3.0"
