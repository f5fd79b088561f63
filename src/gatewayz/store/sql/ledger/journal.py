"""The journal: settlements that the store could not take, on this machine's disk until it can.

One file a process, locked while the process lives; lines are flushed together before any of the
settlements counts as made. A file whose process has died is replayed by the next one; twice is as
once, because a call is settled once.
"""

import asyncio
import fcntl
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.ledger.orders import OrderResult, SettleOrder
from gatewayz.store.sql.ledger.group_commit import GroupCommit
from gatewayz.store.sql.ledger.records import RecordRows

FOLDER = "journal"
MAX_JOURNAL_BYTES = 64 * 2**20
"""About 30,000 settlements; a full journal ends calls with a typed end instead of losing money."""
REJECTED = "rejected.log"
"""Where settlements go that the store refuses for what they say; `credits check` names the file."""
MAYBE_BOOKED = "records of its time are deleted: compare it with the transfers of its call"


class DiskJournal:
    """The `SettlementJournal` of the books. `owner` names its file, `warn` takes what happens."""

    def __init__(
        self,
        data_dir: Path,
        owner: str,
        warn: Callable[[str], None],
        max_bytes: int = MAX_JOURNAL_BYTES,
    ) -> None:
        self._folder = data_dir / FOLDER
        self._path = self._folder / f"{owner}.jsonl"
        self._warn = warn
        self.max_bytes = max_bytes
        self.first_call: Callable[[], Awaitable[str]] | None = None
        """The first id of which no record is deleted: an older settlement may be booked already."""
        self._descriptor = -1
        self._bytes = 0
        self._writes = GroupCommit(self._write_orders)

    @property
    def waiting_bytes(self) -> int:
        """How much is here that the store does not have yet."""
        return self._bytes

    @property
    def has_room(self) -> bool:
        """Whether it is less than half full: the other half is for what customers pay for."""
        return self._bytes < self.max_bytes // 2

    async def append(self, order: SettleOrder) -> None:
        """Returns when the order is on the disk. Faults: `unavailable` if it is full or broken."""
        await self._writes.put(order)

    async def _write_orders(self, orders: Sequence[Any]) -> list[OrderResult]:
        lines = b"".join(encode_json(order) + b"\n" for order in orders)
        if self._bytes + len(lines) > self.max_bytes:
            raise Fault("unavailable", "The store is away and the journal is full.")
        try:
            await asyncio.to_thread(self._append_lines, lines)
        except OSError as error:
            raise Fault(
                "unavailable",
                "The store is away, and the journal cannot be written.",
                detail=str(error),
            ) from error

        self._bytes += len(lines)
        self._warn(
            f"the store is away: {len(orders)} settlement(s) went to the journal "
            f"({self._bytes} bytes)"
        )
        return [OrderResult()] * len(orders)

    def _append_lines(self, lines: bytes) -> None:
        if self._descriptor < 0:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            # The lock says that this process lives: nobody else replays the file meanwhile.
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
        """Hands what is here to the store; how many settlements it booked. Faults: `unavailable`.

        The files of processes that have died come along.
        """
        booked = 0
        for path in sorted(self._folder.glob("*.jsonl")) if self._folder.is_dir() else []:
            if path == self._path:
                booked += await self._replay_own(commits)
            else:
                booked += await self._replay_orphan(path, commits)
        return booked

    async def _replay_own(self, commits: GroupCommit) -> int:
        if not self._bytes:
            return 0
        lines = self._path.read_bytes()
        booked = await self._submit_lines(lines, commits)
        # Unless more was appended meanwhile: that is replayed with the next turn.
        if os.fstat(self._descriptor).st_size == len(lines):
            os.ftruncate(self._descriptor, 0)
            self._bytes = 0
        return booked

    async def _replay_orphan(self, path: Path, commits: GroupCommit) -> int:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                # Its process lives.
                return 0
            first = await self.first_call() if self.first_call is not None else ""
            booked = await self._submit_lines(file.read(), commits, first)
            await asyncio.to_thread(path.unlink, missing_ok=True)
        return booked

    async def _submit_lines(self, lines: bytes, commits: GroupCommit, first_call: str = "") -> int:
        booked = 0
        for order in _parse_orders(lines):
            if order.call < first_call:
                # That it was booked before would be seen by its record, which may be deleted.
                self._reject(order, MAYBE_BOOKED)
                continue
            try:
                result = await commits.put(order)
            except Fault as fault:
                if fault.kind == "unavailable":
                    raise
                self._reject(order, fault.operator_message)
                continue
            if result.fault is not None:
                self._reject(order, result.fault.operator_message)
            booked += result.applied
        return booked

    def _reject(self, order: SettleOrder, why: str) -> None:
        with (self._folder / REJECTED).open("ab") as file:
            file.write(encode_json({"why": why, "order": order}) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._warn(
            f"the store refused the settlement of {order.call}, which is in {REJECTED} now: {why}"
        )

    def close(self) -> None:
        """An empty file is taken away; one that holds something stays for the next start."""
        if self._descriptor < 0:
            return
        if not self._bytes:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def _parse_orders(lines: bytes) -> Iterator[SettleOrder]:
    """The whole lines; one that a crash tore was never promised to anybody."""
    for line in lines.split(b"\n")[:-1]:
        try:
            order = msgspec.json.decode(line, type=SettleOrder)
        except msgspec.DecodeError:
            continue
        rows = msgspec.convert(order.rows, RecordRows) if order.rows is not None else None
        yield msgspec.structs.replace(order, rows=rows)
