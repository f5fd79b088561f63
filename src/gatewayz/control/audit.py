"""The audit log: who changed money, keys, roles, prices, providers, in a chain of entries.

Each entry carries an HMAC of itself and the one before it under the installation's secret.
Whoever can write the database but does not have the secret can neither change an entry nor take
one out. The head, that is the count of entries and the digest of the last one, is sealed under the
same secret beside the log, so that its end cannot be cut off either.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Select, delete, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.faults import Fault
from gatewayz.core.pagination import Cursor, Page
from gatewayz.store.secret import Pepper, Peppers
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.ledger.reconcile import MAX_SHOWN, Violation
from gatewayz.store.sql.pagination import paginate
from gatewayz.store.sql.revisions import get_revision, increment_revision
from gatewayz.store.sql.tables import AUDIT_LOG, REVISIONS, TRANSFERS

PURPOSE = "audit log"
"""What the key of the HMAC is derived for: part of every digest, never to be changed."""
COUNT = "audit"
"""The subject of `revisions` that counts entries."""
HEAD = "audit_head"
"""The subject of `revisions` that holds the seal of the head."""
HEAD_PURPOSE = "audit head"
DELETED = "audit_deleted"
"""The subject of `revisions` that counts the entries at the beginning that retention has deleted."""
DELETED_SEAL = "audit_deleted_seal"
"""The subject of `revisions` that holds the seal of the last of these."""
DELETED_PURPOSE = "audit deleted"
BROKEN_SEAL = -1
"""Takes the place of a seal that did not fit when the log went on: then it never fits again."""
SEALED = "s"
"""Begins the digests of entries after which a seal must be there; earlier versions made none."""
PAGE_ROWS = 1_000
AUDITED_TRANSFERS = ("topup", "grant", "adjust", "refund", "chargeback", "refund_call")
"""Kinds of transfers that somebody asks for; each has an entry with its id as the subject."""


class AuditEntry(Struct, frozen=True):
    """One change. `subject` is the id of what was changed, `detail` what was set, as JSON.

    The names and the order of the fields are what the HMAC is made of.
    Example: AuditEntry(7, 1795559244228, "key:01JE…", "key.revoke", "01JD…", "acme", "{}", …)
    """

    number: int
    at_ms: int
    actor: str
    action: str
    subject: str
    account: str
    detail: str
    previous: str
    digest: str


class AuditEvent(Struct, frozen=True, kw_only=True):
    """What somebody does, for the log.

    Example: AuditEvent(action="key.revoke", subject="01JD…", account="acme")
    """

    action: str
    subject: str
    account: str = ""
    detail: Mapping[str, Any] = {}


async def append_event(
    connection: AsyncConnection, peppers: Peppers, actor: str, event: AuditEvent, now_ms: int
) -> AuditEntry:
    """Adds an entry within the transaction of the change.

    One at a time: the row of the count is locked until that transaction ends.
    """
    number = await increment_revision(connection, COUNT)
    previous = str(await _last_digest(connection) or "")
    is_whole = not _seal_problem(number - 1, previous, await _head_seal(connection), peppers)
    unsigned = AuditEntry(
        number=number,
        at_ms=now_ms,
        actor=actor,
        action=event.action,
        subject=event.subject,
        account=event.account,
        detail=msgspec.json.encode(event.detail, order="sorted").decode(),
        previous=previous,
        digest="",
    )
    entry = replace(unsigned, digest=chain_hmac(unsigned, peppers.current))

    row = msgspec.structs.asdict(entry)
    row["account_id"] = row.pop("account")
    await connection.execute(AUDIT_LOG.insert().values(row))
    seal = seal_of_head(number, entry.digest, peppers.current) if is_whole else BROKEN_SEAL
    head = {"subject": HEAD, "number": seal}
    await connection.execute(upsert(connection, REVISIONS, head, ("number",)))
    return entry


def seal_of_head(number: int, digest: str, pepper: Pepper, purpose: str = HEAD_PURPOSE) -> int:
    """The seal of a log that ends here: 63 bits of an HMAC, which is what a counter's row holds."""
    head = f"{number}:{digest}".encode()
    sealed = hmac.new(pepper.derive_key(purpose), head, hashlib.sha256).digest()
    return int.from_bytes(sealed[:8]) >> 1


async def _head_seal(connection: AsyncConnection) -> int | None:
    seal = select(REVISIONS.c.number).where(REVISIONS.c.subject == HEAD)
    stored: int | None = (await connection.execute(seal)).scalar()
    return stored


