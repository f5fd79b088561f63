"""Calls as they were recorded: one with all that explains it, and those that end meanwhile."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, structs
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.control.access import OwnerFilter
from gatewayz.core.calls import CROCKFORD, first_ulid
from gatewayz.core.faults import Fault
from gatewayz.core.pagination import Cursor, Page
from gatewayz.core.renamed import current_fault_code, fault_code_spellings
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.ledger.compact import expand_call, text_references
from gatewayz.store.sql.pagination import MAX_ROWS, paginate
from gatewayz.store.sql.tables import ATTEMPTS, CALL_TEXTS, CALLS, HOLDS, TRANSFERS

ULID = re.compile(rf"(?:^|[-_])([{CROCKFORD}]{{26}})$")
JSON_COLUMNS = ("usage", "price", "dropped", "reasons", "tags")
EXACT_FILTERS = ("key_id", "model", "provider", "end_user", "session_id")
MAX_CALL_MS = 35 * 60_000
"""The longest call. A call is named where it begins and recorded where it ends, so the newest
records may have ids this much older."""

CallRow = dict[str, Any]
"""A record by column name, with JSON decoded and fault codes as they are called today."""


class CallDetails(Struct, frozen=True):
    """All that is known of a call, as rows by column name.

    Its record if it has ended, its attempts, what was booked, and what is still held.
    """

    record: CallRow
    attempts: list[dict[str, Any]]
    transfers: list[dict[str, Any]]
    hold: dict[str, Any] | None = None


class CallFilter(Struct, frozen=True, kw_only=True):
    """Which calls: those that have all of this. `failed` says whether a fault ended them.

    Example: CallFilter(provider="groq", failed=True, from_ms=1795559244228)
    """

    key_id: str = ""
    model: str = ""
    provider: str = ""
    end_user: str = ""
    session_id: str = ""
    tag: str = ""
    fault: str = ""
    failed: bool | None = None
    from_ms: int | None = None
    until_ms: int | None = None


def parse_call_id(text: str) -> str:
    """The id of a call in any form in which a client sees it: `chatcmpl-…`, `msg_…`, `resp_…`.

    Faults: `bad_request`.
    """
    match = ULID.search(text.strip())
    if match is None:
        raise Fault(
            "bad_request",
            f"{text[:80]!r} is no id of a call: 26 letters and digits, as in x-request-id.",
        )
    return match[1]


async def account_of_call(database: Database, call_id: str) -> str:
    """The account of a call, ended or under way, for the operator. Faults: `not_found`."""
    async with database.begin(reading=True) as connection:
        for table, id_column in ((CALLS, CALLS.c.id), (HOLDS, HOLDS.c.call_id)):
            own = select(table.c.account_id).where(id_column == call_id)
            account = (await connection.execute(own)).scalar()
            if account is not None:
                return str(account)
    raise call_not_found(call_id)


async def get_call(database: Database, account: str, call_id: str) -> CallDetails:
    """A call of an account; another's is as one that does not exist. Faults: `not_found`."""
    statements = (
        select(*CALLS.c).where(CALLS.c.account_id == account, CALLS.c.id == call_id),
        select(*TRANSFERS.c).where(
            TRANSFERS.c.account_id == account, TRANSFERS.c.call_id == call_id
        ),
        select(*HOLDS.c).where(HOLDS.c.account_id == account, HOLDS.c.call_id == call_id),
        select(*ATTEMPTS.c).where(ATTEMPTS.c.call_id == call_id).order_by(ATTEMPTS.c.number),
    )
    async with database.begin(reading=True) as connection:
        calls, transfers, holds, attempts = [
            [dict(row) for row in (await connection.execute(statement)).mappings().all()]
            for statement in statements
        ]
        records = await _decode_rows(connection, calls)
    if not calls and not holds:
        raise call_not_found(call_id)

    # Attempts have no account of their own: they are shown with the record that does. Those of an
    # older version are rows.
    record = records[0] if records else {}
    attempts = record.pop("attempts", []) or (attempts if records else [])
    return CallDetails(
        record=record,
        attempts=[_with_current_fault(attempt) for attempt in attempts],
        transfers=sorted(transfers, key=_booking_order),
        hold=holds[0] if holds else None,
    )


def _booking_order(transfer: Mapping[str, Any]) -> tuple[int, bool, str]:
    """By time; within a millisecond what was held before what was taken of it."""
    return transfer["at_ms"], transfer["kind"] not in {"hold", "extend"}, transfer["id"]


