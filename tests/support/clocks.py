"""Clocks that a test moves."""


class ManualClock:
    """Both clocks stand still until they are told how much time has passed."""

    def __init__(self, date_ms: int = 1_800_000_000_000) -> None:
        self.seconds = 1_000.0
        self.date_ms = date_ms

    def now(self) -> float:
        return self.seconds

    def wall_ms(self) -> int:
        return self.date_ms

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.date_ms += round(seconds * 1000)
