"""The generic cell rate algorithm over several buckets at once: all of them let a call through, or
none is charged.

A bucket is one number: its theoretical arrival time (ITU-T I.371). Law: admitted <= burst + rate x
time.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct


class Bucket(Struct, frozen=True):
    """A limit: `rate` units in `period_s`, and `burst` units at once. `key` names whose it is.

    Example: `Bucket("key:01JX…:rpm", "key_rpm", rate=250, period_s=60.0, burst=100)`
    """

    key: str
    rule: str
    rate: int
    period_s: float
    burst: int

    @property
    def interval_s(self) -> float:
        """The time that one unit takes."""
        return self.period_s / self.rate


class TakeResult(Struct, frozen=True):
    """The answer: the new arrival times, or which bucket refused and for how long.

    `remaining` units may follow at once in the `tightest` bucket, which is full again after
    `reset_s`.
    """

    arrivals: tuple[tuple[str, float], ...] = ()
    refused_by: Bucket | None = None
    retry_after_s: float = 0.0
    tightest: Bucket | None = None
    remaining: int = 0
    reset_s: float = 0.0


def take(
    buckets: Sequence[Bucket], arrivals: Mapping[str, float], now: float, units: int = 1
) -> TakeResult:
    """Takes `units` from every bucket, or from none.

    `arrivals`: by bucket key; `now` and they are seconds.
    """
    taken: list[tuple[str, float]] = []
    tightest, remaining, reset_s = None, 2**62, 0.0
    for bucket in buckets:
        tolerance_s = bucket.interval_s * bucket.burst
        arrival = max(arrivals.get(bucket.key, now), now) + bucket.interval_s * units
        over_s = arrival - now - tolerance_s
        # Sums of floats: a unit that is due now must not miss its time by a rounding.
        if over_s > 1e-9:
            return TakeResult(
                refused_by=bucket, retry_after_s=over_s, tightest=bucket, reset_s=arrival - now
            )
        left = int((tolerance_s - (arrival - now)) / bucket.interval_s + 1e-6)
        if left < remaining:
            tightest, remaining, reset_s = bucket, left, arrival - now
        taken.append((bucket.key, arrival))
    return TakeResult(
        arrivals=tuple(taken),
        tightest=tightest,
        remaining=max(remaining, 0) if tightest else 0,
        reset_s=reset_s,
    )
