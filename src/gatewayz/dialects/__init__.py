"""Wires: one folder per wire format, sans-IO."""
