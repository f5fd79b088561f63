"""Snapshots: everything that is stored, as of one moment, while the gateway goes on; in batches.

A snapshot is a stream of pieces: a `TableSchema` says what a table is, rows follow, a `TableDigest`
with their number and digest ends it. The digest of a table is the sum of the SHA-256 of its rows,
modulo 2^256: the order of rows, which the databases do not agree on, does not matter.
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
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.store.sql.database import FILE, Database, Location, store_unavailable
from gatewayz.store.sql.nul import NUL, without_nul
from gatewayz.store.sql.tables import METADATA

SNAPSHOT_STATEMENT_S = 3_600.0
"""How long one statement may take where the whole database is read or written."""
BATCH_ROWS = 1_000
EXCLUDED_TABLES = frozenset({"owners"})
"""Who is alive now; in another place or at another time nobody of them is."""

Kind = Literal["text", "number", "flag", "bytes"]
Row = tuple[Any, ...]
KINDS: dict[Kind, type[TypeEngine[Any]]] = {
    "text": Text,
    "number": BigInteger,
    "flag": Boolean,
    "bytes": LargeBinary,
}
KIND_OF_TYPE: tuple[tuple[type[TypeEngine[Any]], Kind], ...] = (
    (Boolean, "flag"),
    (Integer, "number"),
    (LargeBinary, "bytes"),
    (String, "text"),
)


class TableSchema(Struct, frozen=True):
    """A table: its name, and its columns with the kinds of their values.

    Example: TableSchema("revisions", (("number", "number"), ("subject", "text")))
    """

    table: str
    columns: tuple[tuple[str, Kind], ...]

    def as_table(self) -> Table:
        """The table as a value of SQLAlchemy, for statements over these columns."""
        columns = [Column(name, KINDS[kind]) for name, kind in self.columns]
        return Table(self.table, MetaData(), *columns)


class TableDigest(Struct, frozen=True):
    """The end of a table: its name, how many rows it has, and their digest in hex."""

    end: str
    rows: int
    digest: str


Piece = TableSchema | list[Row] | TableDigest


class RowHasher:
    """Counts rows and adds up their hashes."""

    def __init__(self) -> None:
        self._rows = 0
        self._sum = 0

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._rows += 1
            self._sum += int.from_bytes(hashlib.sha256(encode_json(row)).digest())

    def table_digest(self, table: str) -> TableDigest:
        return TableDigest(table, self._rows, f"{self._sum % 2**256:064x}")


@asynccontextmanager
async def open_snapshot(location: Location, folder: Path) -> AsyncIterator[AsyncConnection]:
    """A connection that sees one moment. Faults: `unavailable`.

    SQLite's file is first copied into `folder`: while somebody reads it, its log of writes only
    grows.
    """
    if location.kind == "postgresql":
        async with _open_read_only(location) as connection:
            yield connection
        return
    with tempfile.TemporaryDirectory(prefix=".snapshot-", dir=folder) as temporary:
        copy = Path(temporary) / FILE
        await asyncio.to_thread(_copy_sqlite, location.path, copy)
        async with _open_read_only(Location("sqlite", path=str(copy))) as connection:
            yield connection


@asynccontextmanager
async def _open_read_only(location: Location) -> AsyncIterator[AsyncConnection]:
    database = Database(location, SNAPSHOT_STATEMENT_S)
    try:
        async with database.begin(reading=True, frozen=True) as connection:
            yield connection
    finally:
        await database.close()


def _copy_sqlite(path: str, copy: Path) -> None:
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            # All pages in one step: a copy made in steps begins anew whenever somebody writes.
            source.backup(target)
    except sqlite3.Error as error:
        raise store_unavailable(error) from error


async def pieces_of(connection: AsyncConnection) -> AsyncIterator[Piece]:
    """Every table that this version knows and that is there, with the columns that it has there."""
    for schema in await connection.run_sync(_table_schemas):
        yield schema
        hasher = RowHasher()
        statement = select(schema.as_table()).execution_options(yield_per=BATCH_ROWS)
        async for batch in (await connection.stream(statement)).partitions():
            rows = [_without_nul(tuple(row)) for row in batch]
            hasher.add(rows)
            yield rows
        yield hasher.table_digest(schema.table)


def _table_schemas(connection: Connection) -> list[TableSchema]:
    inspector = inspect(connection)
    schemas = []
    for name in sorted(METADATA.tables):
        if name in EXCLUDED_TABLES or not inspector.has_table(name):
            continue
        columns = [
            (column["name"], _column_kind(name, column)) for column in inspector.get_columns(name)
        ]
        # By name: a column that was added later stands elsewhere than in a table made with it.
        schemas.append(TableSchema(name, tuple(sorted(columns))))
    return schemas


def _column_kind(table: str, column: Any) -> Kind:
    for column_type, kind in KIND_OF_TYPE:
        if isinstance(column["type"], column_type):
            return kind
    raise Fault(
        "internal",
        f"{table}.{column['name']}: values of the type {column['type']} cannot be in a snapshot.",
    )


def _without_nul(row: Row) -> Row:
    """Nearly no row has a NUL: one without stays the tuple that it is."""
    if any(type(cell) is str and NUL in cell for cell in row):
        return tuple(without_nul(row))
    return row
