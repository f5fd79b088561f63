"""`gatewayz backup`, `restore` and `move`: everything that is kept, taken along; the books are checked each time."""

import asyncio
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz import __version__
from gatewayz.cli.office import actor
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.settings import Loaded, loaded
from gatewayz.store import secret
from gatewayz.store.sql.audit import Deed, goes_on, recorded
from gatewayz.store.sql.backup_file import BackupReader, Header, written
from gatewayz.store.sql.checking import OF_A_COPY, Violation, violations, violations_in
from gatewayz.store.sql.database import Database, Location, located
from gatewayz.store.sql.journal import FOLDER
from gatewayz.store.sql.loading import Seals, Source, Tell, unless_served
from gatewayz.store.sql.loading import loaded as put_into
from gatewayz.store.sql.migrating import REVISION, revision_of
from gatewayz.store.sql.snapshots import Piece, Seal, Sheet, pieces_of, snapshot

SHOW_EVERY_ROWS = 100_000


class Shown:
    """Says on standard error how far long work is."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._table = ""
        self._rows = self._shown = 0

    def __call__(self, piece: Piece) -> None:
        if isinstance(piece, Sheet):
            self._table, self._rows, self._shown = piece.table, 0, 0
        elif isinstance(piece, list):
            self._rows += len(piece)
            if self._rows - self._shown >= SHOW_EVERY_ROWS:
                self._shown = self._rows
                self._say(f"{self._rows:,} rows so far")
        elif piece.rows:
            self._say(f"{piece.rows:,} rows")

    def _say(self, what: str) -> None:
        print(f"{self._verb} {self._table}: {what}", file=sys.stderr, flush=True)


def backup(config: str, flags: Mapping[str, Any], file: str) -> int:
    """Writes a backup while the gateway may go on serving; the exit status. Faults: `bad_request`, `unavailable`."""
    found = loaded(config, flags)
    location, path = _filled(found), Path(file)
    if path.exists():
        raise Fault(
            "bad_request", f"{path} is there already; a backup does not write over anything."
        )
    if not path.parent.is_dir():
        raise Fault("bad_request", f"There is no folder {path.parent}.")
    seals, wrong = _run(_backed_up(location, path))
    print(
        f"{location.shown} was backed up to {path}: {_counted(seals)}, {path.stat().st_size:,} bytes."
    )
    _say_what_is_beside(found)
    return _verdict(wrong)


async def _backed_up(location: Location, path: Path) -> tuple[Seals, list[Violation]]:
    now_ms, shown, seals = SystemClock().wall_ms(), Shown("backing up"), Seals()
    async with snapshot(location, path.parent) as connection:
        schema = await connection.run_sync(revision_of)
        if not schema or schema > REVISION:
            raise Fault(
                "bad_request",
                f"The database is at revision {schema or 'none'}, this version's is {REVISION}.",
            )
        wrong = await violations_in(connection, now_ms, OF_A_COPY)
        header = Header(schema=schema, version=__version__, at_ms=now_ms, kept_in=location.kind)
        with written(path, header) as writer:
            async for piece in pieces_of(connection):
                writer.put(piece)
                shown(piece)
                if isinstance(piece, Seal):
                    seals[piece.end] = piece
    await _read_again(path, seals)
    return seals, wrong


async def _read_again(path: Path, seals: Seals) -> None:
    """What cannot be read was never a backup."""
    read = {
        piece.end: piece async for piece in BackupReader(path).pieces() if isinstance(piece, Seal)
    }
    if read != seals:
        raise Fault("internal", f"{path} does not hold what was written; do not rely on it.")


def restore(config: str, flags: Mapping[str, Any], file: str, *, replace: bool) -> int:
    """Fills this installation's database from a backup; the exit status. Faults: `bad_request`, `unavailable`."""
    found = loaded(config, flags)
    location, reader = _kept(found), BackupReader(Path(file))

    async def run() -> tuple[Seals, list[Violation]]:
        source, deed = (
            Source(reader.header.schema, reader.pieces()),
            _restored(file, reader.header, replace=replace),
        )
        seals = await put_into(
            location, source, Shown("restoring"), _teller(found, deed), replace=replace
        )
        return seals, await _violations(location)

    seals, wrong = _run(run())
    print(f"{file} was restored into {location.shown}: {_counted(seals)}.")
    _say_what_is_beside(found)
    return _verdict(wrong)


