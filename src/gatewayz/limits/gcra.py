"""The generic cell rate algorithm over several buckets at once: all of them let a call through, or none is charged.

A bucket is one number: its theoretical arrival time (ITU-T I.371). Law: admitted <= burst + rate x time.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct


class Bucket(Struct, frozen=True):
    """A limit: `rate` units in `period_s`, and `burst` units at once. `key` names whose it is."""

    key: str
    rule: str
    rate: int
    period_s: float
    burst: int

    @property
    def interval_s(self) -> float:
        return self.period_s / self.rate


class Taken(Struct, frozen=True):
    """The answer: the arrival times to keep, or which bucket refused and for how long."""

    arrivals: tuple[tuple[str, float], ...] = ()
    refused: Bucket | None = None
    retry_after_s: float = 0.0
    tightest: Bucket | None = None
    remaining: int = 0
    reset_s: float = 0.0


def take(
    buckets: Sequence[Bucket], arrivals: Mapping[str, float], now: float, units: int = 1
) -> Taken:
    """Takes `units` from every bucket, or from none."""
    kept: list[tuple[str, float]] = []
    tightest, least, reset_s = None, 2**62, 0.0
    for bucket in buckets:
        tolerance_s = bucket.interval_s * bucket.burst
        arrival = max(arrivals.get(bucket.key, now), now) + bucket.interval_s * units
        over_s = arrival - now - tolerance_s
        if over_s > 1e-9:
            return Taken(
                refused=bucket, retry_after_s=over_s, tightest=bucket, reset_s=arrival - now
            )
        left = int((tolerance_s - (arrival - now)) / bucket.interval_s + 1e-6)
        if left < least:
            tightest, least, reset_s = bucket, left, arrival - now
        kept.append((bucket.key, arrival))
    return Taken(
        arrivals=tuple(kept),
        tightest=tightest,
        remaining=max(least, 0) if tightest else 0,
        reset_s=reset_s,
    )
