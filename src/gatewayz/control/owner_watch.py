"""Which processes have died: those whose beat has stood still, by a clock that only goes forward.

A beat is a date, and dates jump; whether it has changed since one last looked does not depend on
any date. A process is therefore dead when its beat was the same for `OWNER_SILENT_S` of watching,
however old it says that it is.
"""

from collections.abc import Iterable

from gatewayz.core.clock import Clock
from gatewayz.ledger.values import OWNER_SILENT_S

JUMP_S = 5.0
"""The date and the monotonic clock may part by so much between two looks: clocks are adjusted."""


class OwnerWatch:
    """The beats of all processes, as one of them has seen them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}

    def find_silent(self, beats: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """Owners and beats that have not changed for `OWNER_SILENT_S`, of all that there are now.

        Example: with `[("a-1", 1_764_000_000_000)]` again after a minute, that one.
        """
        now, seen = self._clock.now(), self._seen
        self._seen = {}
        for owner, beat_ms in beats:
            before = seen.get(owner)
            same = before is not None and before[0] == beat_ms
            self._seen[owner] = before if before is not None and same else (beat_ms, now)
        return [
            (owner, beat_ms)
            for owner, (beat_ms, since) in self._seen.items()
            if now - since >= OWNER_SILENT_S
        ]


class DateWatch:
    """Notices when the date jumps: by hand, by a clock server, or while the machine slept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_s = self._read_offset_s()

    def _read_offset_s(self) -> float:
        return self._clock.wall_ms() / 1000 - self._clock.now()

    def read_jump_s(self) -> float:
        """Seconds by which the date has jumped since the last look; 0.0 when it has not."""
        before, self._offset_s = self._offset_s, self._read_offset_s()
        jump_s = self._offset_s - before
        return jump_s if abs(jump_s) >= JUMP_S else 0.0
