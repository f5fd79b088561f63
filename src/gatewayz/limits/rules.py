"""How much a principal may ask for, as data.

The installation's rules hold for everybody; an account's own take their place; a key's own can only
be lower.
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
API_KEYS_AT_ONCE = 4
"""How many keys of an account may use the API as much as one key may."""
KEY_LIMITS = ("key_rpm", "key_per_day", "key_concurrency")
ACCOUNT_LIMITS = (*KEY_LIMITS, "account_rpm", "account_concurrency")
"""The rules that a key can lower, and those that an operator can set for an account."""


class LimitRules(Struct, frozen=True, kw_only=True):
    """Calls per minute and day, in a burst, and at the same time; requests of the API per minute.

    Example: `LimitRules(key_rpm=60, key_concurrency=10)`
    """

    key_rpm: int = 250
    account_rpm: int = 1_000
    key_per_day: int = 10_000
    burst: int = 100
    key_concurrency: int = 50
    account_concurrency: int = 500
    api_rpm: int = 600
    system_rpm: int = 60_000
    lease_s: float = 2_000.0
    """A concurrency slot frees itself after this time; it is longer than any call may take."""


def limit_of(principal: Principal, rules: LimitRules, rule: str) -> int:
    """What holds for this principal: the account's own limit or the installation's, and the key's
    if it is lower.
    """
    account_limit = next(
        (limit for name, limit in principal.account_limits if name == rule), getattr(rules, rule)
    )
    key_limit = next((limit for name, limit in principal.key_limits if name == rule), account_limit)
    return int(min(account_limit, key_limit))


def call_buckets(principal: Principal, rules: LimitRules, share: float = 1.0) -> tuple[Bucket, ...]:
    """The buckets of a call; `share` divides the limits among processes that share no memory."""
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


def api_bucket(subject: str, rules: LimitRules, share: float = 1.0) -> Bucket:
    """The bucket of what is no call: requests to the API, and those with a refused key."""
    return _bucket(f"{subject}:page", "api_rpm", rules.api_rpm, MINUTE_S, rules.api_rpm, share)


def account_api_bucket(account: str, rules: LimitRules, share: float = 1.0) -> Bucket:
    """The bucket that all keys of an account share for what is no call: more keys buy no more."""
    rate = rules.api_rpm * API_KEYS_AT_ONCE
    return _bucket(f"account:{account}:page", "account_api_rpm", rate, MINUTE_S, rate, share)


def client_network(address: str) -> str:
    """The network that one client has: an IPv4 address itself, of an IPv6 address its first 64
    bits.

    Example: `client_network("2001:db8:1:2:3::4")` is `"2001:db8:1:2::/64"`; `"unknown"` for what is
    no address.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unknown"
    if not isinstance(parsed, IPv6Address) or parsed.ipv4_mapped is not None:
        return address
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"


def _bucket(key: str, rule: str, rate: int, period_s: float, burst: int, share: float) -> Bucket:
    return Bucket(
        key, rule, max(round(rate * share), 1), period_s, max(round(min(burst, rate) * share), 1)
    )


def validate_limits(limits: Mapping[str, int], known: Collection[str]) -> None:
    """Faults: `bad_request` names the limit that is unknown, or whose number is out of bounds."""
    for name, limit in limits.items():
        if name not in known:
            raise Fault(
                "bad_request",
                f"There is no limit {name!r} here; the limits are {', '.join(known)}.",
            )
        if not 1 <= limit <= MAX_LIMIT:
            raise Fault(
                "bad_request", f"The limit {name} must be from 1 to {MAX_LIMIT}, not {limit}."
            )
