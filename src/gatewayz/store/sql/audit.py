"""The audit log: who changed money, keys, roles, prices, providers. Each entry seals itself and the one before it.

The seal is an HMAC under the installation's secret, so whoever can write the database but does not have the secret can
neither change an entry nor take one out; the count beside the log tells when its end was cut off.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.store.secret import Pepper, Peppers
from gatewayz.store.sql.checking import MAX_SHOWN, Violation
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.revising import bumped
from gatewayz.store.sql.slices import Cut, Slice, sliced
from gatewayz.store.sql.tables import AUDIT_LOG, REVISIONS

PURPOSE = "audit log"
COUNT = "audit"
"""The subject of `revisions` that counts entries."""
PAGE = 1_000
MOVES = ("topup", "grant", "adjust", "refund", "chargeback", "refund_call")
"""Kinds of transfers that somebody asks for; each has its entry, with the transfer's id as subject."""


class Entry(Struct, frozen=True):
    """One change. `subject` is the id of what was changed, `detail` what was said of it, as JSON."""

    number: int
    at_ms: int
    actor: str
    action: str
    subject: str
    account: str
    detail: str
    previous: str
    digest: str


class Deed(Struct, frozen=True, kw_only=True):
    """What somebody does, for the log."""

    action: str
    subject: str
    account: str = ""
    detail: Mapping[str, Any] = {}


async def recorded(
    connection: AsyncConnection, peppers: Peppers, actor: str, deed: Deed, now_ms: int
) -> Entry:  # fmt: skip
    """Adds an entry within the transaction of the change, one at a time: the count's row is locked until its end."""
    number = await bumped(connection, COUNT)
    last = select(AUDIT_LOG.c.digest).order_by(AUDIT_LOG.c.number.desc()).limit(1)
    previous = str((await connection.execute(last)).scalar() or "")
    detail = msgspec.json.encode(deed.detail, order="sorted").decode()
    open_entry = Entry(
        number, now_ms, actor, deed.action, deed.subject, deed.account, detail, previous, ""
    )
    entry = msgspec.structs.replace(open_entry, digest=seal(open_entry, peppers.current))
    row = msgspec.structs.asdict(entry)
    row["account_id"] = row.pop("account")
    await connection.execute(AUDIT_LOG.insert().values(row))
    return entry


async def goes_on(connection: AsyncConnection, peppers: Peppers) -> bool:
    """Whether another entry can follow the last one: its seal is of a secret that is known here."""
    last = select(AUDIT_LOG.c.digest).order_by(AUDIT_LOG.c.number.desc()).limit(1)
    digest = (await connection.execute(last)).scalar()
    return digest is None or peppers.named(str(digest).partition(".")[0]) is not None


def seal(entry: Entry, pepper: Pepper) -> str:
    """The digest that an entry must have under this secret, with the secret's id before it."""
    sealed = msgspec.json.encode(msgspec.structs.astuple(entry)[:-1])
    return f"{pepper.id}.{hmac.new(pepper.derived(PURPOSE), sealed, hashlib.sha256).hexdigest()}"


def _entry(row: Sequence[Any]) -> Entry:
    return Entry(*row)


async def entries(
    database: Database, *, account: str = "", after: int = 0, limit: int = PAGE
) -> list[Entry]:
    """Entries of an account, or of all, from the one after `after` on. Faults: `unavailable`."""
    wanted = (
        select(*AUDIT_LOG.c)
        .where(AUDIT_LOG.c.number > after)
        .order_by(AUDIT_LOG.c.number)
        .limit(limit)
    )
    if account:
        wanted = wanted.where(AUDIT_LOG.c.account_id == account)
    async with database.begin(reading=True) as connection:
        return [_entry(row) for row in (await connection.execute(wanted)).all()]


async def last_entries(database: Database, limit: int, account: str = "") -> list[Entry]:
    """The newest entries, oldest first."""
    wanted = select(*AUDIT_LOG.c).order_by(AUDIT_LOG.c.number.desc()).limit(limit)
    if account:
        wanted = wanted.where(AUDIT_LOG.c.account_id == account)
    async with database.begin(reading=True) as connection:
        return [_entry(row) for row in reversed((await connection.execute(wanted)).all())]


async def several(database: Database, account: str, cut: Cut) -> tuple[list[Entry], Slice]:
    """A slice of the log, or of an account's part of it; the newest first. Faults: `bad_request`, `unavailable`."""
    wanted = (
        select(*AUDIT_LOG.c).where(AUDIT_LOG.c.account_id == account)
        if account
        else select(*AUDIT_LOG.c)
    )
    found = await sliced(database, wanted, (AUDIT_LOG.c.number,), replace(cut, newest_first=True))
    return [_entry(tuple(row.values())) for row in found.rows], found


async def verified(database: Database, peppers: Peppers) -> tuple[int, list[Violation]]:
    """How many entries there are, and everything that is wrong with them. Faults: `unavailable`."""
    found: list[Violation] = []
    previous, number = "", 0
    while page := await entries(database, after=number):
        for entry in page:
            wrong = _wrong(entry, number, previous, peppers)
            if wrong and len(found) < MAX_SHOWN:
                found.append(Violation("audit_log_is_whole", f"entry {entry.number}", wrong))
            previous, number = entry.digest, entry.number
    async with database.begin(reading=True) as connection:
        counted = (
            await connection.execute(select(REVISIONS.c.number).where(REVISIONS.c.subject == COUNT))
        ).scalar()
        silent = (await connection.execute(text(UNTOLD))).fetchmany(MAX_SHOWN)
    if (counted or 0) != number:
        found.append(
            Violation(
                "audit_log_is_whole",
                "the end",
                f"{counted or 0} were written, the last is {number}",
            )
        )
    found += [
        Violation("money_moves_are_told", name, f"a {kind} of {account} has no entry")
        for name, kind, account in silent
    ]
    return number, found


def _wrong(entry: Entry, number: int, previous: str, peppers: Peppers) -> str:
    if entry.number != number + 1:
        return f"the entries between {number} and it are missing"
    pepper = peppers.named(entry.digest.partition(".")[0])
    if pepper is None:
        return "it was sealed with a secret that is not known here; name it in old_secret_keys"
    if not hmac.compare_digest(entry.digest, seal(entry, pepper)):
        return "it was changed after it was written"
    return "" if entry.previous == previous else "it does not follow the entry before it"


UNTOLD = f"""
SELECT id, kind, account_id FROM transfers WHERE kind IN ({", ".join(f"'{kind}'" for kind in MOVES)})
AND NOT EXISTS (SELECT 1 FROM audit_log WHERE audit_log.subject = transfers.id)
"""  # noqa: S608 - names of ours
