"""The file of a backup: JSON lines, compressed by gzip, the same for both databases.

    {"gatewayz_backup": 1, "schema": "0003", "version": "0.3.0", "at_ms": 1795559244228, "kept_in": "sqlite"}
    {"table": "accounts", "columns": [["id", "text"], ["markup_bp", "number"], ...]}
    ["house", null, ...]
    {"end": "accounts", "rows": 1, "digest": "5f0c..."}
    ... every other table ...
    {"whole": true}

Kinds of values are text, number, flag and bytes (base64). A file that ends before `whole` was cut off.
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
from gatewayz.dialects.jsontext import encoded
from gatewayz.store.sql.snapshots import BATCH_ROWS, Digest, Piece, Row, Seal, Sheet

FORMAT = 1
LEVEL = 6
MAX_LINE_BYTES = 64 * 2**20
"""Far above the longest answer and the longest message that are kept."""
WHOLE = b'{"whole":true}\n'


class Header(Struct, frozen=True, kw_only=True):
    """Where the snapshot comes from: the schema's revision decides who can restore it."""

    gatewayz_backup: int = FORMAT
    schema: str
    version: str
    at_ms: int
    kept_in: str


class BackupWriter:
    """Writes pieces. The file is there under its name only when it is whole."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file

    def put(self, piece: Piece) -> None:
        if isinstance(piece, list):
            self._file.write(b"".join(encoded(row) + b"\n" for row in piece))
        else:
            self._file.write(encoded(piece) + b"\n")


@contextmanager
def written(path: Path, header: Header) -> Iterator[BackupWriter]:
    """A new file that only its owner can read. Faults: `unavailable` when it cannot be written."""
    part = path.with_name(f"{path.name}.part")
    try:
        with (
            _created(part) as raw,
            gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=LEVEL, mtime=0) as file,
        ):
            file.write(encoded(header) + b"\n")
            yield BackupWriter(file)
            file.write(WHOLE)
        part.replace(path)
    except OSError as error:
        raise Fault(
            "unavailable", f"{path} cannot be written: {error.strerror or error}"
        ) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _created(part: Path) -> Iterator[BinaryIO]:
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw:
        yield raw
        raw.flush()
        os.fsync(raw.fileno())


class BackupReader:
    """Reads a file from its beginning. Faults: `bad_request` for a file that is none, or not whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.header = self._first()

    def _first(self) -> Header:
        for line in self._lines():
            try:
                header = msgspec.json.decode(line, type=Header)
            except msgspec.DecodeError:
                break
            if header.gatewayz_backup > FORMAT:
                raise self._wrong(
                    f"is of format {header.gatewayz_backup}, this version reads {FORMAT}"
                )
            return header
        raise self._wrong("is no backup of gatewayz")

    async def pieces(self) -> AsyncIterator[Piece]:
        """What is in it, checked against its own seals."""
        sheet, batch, digest = Sheet("", ()), [], Digest()
        for number, line in enumerate(self._lines()):
            if number == 0:
                continue
            if line == WHOLE:
                return
            if line.startswith(b"["):
                batch.append(self._row(sheet, line))
                if len(batch) < BATCH_ROWS:
                    continue
            if batch:
                digest.add(batch)
                yield batch
                batch = []
            if line.startswith(b'{"table"'):
                sheet, digest = self._decoded(line, Sheet), Digest()
                yield sheet
            elif line.startswith(b"{"):
                seal = self._decoded(line, Seal)
                if seal != digest.seal(sheet.table):
                    raise self._wrong(
                        f"is damaged: the rows of {sheet.table} are not those that were written"
                    )
                yield seal
        raise self._wrong("was cut off before its end")

    def _row(self, sheet: Sheet, line: bytes) -> Row:
        row = self._decoded(line, list[Any])
        if len(row) != len(sheet.columns):
            raise self._wrong(f"is damaged: a row of {sheet.table} has {len(row)} values")
        for place, (_, kind) in enumerate(sheet.columns):
            if kind == "bytes" and row[place] is not None:
                row[place] = base64.b64decode(row[place])
        return tuple(row)

    def _decoded(self, line: bytes, kind: Any) -> Any:
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError as error:
            raise self._wrong(f"is damaged: {error}") from error

    def _lines(self) -> Iterator[bytes]:
        try:
            with gzip.open(self._path, "rb") as file:
                while line := file.readline(MAX_LINE_BYTES):
                    yield line
        except (OSError, EOFError, zlib.error) as error:
            raise self._wrong(f"cannot be read: {error}") from error

    def _wrong(self, what: str) -> Fault:
        return Fault("bad_request", f"{self._path} {what}.")
