"""The record of a call as rows: everything that explains it, nothing that was said in it."""

from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any

from msgspec import Struct, to_builtins

from gatewayz.core.calls import Attempt, Call, Outcome
from gatewayz.core.clock import DAY_MS
from gatewayz.core.money import Price
from gatewayz.core.text_bounds import (
    MAX_DROPPED_NAME_CHARS,
    MAX_DROPPED_NAMES,
    MAX_MODEL_CHARS,
    MAX_REASON_CHARS,
    MAX_REASONS,
    MAX_REQUEST_ID_CHARS,
    MAX_SESSION_CHARS,
    MAX_STOP_CHARS,
    shorten,
    shorten_all,
)
from gatewayz.core.usage import BUCKETS, Usage
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.store.sql.tables import ATTEMPTS, CALLS, USAGE_MODELS

CALL_COLUMNS = tuple(column.name for column in CALLS.columns)
RECORD_COLUMNS = CALL_COLUMNS[:-1]
"""Those of a record; the last one of a row has its attempts."""
ATTEMPT_COLUMNS = tuple(column.name for column in ATTEMPTS.columns)
SUM_COLUMNS = tuple(column.name for column in USAGE_MODELS.columns)
SUM_KEY = tuple(column.name for column in USAGE_MODELS.primary_key)
ADD_TO_SUM = ", ".join(
    f"{name} = usage_models.{name} + excluded.{name}" for name in SUM_COLUMNS[len(SUM_KEY) :]
)
"""What becomes of a sum that has calls already."""

MAX_CACHED_PRICES = 10_000


class RecordRows(Struct, frozen=True):
    """A call's row and its attempts' rows, in the order of `RECORD_COLUMNS` and `ATTEMPT_COLUMNS`.

    The names of the fields are those of lines in the journal on disk, so they never change.
    """

    call: tuple[Any, ...]
    attempts: tuple[tuple[Any, ...], ...]


def rows_of(call: Call, outcome: Outcome, held: int) -> RecordRows:
    """The rows of a call that has ended. `held`: how many nano-dollars were held for it."""
    request, usage = call.request, outcome.usage
    # In the order of `RECORD_COLUMNS`.
    row = (
        call.id,
        call.principal.account,
        call.principal.key,
        call.end_user,
        shorten(request.session, MAX_SESSION_CHARS),
        call.endpoint,
        request.dialect,
        request.streamed,
        shorten(request.model, MAX_MODEL_CHARS),
        shorten(outcome.model, MAX_MODEL_CHARS),
        outcome.served,
        shorten(outcome.upstream_id, MAX_MODEL_CHARS),
        outcome.status,
        outcome.fault,
        outcome.message,
        shorten(outcome.stop, MAX_STOP_CHARS),
        call.received_ms,
        outcome.first_event_ms,
        outcome.duration_ms,
        usage.prompt,
        usage.completion,
        _usage_text(usage),
        _price_text(outcome.price),
        outcome.cost,
        held,
        shorten(outcome.upstream_cost_usd, MAX_STOP_CHARS),
        usage.estimated,
        outcome.unpriced,
        _json_list(shorten_all(outcome.dropped, MAX_DROPPED_NAMES, MAX_DROPPED_NAME_CHARS)),
        _json_list(shorten_all(outcome.reasons, MAX_REASONS, MAX_REASON_CHARS)),
        _json_list(call.tags),
        call.trace,
    )
    attempts = [
        _attempt_row(call.id, number, attempt) for number, attempt in enumerate(outcome.attempts, 1)
    ]
    return RecordRows(call=row, attempts=tuple(attempts))


SUMMED = (
    *("account_id", "key_id", "model", "provider", "received_ms", "fault"),
    *("input_tokens", "output_tokens", "cost"),
)
_sum_cells = itemgetter(*map(RECORD_COLUMNS.index, SUMMED))


def sums_of(calls: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What records sum to, as rows of `usage_models`, in the order in which they are locked."""
    sums: dict[tuple[str, int, str, str, str], list[int]] = {}
    for row in calls:
        account, key, model, provider, received_ms, fault, *counts = _sum_cells(row)
        name = (account, received_ms // DAY_MS, key, model, provider)
        total = sums.setdefault(name, [0, 0, 0, 0, 0])
        for place, amount in enumerate((1, fault != "", *counts)):
            total[place] += amount
    return [(*name, *total) for name, total in sorted(sums.items())]


def _attempt_row(call_id: str, number: int, attempt: Attempt) -> tuple[Any, ...]:
    return (
        call_id,
        number,
        attempt.provider,
        shorten(attempt.model, MAX_MODEL_CHARS),
        shorten(attempt.upstream_id, MAX_MODEL_CHARS),
        attempt.credential,
        attempt.started_ms,
        attempt.first_event_ms,
        attempt.ended_ms,
        attempt.status,
        attempt.fault,
        attempt.message,
        shorten(attempt.upstream_request, MAX_REQUEST_ID_CHARS),
    )


def _json_list(texts: tuple[str, ...]) -> str:
    return encode_json(texts).decode() if texts else "[]"


def _usage_text(usage: Usage) -> str:
    """The buckets that count something, and how the numbers came about."""
    counts: dict[str, int | bool | str] = {
        name: count for name in BUCKETS if (count := getattr(usage, name))
    }
    if usage.service:
        counts["service"] = usage.service
    if usage.repaired:
        counts["repaired"] = True
    if usage.out_of_credit:
        counts["out_of_credit"] = True
    return encode_json(counts).decode() if counts else "{}"


@lru_cache(maxsize=MAX_CACHED_PRICES)
def _price_text(price: Price | None) -> str:
    """What was paid per unit, without the buckets that cost nothing.

    Prices are few, so each is encoded once.
    """
    if price is None:
        return "{}"
    fields = {name: value for name, value in to_builtins(price).items() if value}
    return encode_json(fields).decode()
