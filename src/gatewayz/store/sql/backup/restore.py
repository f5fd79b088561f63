"""Restoring a snapshot: all of it or nothing, read back and compared before it counts."""

from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import Struct
from sqlalchemy import func, insert, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.ledger.values import OWNER_SILENT_S
from gatewayz.store.sql.backup.snapshots import (
    SNAPSHOT_STATEMENT_S,
    Piece,
    TableDigest,
    TableSchema,
    pieces_of,
)
from gatewayz.store.sql.database import Database, Location
from gatewayz.store.sql.migrate import (
    REVISION,
    ensure_folder,
    lock_schema,
    migration_file_lock,
    revision_of,
    upgrade,
)
from gatewayz.store.sql.tables import METADATA, OWNERS

TableDigests = dict[str, TableDigest]
Progress = Callable[[Piece], None]
WriteAuditEntry = Callable[[AsyncConnection], Awaitable[None]]
"""Writes the entry of the audit log, in the transaction that restores."""
KNOWN_TABLES = frozenset(METADATA.tables)


class SnapshotSource(Struct, frozen=True):
    """A snapshot: the revision of its schema, and its pieces."""

    schema: str
    pieces: AsyncIterator[Piece]


async def restore_snapshot(
    location: Location,
    source: SnapshotSource,
    progress: Progress,
    write_audit_entry: WriteAuditEntry | None = None,
    *,
    replace: bool = False,
) -> TableDigests:
    """Puts a snapshot in, brings it up to date and writes its audit entry, in one transaction.

    Faults: `bad_request` when the database is not empty and not to be replaced, or serves a
    gateway, or this version is too old for the snapshot; `unavailable`; `internal` when what was
    read back is not what was put in. Then nothing has changed.
    """
    schema = source.schema
    if schema > REVISION:
        raise Fault(
            "bad_request",
            f"The snapshot is of schema {schema}, newer than this version's {REVISION}.",
        )
    if location.kind == "sqlite":
        ensure_folder(location)
    database = Database(location, SNAPSHOT_STATEMENT_S)
    try:
        with migration_file_lock(location):
            async with database.begin() as connection:
                await lock_schema(connection)
                await _drop_tables(connection, replace=replace)
                await connection.run_sync(upgrade, schema)
                digests = await _insert_pieces(connection, source.pieces, progress)
                # Before the upgrade, which may change rows.
                await _verify(connection, digests)
                await connection.run_sync(upgrade, "head")
                if write_audit_entry is not None:
                    await write_audit_entry(connection)
    finally:
        await database.close()
    return digests


async def is_in_use(connection: AsyncConnection) -> bool:
    """Whether a gateway has this database open."""
    if not await connection.run_sync(lambda plain: inspect(plain).has_table(OWNERS.name)):
        return False
    since = SystemClock().wall_ms() - OWNER_SILENT_S * 1000
    alive = select(func.count()).select_from(OWNERS).where(OWNERS.c.beat_ms > since)
    return bool((await connection.execute(alive)).scalar_one())


async def check_not_in_use(connection: AsyncConnection) -> None:
    """Faults: `bad_request` while a gateway has this database open."""
    if await is_in_use(connection):
        raise Fault(
            "bad_request",
            "A gateway serves from this database: stop it first. "
            f"(One that was killed counts for {OWNER_SILENT_S} s.)",
        )


async def _drop_tables(connection: AsyncConnection, *, replace: bool) -> None:
    revision = await connection.run_sync(revision_of)
    if revision > REVISION:
        raise Fault(
            "bad_request",
            f"The database is at revision {revision}, newer than this version's {REVISION}.",
        )
    await check_not_in_use(connection)
    names = [
        name
        for name in await connection.run_sync(lambda plain: inspect(plain).get_table_names())
        if name in KNOWN_TABLES
    ]
    for name in names:
        row = (await connection.execute(select(METADATA.tables[name].c[0]).limit(1))).first()
        if row is not None and not replace:
            raise Fault(
                "bad_request",
                f"The database is not empty: {name} has rows. Choose an empty one, or let "
                "`gatewayz restore --replace` throw away what is there.",
            )
    for name in [*names, "alembic_version"]:
        await connection.execute(text(f"DROP TABLE IF EXISTS {name}"))


async def _insert_pieces(
    connection: AsyncConnection, pieces: AsyncIterator[Piece], progress: Progress
) -> TableDigests:
    tables = set(await connection.run_sync(lambda plain: inspect(plain).get_table_names()))
    digests: TableDigests = {}
    statement, names = insert(OWNERS), tuple[str, ...]()
    async for piece in pieces:
        progress(piece)
        if isinstance(piece, TableSchema):
            if piece.table not in tables:
                raise Fault(
                    "bad_request",
                    f"The snapshot has a table {piece.table} that its schema does not know.",
                )
            statement, names = insert(piece.as_table()), tuple(name for name, _ in piece.columns)
        elif isinstance(piece, TableDigest):
            digests[piece.end] = piece
            await _advance_sequence(connection, piece.end)
        else:
            await connection.execute(
                statement, [dict(zip(names, row, strict=True)) for row in piece]
            )
    return digests


async def _advance_sequence(connection: AsyncConnection, table: str) -> None:
    """PostgreSQL numbers new rows by a sequence, which rows that bring their number do not move."""
    column = METADATA.tables[table].autoincrement_column
    if column is not None and connection.dialect.name == "postgresql":
        last = f"SELECT MAX({column.name}) FROM {table}"  # noqa: S608 - names of our own schema
        sequence = f"pg_get_serial_sequence('{table}', '{column.name}')"
        await connection.execute(
            text(f"SELECT setval({sequence}, COALESCE(({last}), 1), ({last}) IS NOT NULL)")
        )


async def _verify(connection: AsyncConnection, written: TableDigests) -> None:
    """What is in the database is what was written. Faults: `internal` names the tables."""
    stored = {
        piece.end: piece async for piece in pieces_of(connection) if isinstance(piece, TableDigest)
    }
    if connection.dialect.name == "postgresql":
        # A cursor that was read to its end stays open until the transaction ends, and its table
        # cannot be altered.
        await connection.execute(text("CLOSE ALL"))
    wrong = [
        table
        for table in sorted({*written, *stored})
        if _unless_empty(written.get(table)) != _unless_empty(stored.get(table))
    ]
    if wrong:
        raise Fault("internal", f"What was read back is not what was put in: {', '.join(wrong)}.")


def _unless_empty(digest: TableDigest | None) -> TableDigest | None:
    """A table that is empty is as good as one that is not there."""
    return digest if digest is not None and digest.rows else None
