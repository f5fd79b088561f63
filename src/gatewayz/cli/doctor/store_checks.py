"""What the doctor finds in the store: which keys work, what waits, what does not add up.

It looks and changes nothing: neither schema nor secret is made.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from sqlalchemy import func, select, text

from gatewayz.cli.doctor.findings import Finding
from gatewayz.cli.location import database_location
from gatewayz.cli.loop import run_loop
from gatewayz.control.audit import verify_log
from gatewayz.control.keys import count_keys_of_old_secrets, list_all_keys
from gatewayz.control.webhooks import count_undelivered
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.ledger.values import OWNER_SILENT_S
from gatewayz.providers.spec import Provider
from gatewayz.settings import LoadedSettings
from gatewayz.store.secret import FILE, Peppers, has_secret, load_peppers
from gatewayz.store.sql.database import Database, Location
from gatewayz.store.sql.ledger.journal import FOLDER as JOURNAL_FOLDER
from gatewayz.store.sql.ledger.reconcile import journal_violations, violations
from gatewayz.store.sql.migrate import REVISION, current_revision
from gatewayz.store.sql.tables import OWNERS

MAX_SHOWN = 10
MAX_DATE_GAP_S = 5
"""Machines whose dates are kept by a time server differ by far less."""
DATE_ADVICE = "keys, budgets and prices go by the date: let a time server (NTP) keep it"
DURABILITY_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes")


def store_findings(loaded: LoadedSettings, providers: dict[str, Provider]) -> Iterator[Finding]:
    """All findings of the database, and of the journal beside it."""
    try:
        location = database_location(loaded)
    except Fault as fault:
        yield Finding("bad", "store", fault.operator_message)
        return

    if location.kind == "memory":
        message = "in memory: nothing is kept, and only the bootstrap key works"
        yield Finding("note", "store", message)
    elif location.kind == "sqlite" and not Path(location.path).exists():
        message = f"none yet; the first start makes {location.path} and prints a key once"
        yield Finding("note", "store", message)
    else:
        yield from run_loop(lambda: _database_findings(loaded, location))
    yield from _journal_findings(Path(loaded.settings.data_dir))


async def _database_findings(loaded: LoadedSettings, location: Location) -> list[Finding]:
    database = Database(location)
    try:
        return [finding async for finding in _revision_and_content_findings(loaded, database)]
    except Fault as fault:
        return [Finding("bad", "store", fault.operator_message)]
    finally:
        await database.close()


async def _revision_and_content_findings(
    loaded: LoadedSettings, database: Database
) -> AsyncIterator[Finding]:
    revision, shown = await current_revision(database), database.location.shown
    if revision > REVISION:
        state = f"is at revision {revision}, newer than this version's {REVISION}"
        yield Finding("bad", "store", f"{shown} {state}; start the newer version")
        return
    if revision != REVISION:
        state = f"is at revision {revision or 'none'}; the next start brings it to {REVISION}"
        yield Finding("note", "store", f"{shown} {state}")
        return

    yield Finding("ok", "store", f"{shown} answers, schema {revision}")
    for findings in (
        _durability_findings(database),
        _date_findings(database),
        _key_findings(loaded, database),
        _notification_findings(database),
        _ledger_findings(database),
    ):
        async for finding in findings:
            yield finding


async def _ledger_findings(database: Database) -> AsyncIterator[Finding]:
    problems = await violations(database, SystemClock().wall_ms())
    for violation in problems[:MAX_SHOWN]:
        message = f"{violation.check}: {violation.subject}: {violation.says}"
        yield Finding("bad", "books", message)
    if not problems:
        message = "every balance is the sum of its transfers, every hold has its end"
        yield Finding("ok", "books", message)


async def _durability_findings(database: Database) -> AsyncIterator[Finding]:
    """Settings of PostgreSQL that lose bookings it has confirmed (its manual, 28.4 and 19.5)."""
    if database.location.kind != "postgresql":
        return
    async with database.begin(reading=True) as connection:
        if (await connection.execute(text("SHOW transaction_read_only"))).scalar_one() == "on":
            message = (
                "the server takes no writes (a standby, or set read-only): nothing can be booked"
            )
            yield Finding("bad", "store", message)
        for setting in DURABILITY_SETTINGS:
            if (await connection.execute(text(f"SHOW {setting}"))).scalar_one() == "off":
                message = f"{setting} is off: a crash loses confirmed bookings; set it on"
                yield Finding("note", "store", message)


async def _date_findings(database: Database) -> AsyncIterator[Finding]:
    """Dates that disagree: of this machine with its database's, and with what processes wrote."""
    now_ms = SystemClock().wall_ms()
    async with database.begin(reading=True) as connection:
        latest_ms = (await connection.execute(select(func.max(OWNERS.c.beat_ms)))).scalar_one()
        if database.location.kind == "postgresql":
            epoch = text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)")
            ahead_s = (
                SystemClock().wall_ms() - (await connection.execute(epoch)).scalar_one()
            ) / 1e3
            if abs(ahead_s) > MAX_DATE_GAP_S:
                message = f"this machine's is {ahead_s:+.0f} s from its database's; {DATE_ADVICE}"
                yield Finding("note", "date", message)
    if latest_ms is not None and latest_ms < now_ms - OWNER_SILENT_S * 1000:
        silent_s = (now_ms - latest_ms) / 1000
        message = (
            f"no gateway has said for {silent_s:.0f} s that it is alive: one that runs all the same "
            "stands still (/health/ready names the task)"
        )
        yield Finding("note", "background", message)
    if latest_ms is not None and latest_ms > now_ms + MAX_DATE_GAP_S * 1000:
        ahead_s = (latest_ms - now_ms) / 1000
        message = f"a process wrote a date {ahead_s:.0f} s ahead of this machine's; {DATE_ADVICE}"
        yield Finding("note", "date", message)


