"""`gatewayz move`: everything that is kept, taken to another database and compared there."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewayz.cli.location import existing_location
from gatewayz.cli.store.copy_report import (
    ProgressPrinter,
    audit_writer,
    check_books,
    print_not_included,
    print_verdict,
    row_counts,
)
from gatewayz.control.audit import AuditEvent
from gatewayz.core.faults import Fault
from gatewayz.settings import load_settings
from gatewayz.store.sql.backup.restore import (
    SnapshotSource,
    TableDigests,
    WriteAuditEntry,
    check_not_in_use,
    restore_snapshot,
)
from gatewayz.store.sql.backup.snapshots import open_snapshot, pieces_of
from gatewayz.store.sql.database import Database, Location, location_from_url
from gatewayz.store.sql.ledger.reconcile import Violation
from gatewayz.store.sql.migrate import revision_of


def move(config: str, flags: Mapping[str, Any], url: str) -> int:
    """Copies everything to another database, which must be empty; the exit status.

    Faults: `bad_request`, `unavailable`.
    """
    loaded = load_settings(config, flags)
    source = existing_location(loaded)
    target = location_from_url(url, "", pooler=loaded.settings.database.transaction_pooler)
    if target.kind == "memory" or target == source:
        raise Fault("bad_request", f"Nothing can be moved from {source.shown} to {target.shown}.")

    event = AuditEvent(action="store.move", subject=target.shown, detail={"from": source.shown})
    write_entry = audit_writer(loaded, event)
    data_dir = Path(loaded.settings.data_dir)
    digests, problems = asyncio.run(_copy_database(source, target, data_dir, write_entry))

    counts = row_counts(digests)
    print(f"{source.shown} was moved to {target.shown}: {counts}, read back and compared.")
    print(
        f"Set GATEWAYZ_DATABASE__URL (or database.url) to {target.shown} with its password, "
        "and start again."
    )
    print(f"{source.shown} is left as it was.")
    print_not_included(loaded)
    return print_verdict(problems)


async def _copy_database(
    source: Location, target: Location, data_dir: Path, write_entry: WriteAuditEntry
) -> tuple[TableDigests, list[Violation]]:
    # What a running gateway books after the snapshot would be left behind.
    database = Database(source)
    try:
        async with database.begin(reading=True) as connection:
            await check_not_in_use(connection)
    finally:
        await database.close()

    async with open_snapshot(source, data_dir) as connection:
        schema = await connection.run_sync(revision_of)
        snapshot = SnapshotSource(schema, pieces_of(connection))
        progress = ProgressPrinter("moving")
        digests = await restore_snapshot(target, snapshot, progress, write_entry)
    return digests, await check_books(target)
