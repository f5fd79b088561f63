"""How records of calls are stored: short on both databases, and read as they were recorded, whatever is in them."""

import asyncio
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import text

from gatewayz.catalog.operator_models import parse_price
from gatewayz.control.calls import get_call
from gatewayz.core.calls import Attempt, new_ulid, own_traceparent
from gatewayz.core.usage import Usage
from gatewayz.store.sql.ledger.compact import (
    CALLS_OWN,
    SharedTexts,
    compact_call,
    expand_call,
    text_references,
)
from gatewayz.store.sql.ledger.records import (
    ATTEMPT_COLUMNS,
    CALL_COLUMNS,
    RECORD_COLUMNS,
    RecordRows,
)
from gatewayz.store.sql.tables import ATTEMPTS, CALLS
from tests.support.examples import examples
from tests.support.money import call_of, open_account, outcome_of

MAX_BYTES = 500
CALLS_BOOKED = 8_000
AT_ONCE = 500
PRICE = replace(
    parse_price({"input": "0.15", "output": "0.60", "cache_read": "0.075"}),
    version="genai-prices-0.2.3",
    source="https://openrouter.ai/api/v1/models",
)
OFFERS = (
    "groq",
    "deepinfra",
    "together",
    "fireworks",
    "openrouter",
    "cerebras",
    "novita",
    "nebius",
)
MODEL, UPSTREAM_ID = "meta/llama-3.3-70b-instruct", "meta-llama/Llama-3.3-70B-Instruct"
CLIENTS_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def reasons(number):
    """What the plan says of eight offers, whose order differs now and then."""
    turned = OFFERS[number % 3 :] + OFFERS[: number % 3]
    return tuple(
        f"{name}/{UPSTREAM_ID}: healthy, rank (0, 0.0, 0, {place}, 14, 450000000)"
        for place, name in enumerate(turned)
    )


def typical_outcome(number):
    """One call in twenty is answered by the second offer."""
    failed = Attempt(
        provider="groq",
        model=MODEL,
        upstream_id=UPSTREAM_ID,
        credential="Groq#1",
        started_ms=3,
        ended_ms=48,
        status=503,
        fault="upstream_overloaded",
        message="groq answered 503: over capacity, try again in a moment",
        upstream_request="req_01kb5q4d2xf9s8v3m6n7p0r1t2",
    )
    served = replace(
        failed,
        provider="deepinfra",
        credential="DeepInfra#1",
        first_event_ms=412,
        ended_ms=2_780,
        status=200,
        fault="",
        message="",
    )
    return replace(
        outcome_of(103_000 + number),
        served="deepinfra",
        model=MODEL,
        upstream_id=UPSTREAM_ID,
        status=200,
        stop="stop",
        usage=Usage(input=1_200 + number, output=350),
        price=PRICE,
        first_event_ms=415,
        duration_ms=2_790,
        reasons=reasons(number),
        attempts=(failed, served) if number % 20 == 0 else (served,),
    )


def typical_call():
    call = call_of("acme")
    request = replace(call.request, model=MODEL, user="user-81723")
    principal = replace(call.principal, key=call.id)
    return replace(call, request=request, principal=principal, trace=own_traceparent(call.id))


async def bytes_a_call(database):
    """Bytes of the table of calls with its indexes, and of the texts that they share."""
    tables = ("calls", "attempts", "call_texts")
    async with database.begin() as connection:
        if database.location.kind == "postgresql":
            sizes = [
                (
                    await connection.execute(text(f"SELECT pg_total_relation_size('{table}')"))
                ).scalar()
                for table in tables
            ]
            return sum(sizes) / CALLS_BOOKED
        names = (
            await connection.execute(
                text("SELECT name FROM sqlite_master WHERE tbl_name IN ('calls', 'call_texts')")
            )
        ).scalars()
        pages = text("SELECT SUM(pgsize) FROM dbstat WHERE name = :name")
        total = 0
        for name in names.all():
            total += (await connection.execute(pages, {"name": name})).scalar() or 0
        return total / CALLS_BOOKED


async def test_a_record_has_at_most_500_bytes_with_its_indexes(store, database):
    await open_account(database, store.books, "acme", billing="house")
    for first in range(0, CALLS_BOOKED, AT_ONCE):
        numbers = range(first, first + AT_ONCE)
        record = store.books.record_refused_call
        await asyncio.gather(*(record(typical_call(), typical_outcome(each)) for each in numbers))
    await store.books.finish()
    assert await bytes_a_call(database) <= MAX_BYTES