def _seal_problem(number: int, digest: str, stored: int | None, peppers: Peppers) -> str:
    """What is wrong with the seal of a log whose last entry has this number and digest."""
    if stored is None:
        must_be_there = digest.partition(".")[2].startswith(SEALED)
        return "the seal of its head was taken away" if must_be_there else ""
    seals = {seal_of_head(number, digest, pepper) for pepper in peppers.all}
    return "" if stored in seals else f"the head was sealed for another end than entry {number}"


async def can_append(connection: AsyncConnection, peppers: Peppers) -> bool:
    """Whether another entry can follow the last one: the secret of its HMAC is known here."""
    digest = await _last_digest(connection)
    return digest is None or peppers.get(digest.partition(".")[0]) is not None


async def _last_digest(connection: AsyncConnection) -> str | None:
    last = select(AUDIT_LOG.c.digest).order_by(AUDIT_LOG.c.number.desc()).limit(1)
    digest: str | None = (await connection.execute(last)).scalar()
    return digest


def chain_hmac(entry: AuditEntry, pepper: Pepper) -> str:
    """The digest that an entry must have under this secret, with the secret's id before it."""
    return f"{pepper.id}.{SEALED}{_hmac_of(entry, pepper, SEALED)}"


def _chain_hmac_before_seals(entry: AuditEntry, pepper: Pepper) -> str:
    return f"{pepper.id}.{_hmac_of(entry, pepper)}"


def _hmac_of(entry: AuditEntry, pepper: Pepper, prefix: str = "") -> str:
    signed = prefix.encode() + msgspec.json.encode(msgspec.structs.astuple(entry)[:-1])
    return hmac.new(pepper.derive_key(PURPOSE), signed, hashlib.sha256).hexdigest()


def _entry_from_row(row: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(
        number=row["number"],
        at_ms=row["at_ms"],
        actor=row["actor"],
        action=row["action"],
        subject=row["subject"],
        account=row["account_id"],
        detail=row["detail"],
        previous=row["previous"],
        digest=row["digest"],
    )


def _select_entries(account: str) -> Select[Any]:
    statement = select(*AUDIT_LOG.c)
    return statement.where(AUDIT_LOG.c.account_id == account) if account else statement


async def list_entries_after(
    database: Database, *, account: str = "", after: int = 0, limit: int = PAGE_ROWS
) -> list[AuditEntry]:
    """Entries of an account, or of all, that follow the number `after`. Faults: `unavailable`."""
    following = _select_entries(account).where(AUDIT_LOG.c.number > after)
    async with database.begin(reading=True) as connection:
        rows = await connection.execute(following.order_by(AUDIT_LOG.c.number).limit(limit))
        return [_entry_from_row(dict(row)) for row in rows.mappings().all()]


async def list_latest_entries(
    database: Database, limit: int, account: str = ""
) -> list[AuditEntry]:
    """The newest entries, oldest first. Faults: `unavailable`."""
    newest_first = _select_entries(account).order_by(AUDIT_LOG.c.number.desc()).limit(limit)
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(newest_first)).mappings().all()
    return [_entry_from_row(dict(row)) for row in reversed(rows)]


async def list_entries(
    database: Database, account: str, cursor: Cursor
) -> tuple[list[AuditEntry], Page]:
    """A page of the log, or of an account's part of it; the newest first.

    Faults: `bad_request`, `unavailable`.
    """
    newest_first = replace(cursor, newest_first=True)
    page = await paginate(database, _select_entries(account), (AUDIT_LOG.c.number,), newest_first)
    return [_entry_from_row(row) for row in page.rows], page


async def delete_first_entries(
    connection: AsyncConnection, peppers: Peppers, before_ms: int, limit: int
) -> int:
    """Deletes entries from the beginning of the log that were made before a moment; how many.

    The last entry stays. What is deleted must be as it was written, and is sealed: whoever can
    write the database can delete no others in its stead. Faults: `internal` for what was changed.
    """
    count = select(REVISIONS.c.number).where(REVISIONS.c.subject == COUNT)
    last = (await connection.execute(count)).scalar() or 0
    number = await get_revision(connection, DELETED)
    oldest = _select_entries("").where(AUDIT_LOG.c.number < last).order_by(AUDIT_LOG.c.number)
    rows = (await connection.execute(oldest.limit(limit))).mappings().all()

    entries = [_entry_from_row(dict(row)) for row in rows]
    previous = entries[0].previous if entries else ""
    deleted = 0
    for entry in entries:
        if entry.at_ms >= before_ms:
            break
        problem = _entry_problem(entry, number, previous, peppers)
        if problem or (not deleted and await _beginning_problem(connection, previous, peppers)):
            reason = problem or "what was deleted before it was not deleted by a gateway"
            raise Fault("internal", f"Entry {entry.number} of the audit log stays: {reason}.")
        number, previous, deleted = entry.number, entry.digest, deleted + 1

    if deleted:
        seal = seal_of_head(number, previous, peppers.current, DELETED_PURPOSE)
        for subject, value in ((DELETED, number), (DELETED_SEAL, seal)):
            row = {"subject": subject, "number": value}
            await connection.execute(upsert(connection, REVISIONS, row, ("number",)))
        await connection.execute(delete(AUDIT_LOG).where(AUDIT_LOG.c.number <= number))
    return deleted


