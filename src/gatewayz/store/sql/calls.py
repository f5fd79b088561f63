"""Calls as they were recorded: one with all that explains it, and those that end while somebody watches."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs
from sqlalchemy import Select, func, select

from gatewayz.core.calls import CROCKFORD
from gatewayz.core.faults import Fault
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.slices import Cut, Slice, sliced
from gatewayz.store.sql.tables import API_KEYS, ATTEMPTS, CALLS, HOLDS, TRANSFERS

ULID = re.compile(rf"(?:^|[-_])([{CROCKFORD}]{{26}})$")
LISTS = ("usage", "price", "dropped", "reasons", "tags")
MAX_LISTED = 1_000
LONGEST_MS = 35 * 60_000
"""A call is recorded where it ends and named where it begins, so the newest records may have names this much older."""


class Story(Struct, frozen=True):
    """All that is known of a call: its record if it has ended, its attempts, what was booked, what is still held."""

    record: dict[str, Any]
    attempts: list[dict[str, Any]]
    transfers: list[dict[str, Any]]
    hold: dict[str, Any] | None = None


class Whose(Struct, frozen=True):
    """Whose calls: an account's (everybody's if it is empty), of these one key's or those of one person's keys."""

    account: str
    key: str = ""
    user: str = ""

    def of(self, wanted: Select[Any]) -> Select[Any]:
        """Only these calls."""
        if self.account:
            wanted = wanted.where(CALLS.c.account_id == self.account)
        if self.user:
            own = select(API_KEYS.c.id).where(
                API_KEYS.c.account_id == self.account, API_KEYS.c.user_id == self.user
            )
            return wanted.where(CALLS.c.key_id.in_(own))
        return wanted.where(CALLS.c.key_id == self.key) if self.key else wanted


class Wanted(Struct, frozen=True, kw_only=True):
    """Which calls: those that have all of this. `failed` says whether a fault ended them."""

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


def call_id_of(text: str) -> str:
    """The call's id in any form in which a client sees it: `chatcmpl-…`, `msg_…`, `resp_…`. Faults: `bad_request`."""
    match = ULID.search(text.strip())
    if match is None:
        raise Fault(
            "bad_request",
            f"{text[:80]!r} is no id of a call: 26 letters and digits, as in x-request-id.",
        )
    return match[1]


async def owner(database: Database, call_id: str) -> str:
    """Whose a call is, for the operator. Faults: `unknown_route`."""
    async with database.begin(reading=True) as connection:
        for table, column in ((CALLS, CALLS.c.id), (HOLDS, HOLDS.c.call_id)):
            found = (
                await connection.execute(select(table.c.account_id).where(column == call_id))
            ).scalar()
            if found is not None:
                return str(found)
    raise unknown(call_id)


async def story(database: Database, account: str, call_id: str) -> Story:
    """A call of an account; another's is as one that does not exist. Faults: `unknown_route`."""
    wanted = (
        select(*CALLS.c).where(CALLS.c.account_id == account, CALLS.c.id == call_id),
        select(*TRANSFERS.c).where(
            TRANSFERS.c.account_id == account, TRANSFERS.c.call_id == call_id
        ),
        select(*HOLDS.c).where(HOLDS.c.account_id == account, HOLDS.c.call_id == call_id),
        select(*ATTEMPTS.c).where(ATTEMPTS.c.call_id == call_id).order_by(ATTEMPTS.c.number),
    )
    async with database.begin(reading=True) as connection:
        calls, moved, held, tried = [
            [dict(row) for row in (await connection.execute(one)).mappings().all()]
            for one in wanted
        ]
    if not calls and not held:
        raise unknown(call_id)
    record = _read(calls[0]) if calls else {}
    order = sorted(
        moved, key=lambda row: (row["at_ms"], row["kind"] not in {"hold", "extend"}, row["id"])
    )
    return Story(record, tried if calls else [], order, held[0] if held else None)


async def is_of(database: Database, whose: Whose, call_id: str) -> bool:
    """Whether a call that has ended is one of these."""
    async with database.begin(reading=True) as connection:
        return (
            await connection.execute(whose.of(select(CALLS.c.id)).where(CALLS.c.id == call_id))
        ).first() is not None


def _read(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: msgspec.json.decode(value) if name in LISTS else value for name, value in row.items()
    }


async def listed(database: Database, whose: Whose, wanted: Wanted, cut: Cut) -> Slice:
    """The newest calls that are wanted, first the last one. Faults: `bad_request`, `unavailable`."""
    statement = whose.of(select(*CALLS.c))
    for name in ("key_id", "model", "provider", "end_user", "session_id", "fault"):
        if value := getattr(wanted, name):
            statement = statement.where(CALLS.c[name] == value)
    if wanted.failed is not None:
        statement = statement.where(CALLS.c.fault != "" if wanted.failed else CALLS.c.fault == "")
    if wanted.tag:
        # LIKE of SQLite takes capitals for small letters; what is replaced stands there exactly.
        spelled = msgspec.json.encode(wanted.tag).decode()
        statement = statement.where(func.replace(CALLS.c.tags, spelled, "") != CALLS.c.tags)
    if wanted.from_ms is not None:
        statement = statement.where(CALLS.c.id >= first_ulid(wanted.from_ms))
    if wanted.until_ms is not None:
        statement = statement.where(CALLS.c.id < first_ulid(wanted.until_ms))
    found = await sliced(
        database, statement, (CALLS.c.id,), structs.replace(cut, newest_first=True)
    )
    return Slice([_read(row) for row in found.rows], found.next)


async def newest(database: Database, limit: int, account: str = "") -> list[dict[str, Any]]:
    """The calls that came in last, oldest first."""
    rows = await _selected(
        database, _of(account).order_by(CALLS.c.id.desc()).limit(min(limit, MAX_LISTED))
    )
    return list(reversed(rows))


async def ended_since(database: Database, since_ms: int, account: str = "") -> list[dict[str, Any]]:
    """Calls that ended at this moment or later, in the order of their ends."""
    ended = CALLS.c.received_ms + CALLS.c.duration_ms
    young = _of(account).where(CALLS.c.id >= first_ulid(since_ms - LONGEST_MS), ended >= since_ms)
    return await _selected(database, young.order_by(ended, CALLS.c.id).limit(MAX_LISTED))


def _of(account: str) -> Select[Any]:
    wanted = select(*CALLS.c)
    return wanted.where(CALLS.c.account_id == account) if account else wanted


async def _selected(database: Database, wanted: Select[Any]) -> list[dict[str, Any]]:
    async with database.begin(reading=True) as connection:
        return [_read(row) for row in (await connection.execute(wanted)).mappings().all()]


def first_ulid(at_ms: int) -> str:
    """The least name that a call of this moment could have."""
    value = max(at_ms, 0) << 80
    return "".join([CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5)])


def unknown(call_id: str) -> Fault:
    return Fault("unknown_route", f"There is no call {call_id!r}.")
