"""How much a principal may ask for, as data.

The installation's rules hold for everybody; an account's own take their place; a key's own can only be lower.
"""

from collections.abc import Collection, Mapping
from ipaddress import IPv6Address, ip_address

from msgspec import Struct

from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.limits.gcra import Bucket

DAY_S = 86_400.0
MINUTE_S = 60.0
MAX_LIMIT = 1_000_000_000
KEY_LIMITS = ("key_rpm", "key_per_day", "key_concurrency")
ACCOUNT_LIMITS = (*KEY_LIMITS, "account_rpm", "account_concurrency")
"""The rules that a key can lower, and those that an operator can set for an account."""


class LimitRules(Struct, frozen=True, kw_only=True):
    """Calls per minute and day, at once, and at the same time."""

    key_rpm: int = 250
    account_rpm: int = 1_000
    key_per_day: int = 10_000
    burst: int = 100
    key_concurrency: int = 50
    account_concurrency: int = 500
    page_rpm: int = 600
    system_rpm: int = 60_000
    lease_s: float = 2_000.0
    """A concurrency slot frees itself after this time; it is longer than any call may take."""


def limit_of(principal: Principal, rules: LimitRules, rule: str) -> int:
    """What holds for this principal: the account's own rule or the installation's, and the key's own if it is lower."""
    limit = next(
        (number for name, number in principal.granted if name == rule), getattr(rules, rule)
    )
    own = next((number for name, number in principal.limits if name == rule), limit)
    return int(min(limit, own))


def buckets_of(principal: Principal, rules: LimitRules, share: float = 1.0) -> tuple[Bucket, ...]:
    """The buckets of a call; `share` divides the limits among processes that do not share a memory."""
    key, account = f"key:{principal.key}", f"account:{principal.account}"
    key_per_day = limit_of(principal, rules, "key_per_day")
    key_rpm, account_rpm = (
        limit_of(principal, rules, "key_rpm"),
        limit_of(principal, rules, "account_rpm"),
    )
    return (
        _bucket(f"{key}:day", "key_per_day", key_per_day, DAY_S, key_per_day, share),
        _bucket(f"{key}:rpm", "key_rpm", key_rpm, MINUTE_S, rules.burst, share),
        _bucket(f"{account}:rpm", "account_rpm", account_rpm, MINUTE_S, rules.burst * 4, share),
        _bucket("system:rpm", "system_rpm", rules.system_rpm, MINUTE_S, rules.burst * 40, share),
    )


def page_bucket(subject: str, rules: LimitRules, share: float = 1.0) -> Bucket:
    """The bucket of everything that is no call: pages, and requests that are refused for their key."""
    return _bucket(f"{subject}:page", "page_rpm", rules.page_rpm, MINUTE_S, rules.page_rpm, share)


def place_of(address: str) -> str:
    """Whom an address stands for: itself, or of version 6 the 64 bits that one customer of a network has."""
    try:
        found = ip_address(address)
    except ValueError:
        return "unknown"
    if not isinstance(found, IPv6Address) or found.ipv4_mapped is not None:
        return address
    return f"{IPv6Address(int(found) >> 64 << 64)}/64"


def _bucket(key: str, rule: str, rate: int, period_s: float, burst: int, share: float) -> Bucket:
    return Bucket(
        key, rule, max(round(rate * share), 1), period_s, max(round(min(burst, rate) * share), 1)
    )


def checked_limits(given: Mapping[str, int], known: Collection[str]) -> None:
    """Faults: `bad_request` names the limit that there is not, or that is none."""
    for name, number in given.items():
        if name not in known:
            raise Fault(
                "bad_request", f"There is no limit {name!r} here; there are {', '.join(known)}."
            )
        if not 1 <= number <= MAX_LIMIT:
            raise Fault(
                "bad_request", f"The limit {name} must be from 1 to {MAX_LIMIT}, not {number}."
            )
