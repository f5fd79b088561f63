"""Fresh stores for tests, on both databases: `location`, `database` and `store` run a test on SQLite and on PostgreSQL.

Each is a copy of a template that was migrated once as the product does it; a copy takes milliseconds.
"""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from functools import cached_property
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from gatewayz.control.open import Store, open_store
from gatewayz.core.clock import SystemClock
from gatewayz.store.sql.database import FILE, Database, Location
from tests.support.postgres import Postgres, running_postgres

KINDS = ("sqlite", "postgresql")
TEMPLATE = "gatewayz_template"
MIGRATE_S = 120


class Databases:
    """Hands out stores for one test run; the server starts when the first test asks for PostgreSQL."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._numbers = count(1)
        self._thread = ThreadPoolExecutor(1)
        self._runner = self._thread.submit(asyncio.Runner).result()
        stack.callback(self._close)

    def create_migrated(self, kind: str, folder: Path) -> Location:
        """An empty store with the schema of this version; the file of SQLite lies in `folder`, as in a data directory."""
        return self.create_from_template(
            self._template_file if kind == "sqlite" else TEMPLATE, kind, folder
        )

    def create_empty(self, kind: str, folder: Path) -> Location:
        """A store without any schema, as a first start finds it."""
        return self.create_from_template("", kind, folder)

    def create_from_template(self, template: "Path | str", kind: str, folder: Path) -> Location:
        if kind == "sqlite":
            folder.mkdir(parents=True, exist_ok=True)
            if template:
                shutil.copyfile(template, folder / FILE)
            return Location("sqlite", path=str(folder / FILE))
        name = f"test_{next(self._numbers)}"
        server = self.server
        self._admin(f"CREATE DATABASE {name}{f' TEMPLATE {template}' if template else ''}")
        return Location("postgresql", dsn=server.dsn(name))

    def drop(self, location: Location) -> None:
        if location.kind == "postgresql":
            self._admin(f"DROP DATABASE {location.dsn.rpartition('/')[2]} WITH (FORCE)")

    @cached_property
    def server(self) -> Postgres:
        """The run's PostgreSQL, with the template in it."""
        server = self._stack.enter_context(running_postgres())
        self._connection = self._run(asyncpg.connect(server.dsn()))
        self._admin(f"CREATE DATABASE {TEMPLATE}")
        migrate(server.dsn(TEMPLATE))
        return server

    @cached_property
    def _template_file(self) -> Path:
        path = self._folder / FILE
        migrate(f"sqlite:///{path}")
        return path

    def _admin(self, statement: str) -> None:
        self._run(self._connection.execute(statement))

    def _run(self, work):
        # A thread of its own: the caller may be inside a loop that runs.
        return self._thread.submit(self._runner.run, _await(work)).result()

    def _close(self) -> None:
        if "server" in self.__dict__:
            self._run(self._connection.close())
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()


async def _await(work):
    return await work


def url_of(location: Location) -> str:
    """The setting `database.url` that means this store."""
    return location.dsn or f"sqlite:///{location.path}"


def migrate(url: str) -> None:
    """Brings a store to the schema of this version as an operator does it."""
    command = [sys.executable, "-m", "gatewayz", "migrate", "--url-from-stdin"]
    done = subprocess.run(command, input=url, capture_output=True, text=True, timeout=MIGRATE_S)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def databases(tmp_path_factory) -> Iterator[Databases]:
    with ExitStack() as stack:
        yield Databases(tmp_path_factory.mktemp("databases"), stack)


on_sqlite = pytest.mark.parametrize("kind", ["sqlite"])
"""For a test of what is decided before the store is asked."""


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    """Which database: each test that asks runs on both."""
    return request.param


@pytest.fixture
def location(kind, databases, tmp_path) -> Iterator[Location]:
    """Where a fresh store is, migrated, without anything in it."""
    fresh = databases.create_migrated(kind, tmp_path / "data")
    yield fresh
    databases.drop(fresh)


@pytest.fixture
async def database(location) -> AsyncIterator[Database]:
    """Connections to a fresh store."""
    connections = Database(location)
    yield connections
    await connections.close()


@pytest.fixture
async def store(location, tmp_path) -> AsyncIterator[Store]:
    """A fresh store, open as a command opens it: with the account `house`, without upkeep."""
    async with AsyncExitStack() as stack:
        yield await open_store(
            location, tmp_path / "data", SystemClock(), lambda fact: None, stack, serving=False
        )