def _restored(file: str, header: Header, *, replace: bool) -> Deed:
    detail = {
        "made_ms": header.at_ms,
        "schema": header.schema,
        "kept_in": header.kept_in,
        "replaced": replace,
    }
    return Deed(action="store.restore", subject=Path(file).name, detail=detail)


def _teller(found: Loaded, deed: Deed) -> Tell:
    """Writes the deed's entry, where the secret is that sealed the log so far: none is made here."""
    data_dir = Path(found.settings.data_dir)
    there = bool(found.secret_key) or (data_dir / secret.FILE).is_file()
    peppers = secret.peppers(data_dir, found.secret_key, found.old_secret_keys) if there else None

    async def tell(connection: AsyncConnection) -> None:
        if peppers is None or not await goes_on(connection, peppers):
            print(
                "The audit log was not told: the secret that seals it is not here.", file=sys.stderr
            )
            return
        await recorded(connection, peppers, actor(), deed, SystemClock().wall_ms())

    return tell


def move(config: str, flags: Mapping[str, Any], url: str) -> int:
    """Takes everything to another database, which must be empty; the exit status. Faults as for `restore`."""
    found = loaded(config, flags)
    here = _filled(found)
    there = located(url, "", pooler=found.settings.database.transaction_pooler)
    if there.kind == "memory" or there == here:
        raise Fault("bad_request", f"Nothing can be moved from {here.shown} to {there.shown}.")
    deed = Deed(action="store.move", subject=there.shown, detail={"from": here.shown})
    seals, wrong = _run(_moved(here, there, Path(found.settings.data_dir), _teller(found, deed)))
    print(f"{here.shown} was moved to {there.shown}: {_counted(seals)}, read back and compared.")
    print(
        f"Set GATEWAYZ_DATABASE__URL (or database.url) to {there.shown} with its password, and start again."
    )
    print(f"{here.shown} is left as it was.")
    _say_what_is_beside(found)
    return _verdict(wrong)


async def _moved(
    here: Location, there: Location, data_dir: Path, tell: Tell
) -> tuple[Seals, list[Violation]]:
    database = Database(here)
    try:
        async with database.begin(reading=True) as connection:
            await unless_served(connection)
    finally:
        await database.close()
    async with snapshot(here, data_dir) as connection:
        schema = await connection.run_sync(revision_of)
        seals = await put_into(there, Source(schema, pieces_of(connection)), Shown("moving"), tell)
    return seals, await _violations(there)


def _kept(found: Loaded) -> Location:
    settings = found.settings
    location = located(
        settings.database.url, settings.data_dir, pooler=settings.database.transaction_pooler
    )
    if location.kind == "memory":
        raise Fault("bad_request", "database.url is memory:, which keeps nothing.")
    return location


def _filled(found: Loaded) -> Location:
    location = _kept(found)
    if location.kind == "sqlite" and not Path(location.path).is_file():
        raise Fault(
            "bad_request",
            f"There is no database {location.path}; --data-dir or --config says where it is.",
        )
    return location


def _run(work: Coroutine[Any, Any, tuple[Seals, list[Violation]]]) -> tuple[Seals, list[Violation]]:
    return asyncio.run(work)


async def _violations(location: Location) -> list[Violation]:
    database = Database(location)
    try:
        return await violations(database, SystemClock().wall_ms(), OF_A_COPY)
    finally:
        await database.close()


def _counted(seals: Seals) -> str:
    return f"{len(seals)} tables, {sum(seal.rows for seal in seals.values()):,} rows"


def _say_what_is_beside(found: Loaded) -> None:
    """What belongs to an installation and is in no database."""
    data_dir = Path(found.settings.data_dir)
    place = "GATEWAYZ_SECRET_KEY" if found.secret_key else str(data_dir / secret.FILE)
    print(
        f"Keep the secret too ({place}): without it no key works, and nothing that is encrypted can be read."
    )
    waiting = sum(path.stat().st_size for path in (data_dir / FOLDER).glob("*.jsonl"))
    if waiting:
        print(
            f"{waiting:,} bytes of settlements wait in {data_dir / FOLDER}; the next start there books them."
        )


def _verdict(wrong: list[Violation]) -> int:
    if not wrong:
        print("The books are clean.")
        return 0
    for one in wrong:
        print(f"{one.check}: {one.subject}: {one.says}", file=sys.stderr)
    print(f"The books are NOT clean: {len(wrong)} violation(s), said above.", file=sys.stderr)
    return 1
