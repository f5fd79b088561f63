"""`gatewayz backup`: the whole database in one file, read back before it is called a backup."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewayz import __version__
from gatewayz.cli.location import existing_location
from gatewayz.cli.store.copy_report import (
    ProgressPrinter,
    print_not_included,
    print_verdict,
    row_counts,
)
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.settings import load_settings
from gatewayz.store.sql.backup.file import BackupHeader, BackupReader, create_backup_file
from gatewayz.store.sql.backup.restore import TableDigests
from gatewayz.store.sql.backup.snapshots import TableDigest, open_snapshot, pieces_of
from gatewayz.store.sql.database import Location
from gatewayz.store.sql.ledger.reconcile import SNAPSHOT_CHECKS, Violation, violations_in
from gatewayz.store.sql.migrate import REVISION, revision_of


def backup(config: str, flags: Mapping[str, Any], file: str) -> int:
    """Writes a backup while the gateway may go on serving; the exit status.

    Faults: `bad_request`, `unavailable`.
    """
    loaded = load_settings(config, flags)
    location, path = existing_location(loaded), Path(file)
    if path.exists():
        raise Fault("bad_request", f"{path} exists already; a backup overwrites nothing.")
    if not path.parent.is_dir():
        raise Fault("bad_request", f"There is no folder {path.parent}.")

    digests, problems = asyncio.run(_write_backup(location, path))
    print(
        f"{location.shown} was backed up to {path}: "
        f"{row_counts(digests)}, {path.stat().st_size:,} bytes."
    )
    print_not_included(loaded)
    return print_verdict(problems)


async def _write_backup(location: Location, path: Path) -> tuple[TableDigests, list[Violation]]:
    now_ms, digests = SystemClock().wall_ms(), TableDigests()
    print_progress = ProgressPrinter("backing up")
    async with open_snapshot(location, path.parent) as connection:
        schema = await connection.run_sync(revision_of)
        if not schema or schema > REVISION:
            raise Fault(
                "bad_request",
                f"The database is at revision {schema or 'none'}, this version's is {REVISION}.",
            )

        # In the snapshot itself: the file holds the moment that was checked.
        problems = await violations_in(connection, now_ms, SNAPSHOT_CHECKS)
        header = BackupHeader(
            schema=schema, version=__version__, at_ms=now_ms, kept_in=location.kind
        )
        with create_backup_file(path, header) as writer:
            async for piece in pieces_of(connection):
                writer.write(piece)
                print_progress(piece)
                if isinstance(piece, TableDigest):
                    digests[piece.end] = piece

    await _verify_backup(path, digests)
    return digests, problems


async def _verify_backup(path: Path, digests: TableDigests) -> None:
    """What cannot be read was never a backup. Faults: `internal`."""
    read = {
        piece.end: piece
        async for piece in BackupReader(path).pieces()
        if isinstance(piece, TableDigest)
    }
    if read != digests:
        raise Fault("internal", f"{path} does not hold what was written; do not rely on it.")
