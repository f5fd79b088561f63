"""What `backup`, `restore` and `move` share: locations, progress, the audit entry, the verdict."""

import sys
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.cli.actor import command_actor
from gatewayz.cli.location import database_location
from gatewayz.control.audit import AuditEvent, append_event, can_append
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.settings import LoadedSettings
from gatewayz.store import secret
from gatewayz.store.sql.backup.restore import TableDigests, WriteAuditEntry
from gatewayz.store.sql.backup.snapshots import Piece, TableSchema
from gatewayz.store.sql.database import Database, Location
from gatewayz.store.sql.ledger.journal import FOLDER
from gatewayz.store.sql.ledger.reconcile import SNAPSHOT_CHECKS, Violation, violations

PROGRESS_EVERY_ROWS = 100_000


class ProgressPrinter:
    """Says on standard error how far long work is. `verb` begins its lines: `backing up`."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._table = ""
        self._rows = self._printed_rows = 0

    def __call__(self, piece: Piece) -> None:
        if isinstance(piece, TableSchema):
            self._table, self._rows, self._printed_rows = piece.table, 0, 0
        elif isinstance(piece, list):
            self._rows += len(piece)
            if self._rows - self._printed_rows >= PROGRESS_EVERY_ROWS:
                self._printed_rows = self._rows
                self._print(f"{self._rows:,} rows so far")
        elif piece.rows:
            self._print(f"{piece.rows:,} rows")

    def _print(self, progress: str) -> None:
        print(f"{self._verb} {self._table}: {progress}", file=sys.stderr, flush=True)


def persistent_location(loaded: LoadedSettings) -> Location:
    """Where this installation's rows are, or are to be. Faults: `bad_request` for `memory:`."""
    location = database_location(loaded)
    if location.kind == "memory":
        raise Fault("bad_request", "database.url is memory:, which keeps nothing.")
    return location


def existing_location(loaded: LoadedSettings) -> Location:
    """Where this installation's rows are. Faults: `bad_request` where there is no database yet."""
    location = persistent_location(loaded)
    if location.kind == "sqlite" and not Path(location.path).is_file():
        raise Fault(
            "bad_request",
            f"There is no database {location.path}; --data-dir or --config says where it is.",
        )
    return location


def audit_writer(loaded: LoadedSettings, event: AuditEvent) -> WriteAuditEntry:
    """Writes the event's entry, where the secret is here that chains the log: none is made."""
    data_dir = Path(loaded.settings.data_dir)
    has_secret = bool(loaded.secret_key) or (data_dir / secret.FILE).is_file()
    peppers = (
        secret.load_peppers(data_dir, loaded.secret_key, loaded.old_secret_keys)
        if has_secret
        else None
    )

    async def write_event(connection: AsyncConnection) -> None:
        if peppers is None or not await can_append(connection, peppers):
            print(
                "The audit log has no entry of this: the secret that chains it is not here.",
                file=sys.stderr,
            )
            return
        now_ms = SystemClock().wall_ms()
        await append_event(connection, peppers, command_actor(), event, now_ms)

    return write_event


async def check_books(location: Location) -> list[Violation]:
    """What does not add up in a database that was just filled."""
    database = Database(location)
    try:
        return await violations(database, SystemClock().wall_ms(), SNAPSHOT_CHECKS)
    finally:
        await database.close()


def row_counts(digests: TableDigests) -> str:
    """`12 tables, 3,456 rows`."""
    return f"{len(digests)} tables, {sum(digest.rows for digest in digests.values()):,} rows"


def print_not_included(loaded: LoadedSettings) -> None:
    """Says what belongs to an installation and is in no database."""
    data_dir = Path(loaded.settings.data_dir)
    place = "GATEWAYZ_SECRET_KEY" if loaded.secret_key else str(data_dir / secret.FILE)
    print(
        f"Keep the secret too ({place}): "
        "without it no key works, and nothing that is encrypted can be read."
    )
    waiting = sum(path.stat().st_size for path in (data_dir / FOLDER).glob("*.jsonl"))
    if waiting:
        print(
            f"{waiting:,} bytes of settlements wait in {data_dir / FOLDER}; "
            "the next start there books them."
        )


def print_verdict(problems: list[Violation]) -> int:
    """Says whether the books add up; the exit status."""
    if not problems:
        print("The books are clean.")
        return 0
    for violation in problems:
        print(f"{violation.check}: {violation.subject}: {violation.says}", file=sys.stderr)
    print(f"The books are NOT clean: {len(problems)} violation(s), listed above.", file=sys.stderr)
    return 1
