"""The file of a backup: JSON lines, compressed by gzip, the same for both databases.

    {"gatewayz_backup": 1, "schema": "0003", "version": "0.3.0", "at_ms": 1795559244228,
        "kept_in": "sqlite"}
    {"table": "accounts", "columns": [["id", "text"], ["markup_bp", "number"], ...]}
    ["house", null, ...]
    {"end": "accounts", "rows": 1, "digest": "5f0c..."}
    ... every other table ...
    {"whole": true}

Kinds of values are text, number, flag and bytes (base64). A file that ends before `whole` was cut
off.
"""

import base64
import gzip
import os
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.store.sql.backup.snapshots import (
    BATCH_ROWS,
    Piece,
    Row,
    RowHasher,
    TableDigest,
    TableSchema,
)

FORMAT = 1
COMPRESSION_LEVEL = 6
MAX_LINE_BYTES = 64 * 2**20
"""Far above the longest answer and the longest message that are stored."""
END_LINE = b'{"whole":true}\n'


class BackupHeader(Struct, frozen=True, kw_only=True):
    """Where the snapshot comes from: the schema's revision decides who can restore it.

    The first line of the file; its fields, as those of `TableSchema` and `TableDigest`, never
    change.
    """

    gatewayz_backup: int = FORMAT
    schema: str
    version: str
    at_ms: int
    kept_in: str


class BackupWriter:
    """Writes pieces of a snapshot as lines."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file

    def write(self, piece: Piece) -> None:
        """Adds a piece. Raises `OSError`, which `create_backup_file` answers."""
        if isinstance(piece, list):
            self._file.write(b"".join(encode_json(row) + b"\n" for row in piece))
        else:
            self._file.write(encode_json(piece) + b"\n")


@contextmanager
def create_backup_file(path: Path, header: BackupHeader) -> Iterator[BackupWriter]:
    """A new file that only its owner can read; it has its name only when it is whole.

    Faults: `unavailable` when it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with (
            _create_private_file(part) as raw,
            gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=COMPRESSION_LEVEL, mtime=0) as file,
        ):
            file.write(encode_json(header) + b"\n")
            yield BackupWriter(file)
            file.write(END_LINE)
        part.replace(path)
    except OSError as error:
        raise Fault(
            "unavailable", f"{path} cannot be written: {error.strerror or error}"
        ) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _create_private_file(part: Path) -> Iterator[BinaryIO]:
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw:
        yield raw
        raw.flush()
        os.fsync(raw.fileno())


class BackupReader:
    """Reads a file from its beginning.

    Faults, of every method: `bad_request` for a file that is no backup, or not whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.header = self._read_header()

    def _read_header(self) -> BackupHeader:
        for line in self._read_lines():
            try:
                header = msgspec.json.decode(line, type=BackupHeader)
            except msgspec.DecodeError:
                break
            if header.gatewayz_backup > FORMAT:
                raise self._invalid_file(
                    f"is of format {header.gatewayz_backup}, this version reads {FORMAT}"
                )
            return header
        raise self._invalid_file("is no backup of gatewayz")

    async def pieces(self) -> AsyncIterator[Piece]:
        """What is in it, with the digest of each table checked against its rows."""
        schema, batch, hasher = TableSchema("", ()), [], RowHasher()
        for number, line in enumerate(self._read_lines()):
            if number == 0:
                # The header, which was read when the reader was made.
                continue
            if line == END_LINE:
                return
            if line.startswith(b"["):
                batch.append(self._parse_row(schema, line))
                if len(batch) < BATCH_ROWS:
                    continue
            if batch:
                hasher.add(batch)
                yield batch
                batch = []
            if line.startswith(b'{"table"'):
                schema, hasher = self._decode(line, TableSchema), RowHasher()
                yield schema
            elif line.startswith(b"{"):
                digest = self._decode(line, TableDigest)
                if digest != hasher.table_digest(schema.table):
                    raise self._invalid_file(
                        f"is damaged: the rows of {schema.table} are not those that were written"
                    )
                yield digest
        raise self._invalid_file("was cut off before its end")

    def _parse_row(self, schema: TableSchema, line: bytes) -> Row:
        row = self._decode(line, list[Any])
        if len(row) != len(schema.columns):
            raise self._invalid_file(f"is damaged: a row of {schema.table} has {len(row)} values")
        for place, (_, kind) in enumerate(schema.columns):
            if kind == "bytes" and row[place] is not None:
                row[place] = base64.b64decode(row[place])
        return tuple(row)

    def _decode(self, line: bytes, kind: Any) -> Any:
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError as error:
            raise self._invalid_file(f"is damaged: {error}") from error

    def _read_lines(self) -> Iterator[bytes]:
        try:
            with gzip.open(self._path, "rb") as file:
                while line := file.readline(MAX_LINE_BYTES):
                    yield line
        except (OSError, EOFError, zlib.error) as error:
            why = getattr(error, "strerror", None) or error
            raise self._invalid_file(f"cannot be read: {why}") from error

    def _invalid_file(self, what: str) -> Fault:
        return Fault("bad_request", f"{self._path} {what}.")
