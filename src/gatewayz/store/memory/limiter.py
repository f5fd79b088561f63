"""Limits in memory: every bucket of a call at once, and slots for calls that run at the same time.

Bounded: buckets that are full again are forgotten. `workers` divides the limits among processes.
"""

from typing import NamedTuple

from gatewayz.core.calls import Principal
from gatewayz.core.clock import Clock
from gatewayz.limits.gcra import Bucket, Taken, take
from gatewayz.limits.rules import LimitRules, buckets_of, limit_of, page_bucket
from gatewayz.ports.limiter import Decision

MAX_BUCKETS = 200_000
SWEEP_EVERY = 10_000
RETRY_S = 1.0
"""What a caller without a free slot is told: a call ends in seconds."""


class _Slots(NamedTuple):
    """How many calls of a subject may run at the same time."""

    subject: str
    rule: str
    limit: int


class _Shape(NamedTuple):
    """What holds for a principal: worked out once, because it is asked for with every call."""

    buckets: tuple[Bucket, ...]
    slots: tuple[_Slots, ...]


class MemoryLimiter:
    """The port `Limiter`, per process."""

    def __init__(self, rules: LimitRules, clock: Clock, workers: int = 1) -> None:
        self._rules = rules
        self._clock = clock
        self._share = 1 / workers
        self._arrivals: dict[str, float] = {}
        self._leases: dict[str, dict[str, float]] = {}
        self._shapes: dict[str, tuple[Principal, _Shape]] = {}
        self._taken = 0

    async def take(self, call_id: str, principal: Principal) -> Decision:
        now = self._clock.now()
        shape = self._shape(principal)
        held = [self._held(slots.subject, now) for slots in shape.slots]
        for slots, running in zip(shape.slots, held, strict=True):
            if len(running) >= slots.limit:
                return Decision(
                    allowed=False, rule=slots.rule, limit=slots.limit, retry_after_s=RETRY_S
                )
        taken = take(shape.buckets, self._arrivals, now)
        if taken.refused is None:
            self._arrivals.update(taken.arrivals)
            for slots, running in zip(shape.slots, held, strict=True):
                running[call_id] = now + self._rules.lease_s
                self._leases[slots.subject] = running
        self._sweep(now)
        return _decision(taken, f"{principal.account}/{principal.key}/{call_id}")

    def page(self, subject: str) -> Decision:
        now = self._clock.now()
        taken = take((page_bucket(subject, self._rules, self._share),), self._arrivals, now)
        self._arrivals.update(taken.arrivals)
        self._sweep(now)
        return _decision(taken, "")

    def give_back(self, decision: Decision) -> None:
        if not decision.lease:
            return
        account, key, call_id = decision.lease.split("/")
        for subject in (_key(key), _account(account)):
            held = self._leases.get(subject)
            if held is not None:
                held.pop(call_id, None)
                if not held:
                    del self._leases[subject]

    def _held(self, subject: str, now: float) -> dict[str, float]:
        held = self._leases.get(subject, {})
        # Leases are in the order of their coming, so the first one is the first to expire.
        while held and next(iter(held.values())) <= now:
            held.pop(next(iter(held)))
        return held

    def _shape(self, principal: Principal) -> "_Shape":
        known = self._shapes.get(principal.key)
        if known is not None and known[0] is principal:
            return known[1]
        if len(self._shapes) >= MAX_BUCKETS:
            self._shapes.clear()
        shape = self._shaped(principal)
        self._shapes[principal.key] = (principal, shape)
        return shape

    def _shaped(self, principal: Principal) -> "_Shape":
        subjects = (
            ("key_concurrency", _key(principal.key)),
            ("account_concurrency", _account(principal.account)),
        )
        slots = [
            _Slots(
                subject, rule, max(round(limit_of(principal, self._rules, rule) * self._share), 1)
            )
            for rule, subject in subjects
        ]
        return _Shape(buckets_of(principal, self._rules, self._share), tuple(slots))

    def _sweep(self, now: float) -> None:
        self._taken += 1
        if self._taken % SWEEP_EVERY == 0 or len(self._arrivals) > MAX_BUCKETS:
            self._arrivals = {
                key: arrival for key, arrival in self._arrivals.items() if arrival > now
            }


def _key(key: str) -> str:
    return f"key:{key}"


def _account(account: str) -> str:
    return f"account:{account}"


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
