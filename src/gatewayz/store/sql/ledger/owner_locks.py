"""Owner locks: whether another process that used this data directory is alive, without waiting for
its silence.

A serving process keeps a file locked while it lives, and the system lets it go when it dies,
however that is. Of a process that used another directory, on another machine, nobody can tell.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

FOLDER, SUFFIX = "owners", ".lock"
MAX_CHECKED = 1_000
"""Files that one look takes up; dead ones are taken away, so the next look sees others."""


class OwnerLock:
    """The lock of this process, taken when it is made. Raises `OSError` where that cannot be."""

    def __init__(self, data_dir: Path, owner: str) -> None:
        folder = data_dir / FOLDER
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = folder / f"{owner}{SUFFIX}"
        new = self._path.with_suffix(".new")
        self._descriptor = os.open(new, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Nobody sees the file before it is locked, or the process would be taken for dead.
        new.rename(self._path)

    def dead_owners(self) -> list[str]:
        """The names of processes that have died and whose files are still here."""
        others = [path for path in self._path.parent.glob(f"*{SUFFIX}") if path != self._path]
        return [path.stem for path in others[:MAX_CHECKED] if _is_free(path)]

    def forget(self, owner: str) -> None:
        """Takes the file of a dead process away, once nothing is held by it any more."""
        with suppress(OSError):
            self._path.with_name(f"{owner}{SUFFIX}").unlink(missing_ok=True)

    def close(self) -> None:
        """The process ends in peace."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def _is_free(path: Path) -> bool:
    """Whether nobody has the lock; a file that another process has just taken away says nothing."""
    try:
        with path.open("rb") as file:
            # Shared: two that look at the same time do not take each other for the owner.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
