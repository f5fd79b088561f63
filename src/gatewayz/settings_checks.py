"""What settings may be: the range of every number, and what their texts must be and name.

Checked when they are read, so that a slip is a sentence at the start and not a fault in a call.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from typing import Any, NamedTuple

from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import HOST, is_origin, mask_userinfo, parse_url
from gatewayz.upstream.proxies import DIRECT, NO_PROXY_URL, proxy_from_url
from gatewayz.upstream.resolver import is_address

MAX_TOKENS = 100_000_000
MAX_RATE = 1_000_000_000
YEAR_S = 31_536_000.0
DAY_S = 86_400.0
HOUR_S = 3_600.0
MAX_SHOWN_CHARS = 200
ORIGIN_FORM = "https://host, or https://host:port where the port is not the usual one"
MAX_MARKUP_BP = 1_000_000


class Range(NamedTuple):
    """The smallest and the largest value; `zero` is allowed below the smallest, and means "never"."""

    low: float
    high: float
    zero: bool = False


RANGES: dict[str, Range] = {
    "web.port": Range(0, 65_535),
    "web.grace_s": Range(0, HOUR_S),
    "web.body_values": Range(1_000, 100_000_000),
    "web.workers": Range(1, 1_024),
    "web.worker_silent_s": Range(1, HOUR_S),
    "database.retention_days": Range(1, 36_500, zero=True),
    "database.audit_retention_days": Range(1, 36_500, zero=True),
    "providers.NAME.credentials.weight": Range(1, 1_000_000),
    "providers.NAME.priority": Range(0, 1_000_000),
    "providers.NAME.markup_bp": Range(0, MAX_MARKUP_BP),
    "models.context": Range(1, MAX_TOKENS),
    "models.offers.tiers.above": Range(0, MAX_TOKENS),
    "models.offers.context": Range(1, MAX_TOKENS),
    "models.offers.max_output": Range(1, MAX_TOKENS),
    "models.markup_bp": Range(0, MAX_MARKUP_BP),
    "catalog.sync_every_s": Range(60, YEAR_S, zero=True),
    "catalog.markup_bp": Range(0, MAX_MARKUP_BP),
    "routing.attempts": Range(1, 100),
    "routing.max_candidates": Range(1, 1_000),
    "routing.retry_share": Range(0, 1),
    "routing.retry_floor_per_s": Range(0, 1_000_000),
    "routing.breaker.failures": Range(1, 1_000_000),
    "routing.breaker.open_s": Range(0.001, DAY_S),
    "routing.breaker.jitter": Range(0, 1),
    "routing.breaker.window_s": Range(0.001, DAY_S),
    "routing.breaker.window_outcomes": Range(1, 1_000_000),
    "routing.breaker.window_share": Range(0.001, 1),
    "routing.breaker.lease_s": Range(0.001, DAY_S),
    "routing.breaker.slow_start_s": Range(0, DAY_S),
    "routing.breaker.cool_s": Range(0, DAY_S),
    "routing.deadlines.connect_s": Range(0.001, HOUR_S),
    "routing.deadlines.tls_s": Range(0.001, HOUR_S),
    "routing.deadlines.pool_s": Range(0.001, HOUR_S),
    "routing.deadlines.first_event_s": Range(0.001, DAY_S),
    "routing.deadlines.reasoning_first_event_s": Range(0.001, DAY_S),
    "routing.deadlines.image_s": Range(0.001, DAY_S),
    "routing.deadlines.idle_s": Range(0.001, DAY_S),
    "routing.deadlines.total_s": Range(0.001, DAY_S),
    "routing.deadlines.stream_total_s": Range(0.001, DAY_S),
    "limits.key_rpm": Range(1, MAX_RATE),
    "limits.account_rpm": Range(1, MAX_RATE),
    "limits.key_per_day": Range(1, MAX_RATE),
    "limits.burst": Range(1, MAX_RATE),
    "limits.key_concurrency": Range(1, MAX_RATE),
    "limits.account_concurrency": Range(1, MAX_RATE),
    "limits.api_rpm": Range(1, MAX_RATE),
    "limits.system_rpm": Range(1, MAX_RATE),
    "limits.lease_s": Range(1, YEAR_S),
}
"""Setting → its range. A test holds that every number has one."""

Check = Callable[[str], str]
"""What is wrong with a text; empty for one that is right."""


def _network_problem(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return "is no network; write 10.0.0.0/8, or one address"
    return ""


def _origin_problem(text: str) -> str:
    return "" if text == "*" or is_origin(text) else f"is no origin; write {ORIGIN_FORM}, or *"


def _base_url_problem(text: str) -> str:
    # Placeholders of a row ({host}, {location}) stand for names that are filled in later.
    if parse_url(re.sub(r"\{[a-z_]+\}", "x", text)) is None:
        return "is no base URL; write http://host:port/v1 or https://host/v1"
    return ""


def _index_problem(text: str) -> str:
    if parse_url(text) is None:
        return "is no package index; write https://host/simple"
    return ""


def _proxy_problem(text: str) -> str:
    is_usable = text == DIRECT or proxy_from_url(text) is not None
    return "" if is_usable else f"{NO_PROXY_URL}, or {DIRECT}"


def _pattern_problem(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        return f"is no regular expression: {error}"
    return ""


def _host_problem(text: str) -> str:
    host = text.strip("[]")
    if HOST.fullmatch(host.lower()) is not None and (":" not in host or is_address(host)):
        return ""
    return "is no host name; write it without scheme, port and path"


TEXTS: dict[str, Check] = {
    "web.hosts": _host_problem,
    "web.trusted_proxies": _network_problem,
    "web.cors_origins": _origin_problem,
    "providers.NAME.base_url": _base_url_problem,
    "providers.NAME.proxy": _proxy_problem,
    "providers.NAME.dialect_by_model": _pattern_problem,
    "routing.locks.pattern": _pattern_problem,
    "catalog.index_url": _index_problem,
}
"""Setting → what is wrong with its text, with each of its texts, or with each of its keys."""

URLS = frozenset({"providers.NAME.base_url", "providers.NAME.proxy", "catalog.index_url"})
"""Those whose texts may hold a name and a password, which are not shown."""

PROVIDER_NAMES = (
    "routing.chain",
    "routing.locks.only",
    "routing.locks.first",
    "routing.default_providers",
    "models.offers.provider",
)
"""Settings whose texts, or values, name providers."""


def check_settings(settings: Struct, providers: Collection[str]) -> None:
    """Checks every number, text and name. `providers`: the names of all that there are.

    Faults: `bad_request` with the setting's path, its value, and what may stand there.
    """
    for path, name, value in _iter_values(settings, "", ""):
        if isinstance(value, int | float) and not isinstance(value, bool):
            _check_range(path, value, RANGES.get(name))
        if name in TEXTS:
            for text in _texts(value, keys=True):
                problem = TEXTS[name](text)
                if problem:
                    shown = mask_userinfo(text)[:MAX_SHOWN_CHARS] if name in URLS else text[:200]
                    raise Fault("bad_request", f"{path}: {shown!r} {problem}.")
        if name in PROVIDER_NAMES:
            for text in _texts(value, keys=False):
                _check_provider(path, text, providers)


def _iter_values(value: Any, path: str, name: str) -> Iterator[tuple[str, str, Any]]:
    """Every value within structs, as `providers.groq.priority` and `providers.NAME.priority`."""
    match value:
        case Struct():
            for field in value.__struct_fields__:
                inner = getattr(value, field)
                yield from _iter_values(
                    inner, f"{path}.{field}".lstrip("."), f"{name}.{field}".lstrip(".")
                )
        case dict() if any(isinstance(inner, Struct) for inner in value.values()):
            for key, inner in value.items():
                yield from _iter_values(inner, f"{path}.{key}", f"{name}.NAME")
        case tuple() if any(isinstance(inner, Struct) for inner in value):
            for number, inner in enumerate(value):
                yield from _iter_values(inner, f"{path}.{number}", name)
        case _:
            yield path, name, value


def _texts(value: Any, *, keys: bool) -> Iterator[str]:
    match value:
        case str() if value:
            yield value
        case Mapping():
            yield from value if keys else value.values()
        case tuple():
            yield from value


def _check_range(path: str, value: float, allowed: Range | None) -> None:
    if allowed is None or allowed.low <= value <= allowed.high or (allowed.zero and value == 0):
        return
    zero = "0, or " if allowed.zero else ""
    raise Fault(
        "bad_request", f"{path}: {value:g} is not {zero}from {allowed.low:g} to {allowed.high:g}."
    )


def _check_provider(path: str, name: str, providers: Collection[str]) -> None:
    if name in providers:
        return
    near = get_close_matches(name, providers, 1)
    hint = f"did you mean {near[0]!r}?" if near else "`gatewayz providers` lists them"
    raise Fault("bad_request", f"{path}: there is no provider {name!r}; {hint}")
