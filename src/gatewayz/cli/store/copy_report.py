"""What `backup`, `restore` and `move` share: locations, progress, the audit entry, the verdict."""

import sys
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.cli.actor import command_actor
from gatewayz.control.audit import AuditEvent, append_event, can_append
from gatewayz.control.open import check_secret
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
    data_dir = Path(loaded.settings.data_dir).absolute()
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


async def print_needed_for_start(loaded: LoadedSettings, location: Location) -> None:
    """Says what a database that was just filled needs beside it before a gateway serves from it."""
    data_dir = Path(loaded.settings.data_dir)
    file = data_dir.absolute() / secret.FILE  # noqa: ASYNC240 - a word about a path
    database = Database(location)
    try:
        await check_secret(database, data_dir, loaded.secret_key, loaded.old_secret_keys)
    except Fault:
        print(
            "Before a start bring the secret of the installation that was backed up: as "
            f"{file} or GATEWAYZ_SECRET_KEY. Without it no key works, "
            "and a start is refused."
        )
    finally:
        await database.close()


def print_verdict(problems: list[Violation]) -> int:
    """Says whether the books add up; the exit status."""
    if not problems:
        print("The books are clean.")
        return 0
    for violation in problems:
        print(f"{violation.check}: {violation.subject}: {violation.says}", file=sys.stderr)
    print(f"The books are NOT clean: {len(problems)} violation(s), listed above.", file=sys.stderr)
    return 1
