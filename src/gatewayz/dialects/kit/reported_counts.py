"""Counts as providers report them: whole and sane, or repaired and marked as such."""

from collections.abc import Iterable, Mapping
from typing import Any

from gatewayz.core.usage import MAX_UNITS


class ReportedCounts:
    """Reads the counts of one report; `repaired` when one of them made no sense."""

    def __init__(self) -> None:
        self.repaired = False

    def read(self, value: Any) -> int:
        """The count; 0 where there is none, and for what is no count: it never raises."""
        if value is None:
            return 0
        if type(value) is int and 0 <= value <= MAX_UNITS:
            return value
        self.repaired = True
        if not isinstance(value, int | float | str) or isinstance(value, bool):
            return 0
        try:
            return min(max(int(float(value)), 0), MAX_UNITS)
        except (TypeError, ValueError, OverflowError):
            return 0

    def clamp(self, value: int, most: int) -> int:
        """A part of `most`; more than the whole makes no sense."""
        if value > most:
            self.repaired = True
        return min(value, most)

    def read_largest(self, report: Mapping[str, Any], names: Iterable[str]) -> int:
        """The count that stands under any of these names: spellings of one thing, not parts of it.

        Example: `{"prompt_tokens": 0, "input_tokens": 9}` is 9 under either name.
        """
        return max((self.read(report[name]) for name in names if name in report), default=0)
