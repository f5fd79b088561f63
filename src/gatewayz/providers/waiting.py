"""How long a provider asks us to wait, from the many places where it may say so."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_S = 3_600.0
"""A provider that asks for more is believed to mean an hour."""
RESETS = (
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-reset-requests-day",
    "x-ratelimit-reset-tokens-minute",
)
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?$")
IN_TEXT = (
    re.compile(r"try again in ([\d.]+)\s*(ms|s|m)\b"),
    re.compile(r'"retryDelay":\s*"([\d.]+)(s)"'),
)
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0}


def retry_after_s(headers: Mapping[str, str], body: bytes, now_ms: int) -> float | None:
    """Seconds to wait, between 0 and `LONGEST_S`; nothing when the provider does not say."""
    for found in (_in_headers(headers, now_ms), _in_text(body)):
        if found is not None:
            return min(max(found, 0.0), LONGEST_S)
    return None


def _in_headers(headers: Mapping[str, str], now_ms: int) -> float | None:
    millis = _number(headers.get("retry-after-ms", ""))
    if millis is not None:
        return millis / 1000
    said = headers.get("retry-after", "").strip()
    if said:
        seconds = _number(said)
        return seconds if seconds is not None else _date_s(said, now_ms)
    spent = [name for name in RESETS if headers.get(name.replace("reset", "remaining"), "") == "0"]
    waits = [
        wait for wait in (_duration_s(headers.get(name, "")) for name in spent) if wait is not None
    ]
    return max(waits, default=None)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value else None


def _date_s(text: str, now_ms: int) -> float | None:
    try:
        then = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    aware = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
    return (aware - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds()


def _duration_s(text: str) -> float | None:
    """`6m0s`, `1.5s`, `12ms`, `2m59.56s`, or plain seconds."""
    plain = _number(text)
    if plain is not None:
        return plain
    match = DURATION.match(text.strip())
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds, millis = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + millis / 1000


def _in_text(body: bytes) -> float | None:
    text = body[:8192].decode(errors="replace")
    for pattern in IN_TEXT:
        match = pattern.search(text)
        if match is not None:
            return float(match[1]) * UNITS_S[match[2]]
    return None