async def _beginning_problem(connection: AsyncConnection, previous: str, peppers: Peppers) -> str:
    """What is wrong with the beginning of a log whose first entry follows this digest."""
    number = await get_revision(connection, DELETED)
    if not number:
        return "the entries before it are missing" if previous else ""
    seal = await get_revision(connection, DELETED_SEAL)
    seals = {seal_of_head(number, previous, each, DELETED_PURPOSE) for each in peppers.all}
    return "" if seal in seals else "the entries before it were not deleted by a gateway"


async def verify_log(database: Database, peppers: Peppers) -> tuple[int, list[Violation]]:
    """How many entries there are, and everything that is wrong with them. Faults: `unavailable`."""
    violations: list[Violation] = []
    async with database.begin(reading=True) as connection:
        number = await get_revision(connection, DELETED)
        first = await connection.execute(_select_entries("").order_by(AUDIT_LOG.c.number).limit(1))
        first_row = first.mappings().first()
        previous = str(first_row["previous"]) if number and first_row is not None else ""
        problem = await _beginning_problem(connection, previous, peppers)
        if problem:
            violations.append(Violation("audit_log_is_whole", "the beginning", problem))
        first_ms = first_row["at_ms"] if number and first_row is not None else 0

    while entries := await list_entries_after(database, after=number):
        for entry in entries:
            problem = _entry_problem(entry, number, previous, peppers)
            if problem and len(violations) < MAX_SHOWN:
                violations.append(Violation("audit_log_is_whole", f"entry {entry.number}", problem))
            previous, number = entry.digest, entry.number

    async with database.begin(reading=True) as connection:
        count = select(REVISIONS.c.number).where(REVISIONS.c.subject == COUNT)
        written = (await connection.execute(count)).scalar() or 0
        seal = await _head_seal(connection)
        unlogged = (await connection.execute(_select_unlogged_transfers(first_ms))).all()

    if written != number:
        problem = f"{written} were written, the last is {number}"
        violations.append(Violation("audit_log_is_whole", "the end", problem))
    elif seal_problem := _seal_problem(number, previous, seal, peppers):
        violations.append(Violation("audit_log_is_whole", "the end", seal_problem))
    violations += [
        Violation("money_moves_are_told", transfer, f"a {kind} of {account} has no entry")
        for transfer, kind, account in unlogged
    ]
    return number, violations


def _select_unlogged_transfers(since_ms: int) -> Select[Any]:
    """Movements that somebody asked for and that have no entry: id, kind, account.

    `since_ms`: when the first entry was made that is there.
    """
    entry = exists().where(AUDIT_LOG.c.subject == TRANSFERS.c.id)
    moved = select(TRANSFERS.c.id, TRANSFERS.c.kind, TRANSFERS.c.account_id).where(
        TRANSFERS.c.kind.in_(AUDITED_TRANSFERS), TRANSFERS.c.at_ms >= since_ms, ~entry
    )
    return moved.limit(MAX_SHOWN)


def _entry_problem(entry: AuditEntry, number: int, previous: str, peppers: Peppers) -> str:
    """What is wrong with an entry that should follow the one with this number and digest."""
    if entry.number != number + 1:
        return f"the entries between {number} and it are missing"
    pepper = peppers.get(entry.digest.partition(".")[0])
    if pepper is None:
        return "its secret is not known here; name it in old_secret_keys"
    digests = (chain_hmac(entry, pepper), _chain_hmac_before_seals(entry, pepper))
    if not any(hmac.compare_digest(entry.digest, digest) for digest in digests):
        return "it was changed after it was written"
    return "" if entry.previous == previous else "it does not follow the entry before it"
