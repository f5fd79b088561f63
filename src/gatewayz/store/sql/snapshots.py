"""Snapshots: everything that is kept, as of one moment, while the gateway goes on; in batches, whatever the size.

A snapshot is a stream of pieces: a sheet says what a table is, rows follow, a seal with their number and digest ends
it. The digest of a table is the sum of the SHA-256 of its rows, modulo 2^256: the order of rows, which the databases do
not agree on, does not matter.
"""

import asyncio
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    inspect,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from gatewayz.core.faults import Fault
from gatewayz.dialects.jsontext import encoded
from gatewayz.store.sql.database import FILE, Database, Location, store_away
from gatewayz.store.sql.tables import METADATA

LONG_S = 3_600.0
"""How long one statement may take where the whole database is read or written."""
BATCH_ROWS = 1_000
LEFT_OUT = frozenset({"owners"})
"""Who is alive now; in another place or at another time nobody of them is."""
NUL, REPLACEMENT = "\x00", "\ufffd"
"""PostgreSQL's text cannot hold a NUL, which clients may send to SQLite."""

Kind = Literal["text", "number", "flag", "bytes"]
Row = tuple[Any, ...]
KINDS: dict[Kind, type[TypeEngine[Any]]] = {
    "text": Text,
    "number": BigInteger,
    "flag": Boolean,
    "bytes": LargeBinary,
}
FOUND: tuple[tuple[type[TypeEngine[Any]], Kind], ...] = (
    (Boolean, "flag"),
    (Integer, "number"),
    (LargeBinary, "bytes"),
    (String, "text"),
)


class Sheet(Struct, frozen=True):
    """A table: its name, and its columns with the kinds of their values."""

    table: str
    columns: tuple[tuple[str, Kind], ...]

    def as_table(self) -> Table:
        columns = [Column(name, KINDS[kind]) for name, kind in self.columns]
        return Table(self.table, MetaData(), *columns)


class Seal(Struct, frozen=True):
    """The end of a table."""

    end: str
    rows: int
    digest: str


Piece = Sheet | list[Row] | Seal


class Digest:
    """Counts and adds up rows."""

    def __init__(self) -> None:
        self._rows = 0
        self._sum = 0

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._rows += 1
            self._sum += int.from_bytes(hashlib.sha256(encoded(row)).digest())

    def seal(self, table: str) -> Seal:
        return Seal(table, self._rows, f"{self._sum % 2**256:064x}")


@asynccontextmanager
async def snapshot(location: Location, folder: Path) -> AsyncIterator[AsyncConnection]:
    """A connection that sees one moment. Faults: `unavailable`.

    SQLite's file is first copied into `folder`: while somebody reads it its log of writes only grows.
    """
    if location.kind == "postgresql":
        async with _reading(location) as connection:
            yield connection
        return
    with tempfile.TemporaryDirectory(prefix=".snapshot-", dir=folder) as place:
        copy = Path(place) / FILE
        await asyncio.to_thread(_copied, location.path, copy)
        async with _reading(Location("sqlite", path=str(copy))) as connection:
            yield connection


@asynccontextmanager
async def _reading(location: Location) -> AsyncIterator[AsyncConnection]:
    database = Database(location, LONG_S)
    try:
        async with database.begin(reading=True, frozen=True) as connection:
            yield connection
    finally:
        await database.close()


def _copied(path: str, copy: Path) -> None:
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            # All pages in one step: a copy made in steps begins anew whenever somebody writes.
            source.backup(target)
    except sqlite3.Error as error:
        raise store_away(error) from error


async def pieces_of(connection: AsyncConnection) -> AsyncIterator[Piece]:
    """Every table that this version knows and that is there, with the columns that it has there."""
    for sheet in await connection.run_sync(_sheets):
        yield sheet
        digest = Digest()
        selected = select(sheet.as_table()).execution_options(yield_per=BATCH_ROWS)
        async for batch in (await connection.stream(selected)).partitions():
            rows = [_without_nul(tuple(row)) for row in batch]
            digest.add(rows)
            yield rows
        yield digest.seal(sheet.table)


def _sheets(connection: Connection) -> list[Sheet]:
    found = inspect(connection)
    names = [
        name for name in sorted(METADATA.tables) if name not in LEFT_OUT and found.has_table(name)
    ]
    return [
        # By name, because a column that was added later stands elsewhere than in a table that was made with it.
        Sheet(
            name,
            tuple(
                sorted((column["name"], _kind(name, column)) for column in found.get_columns(name))
            ),
        )
        for name in names
    ]


def _kind(table: str, column: Any) -> Kind:
    for found, kind in FOUND:
        if isinstance(column["type"], found):
            return kind
    raise Fault(
        "internal", f"{table}.{column['name']}: {column['type']} is no kind of value that is kept."
    )


def _without_nul(row: Row) -> Row:
    if any(type(cell) is str and NUL in cell for cell in row):
        return tuple(cell.replace(NUL, REPLACEMENT) if type(cell) is str else cell for cell in row)
    return row
