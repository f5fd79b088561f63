"""What commands that change or read the store have in common: they open it, work, say the result, and close it.

They work beside a running gateway and without one.
"""

import getpass
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import typer
from msgspec import Struct
from rich.console import Console

from gatewayz.cli.serving import run_loop
from gatewayz.core.clock import SystemClock
from gatewayz.core.facts import Fact
from gatewayz.core.faults import Fault
from gatewayz.settings import Loaded, loaded
from gatewayz.store.secret import peppers
from gatewayz.store.sql.database import located
from gatewayz.store.sql.desk import Desk
from gatewayz.store.sql.opening import Store, opened

T = TypeVar("T")

Config = typer.Option("", "--config", "-c", help="The configuration file.")
DataDir = typer.Option(None, "--data-dir", help="Where the gateway keeps what it keeps.")
Json = typer.Option(False, "--json", help="Print JSON.")


class Office(Struct, frozen=True):
    """The open store, and the desk where it is changed."""

    desk: Desk
    store: Store
    data_dir: Path
    private_webhooks: bool = False


def at_office(config: str, data_dir: str | None, work: Callable[[Office], Awaitable[T]]) -> T:
    """Does the work with the store open. Faults: `bad_request`, `unavailable`, and the work's own."""
    found = loaded(config, {"data_dir": data_dir})
    return run_loop(lambda: _worked(found, work))


async def _worked(found: Loaded, work: Callable[[Office], Awaitable[T]]) -> T:
    settings = found.settings
    location = located(
        settings.database.url, settings.data_dir, pooler=settings.database.transaction_pooler
    )
    if location.kind == "memory":
        raise Fault(
            "bad_request",
            "With database.url = memory: nothing is kept; there is nothing to show or to change.",
        )
    place = Path(settings.data_dir)
    async with AsyncExitStack() as stack:
        store = await opened(location, place, SystemClock(), _unheard, stack, serving=False)
        secrets = peppers(place, found.secret_key, found.old_secret_keys)
        desk = Desk(store.database, SystemClock(), secrets, actor())
        return await work(Office(desk, store, place, settings.notices.private_addresses))


def _unheard(fact: Fact) -> None:
    """A command says what it did itself."""


def actor() -> str:
    """Who runs the command, as the machine knows them: the audit log's `cli:NAME`."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli:unknown"


def say(rows: Sequence[Mapping[str, Any]], *, as_json: bool, columns: Sequence[str] = ()) -> None:
    """Prints rows as JSON with all that they have, or as lines of some columns, each cell whole."""
    if as_json:
        print(json.dumps(list(rows), indent=2, default=list))
        return
    names = columns or (_for_people(rows[0]) if rows else ())
    lines = [
        [name.replace("_", " ") for name in names],
        *([_cell(row[name]) for name in names] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines if rows else ():
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
    if not rows:
        print("There are none.")


def say_one(row: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints one thing: as JSON, or a line for each of its parts."""
    if as_json:
        print(json.dumps(row, indent=2, default=list))
        return
    names = _for_people(row)
    width = max(map(len, names))
    for name in names:
        print(f"{name.replace('_', ' '):{width}}  {_cell(row[name])}")


def _for_people(row: Mapping[str, Any]) -> list[str]:
    """Without the integers of amounts and moments that stand beside in words."""
    twins = {"_nanos": "_usd", "_ms": ""}
    return [
        name
        for name in row
        if not any(
            name.endswith(end) and name.removesuffix(end) + twin in row
            for end, twin in twins.items()
        )
    ]


def note(text: str) -> None:
    """Says something to people, on standard error, so that standard output is the result alone."""
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(text, style="dim")


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={inner}" for name, inner in value.items()) or "–"
    return (
        ", ".join(map(str, value)) or "–"
        if isinstance(value, list | tuple | frozenset)
        else str(value)
    )
