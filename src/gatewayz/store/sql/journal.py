"""The journal: settlements that the store could not take, on this machine's disk until it can.

One file a process, locked while the process lives; lines are flushed together before anybody is told that they are
kept. A file whose process has died is replayed by the next one; twice is as once, because a call is settled once.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gatewayz.core.faults import Fault
from gatewayz.dialects.jsontext import encoded
from gatewayz.ledger.orders import Done, Settle
from gatewayz.store.sql.commits import GroupCommit
from gatewayz.store.sql.records import RecordRows

FOLDER = "journal"
MAX_JOURNAL_BYTES = 64 * 2**20
"""About 30,000 settlements; a full journal ends calls with a typed end instead of losing money."""
REJECTED = "rejected.log"
"""Where settlements go that the store refuses for what they say; `credits check` names the file."""


class DiskJournal:
    """The port `Journal` of the books."""

    def __init__(
        self,
        data_dir: Path,
        owner: str,
        warn: Callable[[str], None],
        most_bytes: int = MAX_JOURNAL_BYTES,
    ) -> None:
        self._folder = data_dir / FOLDER
        self._path = self._folder / f"{owner}.jsonl"
        self._warn = warn
        self.most_bytes = most_bytes
        self._descriptor = -1
        self._bytes = 0
        self._writes = GroupCommit(self._written)

    @property
    def waiting_bytes(self) -> int:
        """How much is kept here that the store does not have yet."""
        return self._bytes

    async def keep(self, order: Settle) -> None:
        """Returns when the order is on the disk. Faults: `unavailable` when it is full or broken."""
        await self._writes.put(order)

    async def _written(self, orders: Sequence[Any]) -> list[Done]:
        lines = b"".join(encoded(order) + b"\n" for order in orders)
        if self._bytes + len(lines) > self.most_bytes:
            raise Fault("unavailable", "The store is away and the journal is full.")
        try:
            await asyncio.to_thread(self._append, lines)
        except OSError as error:
            raise Fault(
                "unavailable", f"The store is away, and the journal cannot be written: {error}"
            ) from error
        self._bytes += len(lines)
        self._warn(
            f"the store is away: {len(orders)} settlement(s) went to the journal ({self._bytes} bytes)"
        )
        return [Done()] * len(orders)

    def _append(self, lines: bytes) -> None:
        if self._descriptor < 0:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        before = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, lines)
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, before)
            raise
        if written != len(lines):
            os.ftruncate(self._descriptor, before)
            message = "the disk is full"
            raise OSError(message)

    async def replay(self, commits: GroupCommit) -> int:
        """Hands what is kept to the store, the dead's first; returns how many it took. Faults: `unavailable`."""
        taken = 0
        for path in sorted(self._folder.glob("*.jsonl")) if self._folder.is_dir() else []:
            taken += (
                await self._own(commits)
                if path == self._path
                else await self._orphan(path, commits)
            )
        return taken

    async def _own(self, commits: GroupCommit) -> int:
        if not self._bytes:
            return 0
        read = self._path.read_bytes()
        taken = await self._handed(read, commits)
        if os.fstat(self._descriptor).st_size == len(read):
            os.ftruncate(self._descriptor, 0)
            self._bytes = 0
        return taken

    async def _orphan(self, path: Path, commits: GroupCommit) -> int:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return 0
            taken = await self._handed(file.read(), commits)
            await asyncio.to_thread(path.unlink, missing_ok=True)
        return taken

    async def _handed(self, lines: bytes, commits: GroupCommit) -> int:
        taken = 0
        for order in _orders(lines):
            try:
                done = await commits.put(order)
            except Fault as fault:
                if fault.kind == "unavailable":
                    raise
                self._reject(order, fault.message)
                continue
            if done.fault is not None:
                self._reject(order, done.fault.message)
            taken += done.fresh
        return taken

    def _reject(self, order: Settle, why: str) -> None:
        with (self._folder / REJECTED).open("ab") as file:
            file.write(encoded({"why": why, "order": order}) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._warn(
            f"the settlement of {order.call} was refused by the store and kept in {REJECTED}: {why}"
        )

    def close(self) -> None:
        """An empty file is taken away; one that holds something stays for the next start."""
        if self._descriptor < 0:
            return
        if not self._bytes:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def _orders(lines: bytes) -> Iterator[Settle]:
    """The whole lines; one that a crash tore was never promised to anybody."""
    for line in lines.split(b"\n")[:-1]:
        try:
            order = msgspec.json.decode(line, type=Settle)
        except msgspec.DecodeError:
            continue
        rows = msgspec.convert(order.rows, RecordRows) if order.rows is not None else None
        yield msgspec.structs.replace(order, rows=rows)
