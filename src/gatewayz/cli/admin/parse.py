"""Amounts, times and lists as people write them, and times as they read them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, nanos_from_usd

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
DURATION = re.compile(r"(\d{1,6})([smhdw])")


def parse_amount(text: str) -> Nanos:
    """US dollars as decimal text, exactly. Faults: `bad_request`."""
    return nanos_from_usd(text.removeprefix("$"))


def parse_duration_ms(text: str) -> int:
    """A duration such as 90m, 12h, 30d, in milliseconds. Faults: `bad_request`."""
    match = DURATION.fullmatch(text.strip())
    if match is None:
        raise Fault("bad_request", f"{text!r} is no duration, such as 90m, 12h, 30d or 2w.")
    return int(match[1]) * UNITS_S[match[2]] * 1000


def parse_time_ms(text: str, now_ms: int) -> int:
    """A moment to come, in Unix milliseconds: a duration from now, or a date or time of ISO 8601.

    A time without a zone is UTC. Faults: `bad_request`.
    """
    if DURATION.fullmatch(text.strip()):
        return now_ms + parse_duration_ms(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Fault(
            "bad_request", f"{text!r} is neither a duration (30d) nor a date (2030-01-31)."
        ) from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def format_time(at_ms: int | None) -> str:
    """A moment for people, in UTC; empty for never."""
    if at_ms is None:
        return ""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def parse_list(text: str) -> tuple[str, ...]:
    """The parts of a list with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_limits(pairs: Sequence[str]) -> dict[str, int]:
    """Limits as `name=number`. Faults: `bad_request`."""
    limits: dict[str, int] = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        if not number.isdigit():
            raise Fault(
                "bad_request", f"{pair!r} is no limit; write NAME=NUMBER, such as key_rpm=60."
            )
        limits[name.strip()] = int(number)
    return limits
