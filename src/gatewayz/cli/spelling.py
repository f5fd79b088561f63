"""How people write amounts, times and lists on the command line, and how they are shown to them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, nanos_from_usd

UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
SPAN = re.compile(r"(\d{1,6})([smhdw])")


def amount(text: str) -> Nanos:
    """US dollars as decimal text, exactly. Faults: `bad_request`."""
    return nanos_from_usd(text.removeprefix("$"))


def span_ms(text: str) -> int:
    """A span of time such as 90m, 12h, 30d. Faults: `bad_request`."""
    match = SPAN.fullmatch(text.strip())
    if match is None:
        raise Fault("bad_request", f"{text!r} is no span of time, such as 90m, 12h, 30d or 2w.")
    return int(match[1]) * UNITS_S[match[2]] * 1000


def moment_ms(text: str, now_ms: int) -> int:
    """A moment to come: after a span of time, or a date or time of ISO 8601 (UTC where it does not say)."""
    if SPAN.fullmatch(text.strip()):
        return now_ms + span_ms(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Fault(
            "bad_request", f"{text!r} is neither a span of time (30d) nor a date (2030-01-31)."
        ) from None
    return int(
        (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000
    )


def shown_time(at_ms: int | None) -> str:
    """A moment for people, in UTC; empty for never."""
    return (
        "" if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
    )


def words(text: str) -> tuple[str, ...]:
    """The parts of a list with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(pairs: Sequence[str]) -> dict[str, int]:
    """Limits as `name=number`. Faults: `bad_request`."""
    found: dict[str, int] = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        if not number.isdigit():
            raise Fault("bad_request", f"{pair!r} is no limit, such as key_rpm=60.")
        found[name.strip()] = int(number)
    return found