async def _notification_findings(database: Database) -> AsyncIterator[Finding]:
    undelivered = await count_undelivered(database, SystemClock().wall_ms())
    for account, why, count in undelivered[:MAX_SHOWN]:
        message = f"{count} of the account {account} did not arrive at its webhook: {why}"
        yield Finding("note", "notifications", message)
    if not undelivered:
        yield Finding("ok", "notifications", "all that were to be sent have arrived")


async def _key_findings(loaded: LoadedSettings, database: Database) -> AsyncIterator[Finding]:
    if loaded.bootstrap_key:
        yield Finding("ok", "keys", "a bootstrap key comes from GATEWAYZ_BOOTSTRAP_KEY")
    now_ms = SystemClock().wall_ms()
    active = [key for key in await list_all_keys(database) if key.state(now_ms) == "active"]
    if not active and not loaded.bootstrap_key:
        yield Finding("note", "keys", "none yet; the first start makes one and prints it once")
        return

    data_dir = Path(loaded.settings.data_dir)
    if not has_secret(data_dir, loaded.secret_key):
        why = f"the secret that they were made with is missing ({data_dir / FILE})"
        hint = "put it back, or set GATEWAYZ_SECRET_KEY; until then no start works"
        yield Finding("bad", "keys", f"{why}; {hint}")
        return
    peppers = load_peppers(data_dir, loaded.secret_key, loaded.old_secret_keys)
    unknown, older = await count_keys_of_old_secrets(database, peppers)
    if unknown:
        why = "were made with another secret than this one and do not work"
        hint = "set GATEWAYZ_SECRET_KEY or old_secret_keys"
        yield Finding("bad", "keys", f"{unknown} {why}; {hint}")
    if older:
        message = f"{older} were made with an older secret; each is rehashed when it is used"
        yield Finding("note", "keys", message)
    if active and not unknown:
        yield Finding("ok", "keys", f"{len(active)} active")
    async for finding in _audit_log_findings(database, peppers):
        yield finding


async def _audit_log_findings(database: Database, peppers: Peppers) -> AsyncIterator[Finding]:
    count, problems = await verify_log(database, peppers)
    for violation in problems[:MAX_SHOWN]:
        yield Finding("bad", "audit log", f"{violation.subject}: {violation.says}")
    if not problems:
        yield Finding("ok", "audit log", f"{count} entries, each follows from the one before it")


def _journal_findings(data_dir: Path) -> Iterator[Finding]:
    """Settlements that are not in the store."""
    folder = data_dir / JOURNAL_FOLDER
    waiting = [path for path in folder.glob("*.jsonl") if path.stat().st_size]
    if waiting:
        size = sum(path.stat().st_size for path in waiting)
        message = f"{size} bytes of settlements wait for the store in {folder}"
        yield Finding("note", "journal", message)
    for violation in journal_violations(data_dir):
        yield Finding("bad", "journal", f"{violation.subject}: {violation.says}")
