"""How long a provider asks us to wait, from the many places where it may say so."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_S = 3_600.0
"""A provider that asks for more is taken to mean an hour."""
RESET_HEADERS = (
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-reset-requests-day",
    "x-ratelimit-reset-tokens-minute",
)
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?$")
TEXT_PATTERNS = (
    re.compile(r"try again in ([\d.]+)\s*(ms|s|m)\b"),
    re.compile(r'"retryDelay":\s*"([\d.]+)(s)"'),
)
MAX_TEXT_BYTES = 8_192
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0}


def retry_after_s(headers: Mapping[str, str], body: bytes, now_ms: int) -> float | None:
    """Seconds to wait, from 0 to `MAX_RETRY_AFTER_S`; nothing when the provider does not say."""
    for wait_s in (_from_headers(headers, now_ms), _from_text(body)):
        if wait_s is not None:
            return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)
    return None


def _from_headers(headers: Mapping[str, str], now_ms: int) -> float | None:
    wait_ms = _parse_number(headers.get("retry-after-ms", ""))
    if wait_ms is not None:
        return wait_ms / 1000
    retry_after = headers.get("retry-after", "").strip()
    if retry_after:
        seconds = _parse_number(retry_after)
        return seconds if seconds is not None else _seconds_until_date(retry_after, now_ms)

    # A limit that is not used up says nothing about when to come back.
    exhausted = [
        name for name in RESET_HEADERS if headers.get(name.replace("reset", "remaining"), "") == "0"
    ]
    waits_s = [_parse_duration_s(headers.get(name, "")) for name in exhausted]
    return max((wait_s for wait_s in waits_s if wait_s is not None), default=None)


def _parse_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _seconds_until_date(text: str, now_ms: int) -> float | None:
    try:
        then = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    aware = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
    return (aware - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds()


def _parse_duration_s(text: str) -> float | None:
    """`6m0s`, `1.5s`, `12ms`, `2m59.56s`, or plain seconds."""
    plain = _parse_number(text)
    if plain is not None:
        return plain
    match = DURATION.match(text.strip())
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds, millis = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + millis / 1000


def _from_text(body: bytes) -> float | None:
    text = body[:MAX_TEXT_BYTES].decode(errors="replace")
    for pattern in TEXT_PATTERNS:
        match = pattern.search(text)
        if match is not None:
            return float(match[1]) * UNITS_S[match[2]]
    return None
