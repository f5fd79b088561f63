"""Loading a snapshot into a database: all of it or nothing, read back and compared before it counts."""

from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import Struct
from sqlalchemy import func, insert, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.store.sql.checking import OWNER_SILENT_S
from gatewayz.store.sql.database import Database, Location
from gatewayz.store.sql.migrating import REVISION, alone, locked, made_folder, revision_of, upgrade
from gatewayz.store.sql.snapshots import LONG_S, Piece, Seal, Sheet, pieces_of
from gatewayz.store.sql.tables import METADATA, OWNERS

Seals = dict[str, Seal]
Progress = Callable[[Piece], None]
Tell = Callable[[AsyncConnection], Awaitable[None]]
"""Writes the entry of the audit log."""


class Source(Struct, frozen=True):
    """A snapshot: the revision of its schema, and its pieces."""

    schema: str
    pieces: AsyncIterator[Piece]


async def loaded(
    location: Location,
    source: Source,
    progress: Progress,
    tell: Tell | None = None,
    *,
    replace: bool = False,
) -> Seals:
    """Puts a snapshot in, brings it up to date, and has it told (`tell`), in one transaction.

    Faults: `bad_request` when the database is not empty and not to be replaced, serves a gateway, or is too old for the
    snapshot; `unavailable`; `internal` when what was read back is not what was put in. Then nothing has changed.
    """
    schema = source.schema
    if schema > REVISION:
        raise Fault(
            "bad_request",
            f"The snapshot is of schema {schema}, newer than this version's {REVISION}.",
        )
    if location.kind == "sqlite":
        made_folder(location)
    database = Database(location, LONG_S)
    try:
        with alone(location):
            async with database.begin() as connection:
                await locked(connection)
                await _make_room(connection, replace=replace)
                await connection.run_sync(upgrade, schema)
                seals = await _put(connection, source.pieces, progress)
                await _compare(connection, seals)
                await connection.run_sync(upgrade, "head")
                if tell is not None:
                    await tell(connection)
    finally:
        await database.close()
    return seals


async def served(connection: AsyncConnection) -> bool:
    """Whether a gateway has this database open."""
    if not await connection.run_sync(lambda found: inspect(found).has_table(OWNERS.name)):
        return False
    since = SystemClock().wall_ms() - OWNER_SILENT_S * 1000
    alive = select(func.count()).select_from(OWNERS).where(OWNERS.c.beat_ms > since)
    return bool((await connection.execute(alive)).scalar_one())


async def unless_served(connection: AsyncConnection) -> None:
    """Faults: `bad_request` while a gateway has this database open."""
    if await served(connection):
        raise Fault(
            "bad_request",
            f"A gateway serves from this database: stop it first. (One that was killed counts for {OWNER_SILENT_S} s.)",
        )


async def _make_room(connection: AsyncConnection, *, replace: bool) -> None:
    found = await connection.run_sync(revision_of)
    if found > REVISION:
        raise Fault(
            "bad_request",
            f"The database is at revision {found}, newer than this version's {REVISION}.",
        )
    await unless_served(connection)
    names = [
        name
        for name in await connection.run_sync(lambda one: inspect(one).get_table_names())
        if name in KNOWN
    ]
    for name in names:
        row = (await connection.execute(select(METADATA.tables[name].c[0]).limit(1))).first()
        if row is not None and not replace:
            why = (
                f"The database is not empty: {name} has rows. --replace throws away what is there."
            )
            raise Fault("bad_request", why)
    for name in [*names, "alembic_version"]:
        await connection.execute(text(f"DROP TABLE IF EXISTS {name}"))


KNOWN = frozenset(METADATA.tables)


async def _put(
    connection: AsyncConnection, pieces: AsyncIterator[Piece], progress: Progress
) -> Seals:
    there = set(await connection.run_sync(lambda found: inspect(found).get_table_names()))
    seals: Seals = {}
    statement, names = insert(OWNERS), tuple[str, ...]()
    async for piece in pieces:
        progress(piece)
        if isinstance(piece, Sheet):
            if piece.table not in there:
                raise Fault(
                    "bad_request",
                    f"The snapshot has a table {piece.table} that its schema does not know.",
                )
            statement, names = insert(piece.as_table()), tuple(name for name, _ in piece.columns)
        elif isinstance(piece, Seal):
            seals[piece.end] = piece
            await _count_on(connection, piece.end)
        else:
            await connection.execute(
                statement, [dict(zip(names, row, strict=True)) for row in piece]
            )
    return seals


async def _count_on(connection: AsyncConnection, table: str) -> None:
    """PostgreSQL numbers new rows by a sequence, which rows that bring their number do not move."""
    column = METADATA.tables[table].autoincrement_column
    if column is not None and connection.dialect.name == "postgresql":
        last = f"SELECT MAX({column.name}) FROM {table}"  # noqa: S608 - names of our own schema
        sequence = f"pg_get_serial_sequence('{table}', '{column.name}')"
        await connection.execute(
            text(f"SELECT setval({sequence}, COALESCE(({last}), 1), ({last}) IS NOT NULL)")
        )


async def _compare(connection: AsyncConnection, given: Seals) -> None:
    found = {piece.end: piece async for piece in pieces_of(connection) if isinstance(piece, Seal)}
    if connection.dialect.name == "postgresql":
        # A cursor that was read to its end stays open until the transaction ends, and its table cannot be altered.
        await connection.execute(text("CLOSE ALL"))
    wrong = [
        table
        for table in sorted({*given, *found})
        if _filled(given.get(table)) != _filled(found.get(table))
    ]
    if wrong:
        raise Fault("internal", f"What was read back is not what was put in: {', '.join(wrong)}.")


def _filled(seal: Seal | None) -> Seal | None:
    """A table that is empty is as good as one that is not there."""
    return seal if seal is not None and seal.rows else None