async def is_call_of(database: Database, owner: OwnerFilter, call_id: str) -> bool:
    """Whether a call that has ended is one of these. Faults: `unavailable`."""
    own = _restrict(select(CALLS.c.id).where(CALLS.c.id == call_id), owner)
    async with database.begin(reading=True) as connection:
        return (await connection.execute(own)).first() is not None


def _restrict(statement: Select[Any], owner: OwnerFilter) -> Select[Any]:
    return owner.restrict(statement, CALLS.c.account_id, CALLS.c.key_id)


async def _decode_rows(
    connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
) -> list[CallRow]:
    """Rows of `calls` as they were recorded, with the texts that they name."""
    texts: dict[str, str] = {}
    if names := sorted(text_references(rows)):
        statement = select(CALL_TEXTS).where(CALL_TEXTS.c.id.in_(names))
        texts = {row.id: row.text for row in (await connection.execute(statement)).all()}
    return [_decode_row(expand_call(row, texts)) for row in rows]


def _decode_row(row: Mapping[str, Any]) -> CallRow:
    decoded = _with_current_fault(row)
    for name in JSON_COLUMNS:
        decoded[name] = msgspec.json.decode(decoded[name])
    return decoded


def _with_current_fault(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "fault": current_fault_code(row["fault"])}


async def list_calls(
    database: Database, owner: OwnerFilter, call_filter: CallFilter, cursor: Cursor
) -> Page:
    """A page of calls, the newest first; its rows are `CallRow`s.

    Faults: `bad_request`, `unavailable`.
    """
    statement = _restrict(select(*CALLS.c), owner)
    for name in EXACT_FILTERS:
        if value := getattr(call_filter, name):
            statement = statement.where(CALLS.c[name] == value)
    if call_filter.fault:
        statement = statement.where(CALLS.c.fault.in_(fault_code_spellings(call_filter.fault)))
    if call_filter.failed is not None:
        faulty = CALLS.c.fault != ""
        statement = statement.where(faulty if call_filter.failed else ~faulty)
    if call_filter.tag:
        # LIKE of SQLite takes capitals for small letters; what is replaced stands there exactly.
        quoted = msgspec.json.encode(call_filter.tag).decode()
        statement = statement.where(func.replace(CALLS.c.tags, quoted, "") != CALLS.c.tags)
    if call_filter.from_ms is not None:
        statement = statement.where(CALLS.c.id >= first_ulid(call_filter.from_ms))
    if call_filter.until_ms is not None:
        statement = statement.where(CALLS.c.id < first_ulid(call_filter.until_ms))

    newest_first = structs.replace(cursor, newest_first=True)
    page = await paginate(database, statement, (CALLS.c.id,), newest_first)
    async with database.begin(reading=True) as connection:
        return structs.replace(
            page, rows=_without_attempts(await _decode_rows(connection, page.rows))
        )


async def list_latest_calls(database: Database, limit: int, account: str = "") -> list[CallRow]:
    """The calls that came in last, oldest first. Faults: `unavailable`."""
    newest_first = _select_calls(account).order_by(CALLS.c.id.desc()).limit(min(limit, MAX_ROWS))
    return list(reversed(await _fetch_calls(database, newest_first)))


async def list_calls_ended_since(
    database: Database, since_ms: int, account: str = ""
) -> list[CallRow]:
    """Calls that ended at this moment or later, in the order of their ends.

    Faults: `unavailable`.
    """
    end_ms = CALLS.c.received_ms + CALLS.c.duration_ms
    # The bound on ids lets the index answer; the ends alone would read every record.
    recent = _select_calls(account).where(
        CALLS.c.id >= first_ulid(since_ms - MAX_CALL_MS), end_ms >= since_ms
    )
    return await _fetch_calls(database, recent.order_by(end_ms, CALLS.c.id).limit(MAX_ROWS))


def _select_calls(account: str) -> Select[Any]:
    return _restrict(select(*CALLS.c), OwnerFilter(account))


async def _fetch_calls(database: Database, statement: Select[Any]) -> list[CallRow]:
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(statement)).mappings().all()
        return _without_attempts(await _decode_rows(connection, rows))


def _without_attempts(rows: list[CallRow]) -> list[CallRow]:
    """Without the attempts, which are shown with a call alone."""
    return [{name: cell for name, cell in row.items() if name != "attempts"} for row in rows]


def call_not_found(call_id: str) -> Fault:
    """The fault for an id that no call has, or a call of another account."""
    return Fault("not_found", f"There is no call {call_id!r}.")
