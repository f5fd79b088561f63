"""What `gatewayz doctor` finds in the store: whether it is there, which keys work, what waits, what does not add up."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from sqlalchemy import text

from gatewayz.cli.findings import Finding
from gatewayz.cli.serving import run_loop
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.providers.spec import Provider
from gatewayz.settings import Loaded
from gatewayz.store.secret import peppers
from gatewayz.store.sql.audit import verified
from gatewayz.store.sql.checking import rejected, violations
from gatewayz.store.sql.database import Database, Location, located
from gatewayz.store.sql.journal import FOLDER
from gatewayz.store.sql.keys import all_listed, strangers
from gatewayz.store.sql.migrating import REVISION, revision
from gatewayz.store.sql.webhooks import undelivered

MAX_SHOWN = 10
LASTING = ("fsync", "synchronous_commit", "full_page_writes")


def store_findings(found: Loaded, providers: dict[str, Provider]) -> Iterator[Finding]:
    """Looks, and changes nothing: neither schema nor secret is made."""
    settings = found.settings
    try:
        location = located(
            settings.database.url, settings.data_dir, pooler=settings.database.transaction_pooler
        )
    except Fault as fault:
        yield Finding("bad", "store", fault.message)
        return
    if location.kind == "memory":
        yield Finding(
            "note", "store", "in memory: nothing is kept, and only the bootstrap key works"
        )
    elif location.kind == "sqlite" and not Path(location.path).exists():
        yield Finding(
            "note",
            "store",
            f"none yet; the first start makes {location.path} and prints a key once",
        )
    else:
        yield from run_loop(lambda: _all(found, location))
    yield from _left_behind(Path(settings.data_dir))


async def _all(found: Loaded, location: Location) -> list[Finding]:
    database = Database(location)
    try:
        return [finding async for finding in _looked(found, database)]
    except Fault as fault:
        return [Finding("bad", "store", f"{location.shown}: {fault.message}")]
    finally:
        await database.close()


async def _looked(found: Loaded, database: Database) -> AsyncIterator[Finding]:
    at = await revision(database)
    where = database.location.shown
    if at != REVISION:
        newer = (
            f"is at revision {at}, newer than this version's {REVISION}; start the newer version"
        )
        older = f"is at revision {at or 'none'}; the next start brings it to {REVISION}"
        yield Finding(
            "bad" if at > REVISION else "note",
            "store",
            f"{where} {newer if at > REVISION else older}",
        )
        return
    yield Finding("ok", "store", f"{where} answers, schema {at}")
    async for finding in _lasting(database):
        yield finding
    async for finding in _keys(found, database):
        yield finding
    async for finding in _notices(database):
        yield finding
    wrong = await violations(database, SystemClock().wall_ms())
    for one in wrong[:MAX_SHOWN]:
        yield Finding("bad", "books", f"{one.check}: {one.subject}: {one.says}")
    if not wrong:
        yield Finding(
            "ok", "books", "every balance is the sum of its transfers, every hold has its end"
        )


async def _lasting(database: Database) -> AsyncIterator[Finding]:
    """What of PostgreSQL's settings loses bookings that it has confirmed (its manual, chapter 28.4 and 19.5)."""
    if database.location.kind != "postgresql":
        return
    async with database.begin(reading=True) as connection:
        for setting in LASTING:
            if (await connection.execute(text(f"SHOW {setting}"))).scalar_one() == "off":
                yield Finding(
                    "note",
                    "store",
                    f"{setting} is off: a crash loses confirmed bookings; set it on",
                )


async def _notices(database: Database) -> AsyncIterator[Finding]:
    stuck = await undelivered(database, SystemClock().wall_ms())
    for account, why, count in stuck[:MAX_SHOWN]:
        yield Finding(
            "note",
            "notices",
            f"{count} of the account {account} did not arrive at its webhook: {why}",
        )
    if not stuck:
        yield Finding("ok", "notices", "all that were to be sent have arrived")


async def _keys(found: Loaded, database: Database) -> AsyncIterator[Finding]:
    if found.bootstrap_key:
        yield Finding("ok", "keys", "a bootstrap key comes from GATEWAYZ_BOOTSTRAP_KEY")
    now = SystemClock().wall_ms()
    active = [key for key in await all_listed(database) if key.state(now) == "active"]
    if not active and not found.bootstrap_key:
        yield Finding("note", "keys", "none yet; the first start makes one and prints it once")
        return
    secrets = peppers(Path(found.settings.data_dir), found.secret_key, found.old_secret_keys)
    unknown, older = await strangers(database, secrets)
    if unknown:
        why = "were made with another secret than this one and do not work; set GATEWAYZ_SECRET_KEY or old_secret_keys"
        yield Finding("bad", "keys", f"{unknown} {why}")
    if older:
        yield Finding(
            "note",
            "keys",
            f"{older} were made with an older secret; each is kept anew when it is used",
        )
    if active and not unknown:
        yield Finding("ok", "keys", f"{len(active)} active")
    count, wrong = await verified(database, secrets)
    for one in wrong[:MAX_SHOWN]:
        yield Finding("bad", "audit log", f"{one.subject}: {one.says}")
    if not wrong:
        yield Finding("ok", "audit log", f"{count} entries, each follows from the one before it")


def _left_behind(data_dir: Path) -> Iterator[Finding]:
    """Settlements that are not in the store."""
    waiting = [path for path in (data_dir / FOLDER).glob("*.jsonl") if path.stat().st_size]
    if waiting:
        size = sum(path.stat().st_size for path in waiting)
        yield Finding(
            "note",
            "journal",
            f"{size} bytes of settlements wait for the store in {data_dir / FOLDER}",
        )
    for one in rejected(data_dir):
        yield Finding("bad", "journal", f"{one.subject}: {one.says}")
