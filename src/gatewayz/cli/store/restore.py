"""`gatewayz restore`: the database, filled from a backup of either kind of database."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewayz.cli.location import persistent_location
from gatewayz.cli.store.copy_report import (
    ProgressPrinter,
    audit_writer,
    check_books,
    print_needed_for_start,
    print_verdict,
    row_counts,
)
from gatewayz.control.audit import AuditEvent
from gatewayz.settings import load_settings
from gatewayz.store.sql.backup.file import BackupHeader, BackupReader
from gatewayz.store.sql.backup.restore import SnapshotSource, TableDigests, restore_snapshot
from gatewayz.store.sql.ledger.reconcile import Violation


def restore(config: str, flags: Mapping[str, Any], file: str, *, replace: bool) -> int:
    """Fills this installation's database; the exit status. Faults: `bad_request`, `unavailable`."""
    loaded = load_settings(config, flags)
    location, reader = persistent_location(loaded), BackupReader(Path(file))
    event = _restore_event(file, reader.header, replace=replace)

    async def run() -> tuple[TableDigests, list[Violation]]:
        digests = await restore_snapshot(
            location,
            SnapshotSource(reader.header.schema, reader.pieces()),
            ProgressPrinter("restoring"),
            audit_writer(loaded, event),
            replace=replace,
        )
        return digests, await check_books(location)

    digests, problems = asyncio.run(run())
    print(f"{file} was restored into {location.shown}: {row_counts(digests)}.")
    asyncio.run(print_needed_for_start(loaded, location))
    return print_verdict(problems)


def _restore_event(file: str, header: BackupHeader, *, replace: bool) -> AuditEvent:
    detail = {
        "made_ms": header.at_ms,
        "schema": header.schema,
        "kept_in": header.kept_in,
        "replaced": replace,
    }
    return AuditEvent(action="store.restore", subject=Path(file).name, detail=detail)
