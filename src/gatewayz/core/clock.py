"""The clock: time is an argument, so a test can run a day in a millisecond."""

import time
from datetime import UTC, datetime
from typing import Protocol

DAY_MS = 86_400_000


class Clock(Protocol):
    """Two clocks: one that only goes forward, for durations; one that tells the date."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


class SteadyClock:
    """A date that never jumps: that of its making, carried on by the monotonic clock.

    For ends of durations that are stored, as a hold's: only the process that wrote one compares it,
    by the same clock. Example: an hour set forward changes nothing; an hour that passes does.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ms = clock.wall_ms() - round(clock.now() * 1000)

    def now(self) -> float:
        return self._clock.now()

    def wall_ms(self) -> int:
        return self._offset_ms + round(self._clock.now() * 1000)


def time_text(at_ms: int) -> str:
    """A moment as RFC 3339 writes it, in UTC, to the second."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}Z"
