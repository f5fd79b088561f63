"""The one pipeline; it knows ports, never adapters."""
