"""How much a principal may ask for, as data."""

from msgspec import Struct

from gatewayz.core.calls import Principal
from gatewayz.limits.gcra import Bucket

DAY_S = 86_400.0
MINUTE_S = 60.0


class LimitRules(Struct, frozen=True, kw_only=True):
    """Calls per minute and day, at once, and at the same time."""

    key_rpm: int = 250
    account_rpm: int = 1_000
    key_per_day: int = 10_000
    burst: int = 100
    key_concurrency: int = 50
    system_rpm: int = 60_000
    lease_s: float = 2_000.0
    """A concurrency slot frees itself after this time; it is longer than any call may take."""


def buckets_of(principal: Principal, rules: LimitRules, share: float = 1.0) -> tuple[Bucket, ...]:
    """The buckets of a call; `share` divides the limits among processes that do not share a memory."""
    key, account = f"key:{principal.key}", f"account:{principal.account}"
    return (
        _bucket(f"{key}:day", "key_per_day", rules.key_per_day, DAY_S, rules.key_per_day, share),
        _bucket(f"{key}:rpm", "key_rpm", rules.key_rpm, MINUTE_S, rules.burst, share),
        _bucket(f"{account}:rpm", "account_rpm", rules.account_rpm, MINUTE_S, rules.burst * 4, share),
        _bucket("system:rpm", "system_rpm", rules.system_rpm, MINUTE_S, rules.burst * 40, share),
    )


def _bucket(key: str, rule: str, rate: int, period_s: float, burst: int, share: float) -> Bucket:
    return Bucket(key, rule, max(round(rate * share), 1), period_s, max(round(min(burst, rate) * share), 1))
