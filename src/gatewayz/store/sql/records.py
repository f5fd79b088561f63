"""The record of a call as rows: everything that explains it, nothing that was said in it."""

from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any

from msgspec import Struct, to_builtins

from gatewayz.core.calls import Attempt, Call, Outcome
from gatewayz.core.money import Price
from gatewayz.core.usage import BUCKETS, Usage
from gatewayz.dialects.jsontext import encoded
from gatewayz.store.sql.tables import ATTEMPTS, CALLS, USAGE_DAYS

CALL_COLUMNS = tuple(column.name for column in CALLS.columns)
ATTEMPT_COLUMNS = tuple(column.name for column in ATTEMPTS.columns)

DAY_COLUMNS = tuple(column.name for column in USAGE_DAYS.columns)
ADDED = ", ".join(f"{name} = usage_days.{name} + excluded.{name}" for name in DAY_COLUMNS[3:])
"""What becomes of a day that has calls already."""
DAY_MS = 86_400_000

MAX_PRICES_KNOWN = 10_000


class RecordRows(Struct, frozen=True):
    """A call's row and its attempts' rows, in the order of the columns."""

    call: tuple[Any, ...]
    attempts: tuple[tuple[Any, ...], ...]


def rows_of(call: Call, outcome: Outcome, held: int) -> RecordRows:
    """The rows of a call that has ended."""
    request, usage = call.request, outcome.usage
    row = (
        call.id,
        call.principal.account,
        call.principal.key,
        call.end_user,
        request.session,
        call.endpoint,
        request.dialect,
        request.streamed,
        request.model,
        outcome.model,
        outcome.served,
        outcome.upstream_id,
        outcome.status,
        outcome.fault,
        outcome.message,
        outcome.stop,
        call.received_ms,
        outcome.first_event_ms,
        outcome.duration_ms,
        usage.prompt,
        usage.completion,
        _usage_text(usage),
        _price_text(outcome.price),
        outcome.cost,
        held,
        outcome.upstream_cost_usd,
        usage.estimated,
        outcome.unpriced,
        _listed(outcome.dropped),
        _listed(outcome.reasons),
        _listed(call.tags),
        call.trace,
    )
    return RecordRows(
        row, tuple(_attempt(call.id, number, one) for number, one in enumerate(outcome.attempts, 1))
    )


_of_a_day = itemgetter(
    *map(
        CALL_COLUMNS.index,
        ("account_id", "key_id", "received_ms", "fault", "input_tokens", "output_tokens", "cost"),
    )
)


def days_of(calls: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What calls' rows sum to by account, key and day, in that order: the columns of `usage_days`."""
    days: dict[tuple[str, str, int], list[int]] = {}
    for row in calls:
        account, key, received_ms, fault, into, out, cost = _of_a_day(row)
        sums = days.setdefault((account, key, received_ms // DAY_MS), [0, 0, 0, 0, 0])
        for place, amount in enumerate((1, fault != "", into, out, cost)):
            sums[place] += amount
    return [(*name, *sums) for name, sums in sorted(days.items())]


def _attempt(call_id: str, number: int, one: Attempt) -> tuple[Any, ...]:
    return (
        call_id,
        number,
        one.provider,
        one.model,
        one.upstream_id,
        one.credential,
        one.started_ms,
        one.first_event_ms,
        one.ended_ms,
        one.status,
        one.fault,
        one.message,
        one.upstream_request,
    )


def _listed(texts: tuple[str, ...]) -> str:
    return encoded(texts).decode() if texts else "[]"


def _usage_text(usage: Usage) -> str:
    """The buckets that hold something, and what is to be said of them."""
    counts: dict[str, int | bool | str] = {
        name: count for name in BUCKETS if (count := getattr(usage, name))
    }
    if usage.service:
        counts["service"] = usage.service
    if usage.repaired:
        counts["repaired"] = True
    return encoded(counts).decode() if counts else "{}"


@lru_cache(maxsize=MAX_PRICES_KNOWN)
def _price_text(price: Price | None) -> str:
    """What was paid per unit, without the buckets that cost nothing; prices are few, so each is spelled once."""
    if price is None:
        return "{}"
    return encoded({name: value for name, value in to_builtins(price).items() if value}).decode()
