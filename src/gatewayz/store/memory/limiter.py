"""Limits in memory: every bucket of a call at once, and slots for calls that run at the same time.

Bounded: buckets that are full again are forgotten. `workers` divides the limits among processes.
"""

from gatewayz.core.calls import Principal
from gatewayz.core.clock import Clock
from gatewayz.limits.gcra import Bucket, Taken, take
from gatewayz.limits.rules import LimitRules, buckets_of
from gatewayz.ports.limiter import Decision

MAX_BUCKETS = 200_000
SWEEP_EVERY = 10_000
RETRY_S = 1.0
"""What a caller without a free slot is told: a call ends in seconds."""


class MemoryLimiter:
    """The port `Limiter`, per process."""

    def __init__(self, rules: LimitRules, clock: Clock, workers: int = 1) -> None:
        self._rules = rules
        self._clock = clock
        self._share = 1 / workers
        self._arrivals: dict[str, float] = {}
        self._leases: dict[str, dict[str, float]] = {}
        self._buckets: dict[tuple[str, str], tuple[Bucket, ...]] = {}
        self._taken = 0

    async def take(self, call_id: str, principal: Principal) -> Decision:
        now = self._clock.now()
        held = self._held(principal.key, now)
        limit = max(round(self._rules.key_concurrency * self._share), 1)
        if len(held) >= limit:
            return Decision(allowed=False, rule="key_concurrency", limit=limit, retry_after_s=RETRY_S)
        taken = take(self._buckets_of(principal), self._arrivals, now)
        if taken.refused is None:
            self._arrivals.update(taken.arrivals)
            held[call_id] = now + self._rules.lease_s
            self._leases[principal.key] = held
        self._sweep(now)
        return _decision(taken, f"{principal.key}/{call_id}")

    def give_back(self, decision: Decision) -> None:
        key, _, call_id = decision.lease.rpartition("/")
        held = self._leases.get(key)
        if held is not None:
            held.pop(call_id, None)
            if not held:
                del self._leases[key]

    def _held(self, key: str, now: float) -> dict[str, float]:
        held = self._leases.get(key, {})
        # Leases are in the order of their coming, so the first one is the first to expire.
        while held and next(iter(held.values())) <= now:
            held.pop(next(iter(held)))
        return held

    def _buckets_of(self, principal: Principal) -> tuple[Bucket, ...]:
        subject = (principal.account, principal.key)
        if subject not in self._buckets:
            if len(self._buckets) >= MAX_BUCKETS:
                self._buckets.clear()
            self._buckets[subject] = buckets_of(principal, self._rules, self._share)
        return self._buckets[subject]

    def _sweep(self, now: float) -> None:
        self._taken += 1
        if self._taken % SWEEP_EVERY == 0 or len(self._arrivals) > MAX_BUCKETS:
            self._arrivals = {key: arrival for key, arrival in self._arrivals.items() if arrival > now}


def _decision(taken: Taken, lease: str) -> Decision:
    tightest = taken.refused or taken.tightest
    return Decision(
        allowed=taken.refused is None,
        rule=tightest.rule if tightest is not None else "",
        limit=tightest.rate if tightest is not None else 0,
        remaining=taken.remaining,
        reset_s=taken.reset_s,
        retry_after_s=taken.retry_after_s,
        lease=lease if taken.refused is None else "",
    )