async def test_a_record_is_shown_as_it_was_booked(store, database):
    await open_account(database, store.books, "acme", billing="house")
    booked = {}
    for number in range(21):
        call, outcome = typical_call(), typical_outcome(number)
        await store.books.record_refused_call(call, outcome)
        booked[call.id] = outcome
    await store.books.finish()
    for call_id, outcome in booked.items():
        details = await get_call(database, "acme", call_id)
        assert details.record["reasons"] == list(outcome.reasons)
        assert details.record["asked_model"] == MODEL
        assert msgspec.convert(details.record["price"], type(PRICE)) == PRICE
        assert details.record["usage"]["input"] == outcome.usage.input
        shown = [
            tuple(
                attempt[name] for name in ("provider", "credential", "status", "fault", "message")
            )
            for attempt in details.attempts
        ]
        assert shown == [
            (each.provider, each.credential, each.status, each.fault, each.message)
            for each in outcome.attempts
        ]


@pytest.mark.parametrize("column", [column.name for column in CALLS.columns])
def test_every_column_of_a_record_has_its_place(column):
    assert column in CALL_COLUMNS
    assert (column in RECORD_COLUMNS) == (column != "attempts")


WORDS = st.sampled_from(
    ["", "a", "groq", "family/model", "=x", "0", '{"input":1,"output":2}', "[]"]
)
TEXTS = WORDS | st.text(max_size=40)
NUMBERS = st.integers(0, 10**12)
LISTS = st.lists(st.text(max_size=60), max_size=3).map(
    lambda items: msgspec.json.encode(items).decode()
)
OBJECTS = st.dictionaries(st.sampled_from(["input", "output", "x"]), NUMBERS, max_size=3).map(
    lambda value: msgspec.json.encode(value).decode()
)
JSON_COLUMNS = {
    "usage": OBJECTS,
    "price": OBJECTS,
    "reasons": LISTS,
    "tags": LISTS,
    "dropped": LISTS,
}


CHOSEN = {
    "endpoint": st.sampled_from(["/v1/chat/completions", "/v1/messages", "/v1/completions"]),
    "dialect": st.sampled_from(["openai_chat", "anthropic_messages", "openai_completions", ""]),
    "trace": st.sampled_from(
        ["", CLIENTS_TRACE, CLIENTS_TRACE.upper(), CLIENTS_TRACE[:-1] + "0", CLIENTS_TRACE + "-x"]
    ),
    "id": st.sampled_from([f"01KB{letter * 22}" for letter in "0AZ"]),
}


def cells_of(table, names):
    strategies: list[st.SearchStrategy[Any]] = []
    for name in names:
        column = table.columns[name]
        if name in JSON_COLUMNS:
            strategies.append(JSON_COLUMNS[name])
        elif name in CHOSEN:
            strategies.append(CHOSEN[name])
        elif str(column.type) == "TEXT":
            strategies.append(TEXTS)
        else:
            strategies.append(NUMBERS if not column.nullable else NUMBERS | st.none())
    return st.tuples(*strategies)


@st.composite
def records(draw):
    call = draw(cells_of(CALLS, RECORD_COLUMNS))
    if draw(st.booleans()):
        place = RECORD_COLUMNS.index("trace")
        call = (*call[:place], own_traceparent(call[0]), *call[place + 1 :])
    attempts = []
    for number in range(1, draw(st.integers(0, 3)) + 1):
        cells = dict(zip(ATTEMPT_COLUMNS, draw(cells_of(ATTEMPTS, ATTEMPT_COLUMNS)), strict=True))
        own = {name: call[RECORD_COLUMNS.index(name)] for name in CALLS_OWN}
        cells |= draw(st.sampled_from([{}, own])) | {"call_id": call[0], "number": number}
        attempts.append(tuple(cells[name] for name in ATTEMPT_COLUMNS))
    return RecordRows(call=call, attempts=tuple(attempts))


@examples(500)
@given(st.lists(records(), min_size=1, max_size=4), st.booleans())
def test_what_is_stored_short_says_what_was_recorded(batch, committed):
    texts = SharedTexts()
    stored: dict[str, str] = {}
    for record in [*batch, *batch, *batch]:
        to_store: dict[str, str] = {}
        row = dict(zip(CALL_COLUMNS, compact_call(record, texts, to_store), strict=True))
        stored |= to_store
        if committed:
            texts.confirm(to_store)
        assert text_references([row]) <= stored.keys()
        expanded = expand_call(row, stored)
        attempts = expanded.pop("attempts")
        whole = dict(zip(RECORD_COLUMNS, record.call, strict=True))
        # Without a name that was asked for there is the one that answered.
        whole["asked_model"] = whole["asked_model"] or whole["model"]
        assert expanded == whole
        assert [tuple(each[name] for name in ATTEMPT_COLUMNS) for each in attempts] == list(
            record.attempts
        )


def test_the_trace_of_a_call_of_its_own_is_its_id_and_a_valid_one():
    traces = {own_traceparent(new_ulid()) for _ in range(100)}
    assert len(traces) == 100
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", trace) for trace in traces)
    assert own_traceparent("7" + "Z" * 25) == f"00-{'f' * 32}-{'f' * 16}-01"
