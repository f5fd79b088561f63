"""Limits in memory: every bucket of a call at once, and slots for calls that run at the same time.

Bounded: buckets that are full again are dropped. `workers` divides the limits among processes.
"""

from typing import NamedTuple

from gatewayz.core.calls import Principal
from gatewayz.core.clock import Clock
from gatewayz.limits.gcra import Bucket, TakeResult, take
from gatewayz.limits.rules import LimitRules, account_api_bucket, api_bucket, call_buckets, limit_of
from gatewayz.ports.limiter import Decision

MAX_BUCKETS = 200_000
SWEEP_EVERY = 10_000
SLOT_RETRY_S = 1.0
"""`Retry-After` for a call without a free slot: another call ends in seconds."""


class _Slots(NamedTuple):
    """How many calls of a subject may run at the same time, and the rule that says so."""

    subject: str
    rule: str
    limit: int


class _PrincipalLimits(NamedTuple):
    """What holds for a principal: worked out once, because it is needed with every call."""

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
        self._limits: dict[str, tuple[Principal, _PrincipalLimits]] = {}
        self._taken = 0

    async def take(self, call_id: str, principal: Principal) -> Decision:
        now = self._clock.now()
        limits = self._limits_of(principal)
        # The slots first: they cost nothing to look at, and buckets are taken from as a whole.
        leases = [self._active_leases(slots.subject, now) for slots in limits.slots]
        for slots, running in zip(limits.slots, leases, strict=True):
            if len(running) >= slots.limit:
                return Decision(
                    allowed=False, rule=slots.rule, limit=slots.limit, retry_after_s=SLOT_RETRY_S
                )

        result = take(limits.buckets, self._arrivals, now)
        if result.refused_by is None:
            self._arrivals.update(result.arrivals)
            for slots, running in zip(limits.slots, leases, strict=True):
                running[call_id] = now + self._rules.lease_s
                self._leases[slots.subject] = running
        self._sweep(now)
        return _decision_from_result(result, f"{principal.account}/{principal.key}/{call_id}")

    def count_request(self, subject: str, account: str = "", units: int = 1) -> Decision:
        now = self._clock.now()
        buckets: tuple[Bucket, ...] = (api_bucket(subject, self._rules, self._share),)
        if account:
            buckets = (*buckets, account_api_bucket(account, self._rules, self._share))
        # What costs more than a bucket holds takes all of it.
        units = min(units, *(bucket.burst for bucket in buckets))
        result = take(buckets, self._arrivals, now, units)
        self._arrivals.update(result.arrivals)
        self._sweep(now)
        return _decision_from_result(result, "")

    def release(self, decision: Decision) -> None:
        if not decision.lease:
            return
        account, key, call_id = decision.lease.split("/")
        for subject in (_key_subject(key), _account_subject(account)):
            leases = self._leases.get(subject)
            if leases is not None:
                leases.pop(call_id, None)
                if not leases:
                    del self._leases[subject]

    def _active_leases(self, subject: str, now: float) -> dict[str, float]:
        leases = self._leases.get(subject, {})
        # Leases are in the order of their coming, so the first one is the first to expire.
        while leases and next(iter(leases.values())) <= now:
            leases.pop(next(iter(leases)))
        return leases

    def _limits_of(self, principal: Principal) -> "_PrincipalLimits":
        cached = self._limits.get(principal.key)
        # The same object: a key that was changed comes with another principal.
        if cached is not None and cached[0] is principal:
            return cached[1]
        if len(self._limits) >= MAX_BUCKETS:
            self._limits.clear()
        limits = self._build_limits(principal)
        self._limits[principal.key] = (principal, limits)
        return limits

    def _build_limits(self, principal: Principal) -> "_PrincipalLimits":
        subjects = (
            ("key_concurrency", _key_subject(principal.key)),
            ("account_concurrency", _account_subject(principal.account)),
        )
        slots = []
        for rule, subject in subjects:
            share = round(limit_of(principal, self._rules, rule) * self._share)
            slots.append(_Slots(subject=subject, rule=rule, limit=max(share, 1)))
        return _PrincipalLimits(
            buckets=call_buckets(principal, self._rules, self._share), slots=tuple(slots)
        )

    def _sweep(self, now: float) -> None:
        self._taken += 1
        if self._taken % SWEEP_EVERY == 0 or len(self._arrivals) > MAX_BUCKETS:
            self._arrivals = {
                key: arrival for key, arrival in self._arrivals.items() if arrival > now
            }


def _key_subject(key: str) -> str:
    return f"key:{key}"


def _account_subject(account: str) -> str:
    return f"account:{account}"


def _decision_from_result(result: TakeResult, lease: str) -> Decision:
    tightest = result.refused_by or result.tightest
    return Decision(
        allowed=result.refused_by is None,
        rule=tightest.rule if tightest is not None else "",
        limit=tightest.rate if tightest is not None else 0,
        burst=tightest.burst if tightest is not None else 0,
        remaining=result.remaining,
        reset_s=result.reset_s,
        retry_after_s=result.retry_after_s,
        lease=lease if result.refused_by is None else "",
    )
