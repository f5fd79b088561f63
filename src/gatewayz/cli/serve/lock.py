"""One gateway serves from a SQLite file: its limits and breakers are in its memory.

Workers belong to one gateway, and start under its lock. A gateway that drains gives the lock back,
so that the next one may start beside it.
"""

import fcntl
import os
from pathlib import Path

from gatewayz.core.faults import Fault
from gatewayz.store.sql.database import Location
from gatewayz.store.sql.migrate import ensure_folder


class ServingLock:
    """The right to serve from a database; PostgreSQL serves any number."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._descriptor = -1

    def acquire(self) -> None:
        """Faults: `unavailable` while another gateway serves, with its process id."""
        if self._location.kind != "sqlite":
            return
        ensure_folder(self._location)
        path = Path(self._location.path).absolute().with_suffix(".serving")
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            self.release()
            raise Fault(
                "unavailable",
                f"Another gateway (process {holder or 'unknown'}) serves from "
                f"{self._location.shown}, and each would let through its full limits. Stop that "
                "one, let it have more workers (--workers), give this one a data directory of its "
                "own (--data-dir), or move to PostgreSQL.",
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets another gateway serve; again is no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
