"""Counts as providers report them: whole and sane, or repaired and remembered as such."""

from typing import Any

from gatewayz.core.usage import MAX_UNITS


class Counts:
    """Reads counts of one report; `repaired` when one of them made no sense."""

    def __init__(self) -> None:
        self.repaired = False

    def of(self, value: Any) -> int:
        """The count; nothing where nothing is said."""
        if value is None:
            return 0
        if type(value) is int and 0 <= value <= MAX_UNITS:
            return value
        self.repaired = True
        try:
            return min(max(int(float(value)), 0), MAX_UNITS)
        except (TypeError, ValueError, OverflowError):
            return 0

    def within(self, value: int, most: int) -> int:
        """A part of a whole; more than the whole makes no sense."""
        if value > most:
            self.repaired = True
        return min(value, most)
