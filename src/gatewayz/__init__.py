"""Gatewayz: a universal inference API."""
