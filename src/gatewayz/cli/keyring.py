"""`gatewayz keys`: works offline, on the file in the data directory."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, key_from
from gatewayz.settings import loaded
from gatewayz.store.memory.keys import SCOPES, KeyFile


def _file(config: str, flags: Mapping[str, Any]) -> KeyFile:
    found = loaded(config, flags)
    return KeyFile(Path(found.settings.data_dir), found.secret_key)


def make(config: str, flags: Mapping[str, Any], name: str, scopes: str, *, only_print: bool) -> None:
    """Prints a new key on standard output, and nothing else there."""
    if only_print:
        print(key_from(secrets.token_bytes(RANDOM_BYTES)))
        return
    wanted = tuple(sorted(scope.strip() for scope in scopes.split(",") if scope.strip()))
    unknown = set(wanted) - SCOPES
    if unknown or not wanted:
        raise Fault(
            "bad_request", f"Scopes are {', '.join(sorted(SCOPES))}, not {', '.join(sorted(unknown)) or 'none'}."
        )
    key, record = _file(config, flags).make(name, wanted, SystemClock().wall_ms(), bootstrap=not name)
    print(key)
    Console(stderr=True).print(f"[dim]Key {record.id} may do: {', '.join(wanted)}. It is shown this once.[/dim]")


def listing(config: str, flags: Mapping[str, Any], *, as_json: bool) -> None:
    records = _file(config, flags).read()
    if as_json:
        shown = [{**msgspec.to_builtins(record), "digest": None} for record in records]
        print(json.dumps([{name: value for name, value in row.items() if name != "digest"} for row in shown], indent=2))
        return
    table = Table("id", "key", "name", "scopes", "state")
    for record in records:
        state = "revoked" if record.revoked_ms else "active"
        table.add_row(record.id, record.shown, record.name or "bootstrap", ", ".join(record.scopes), state)
    Console().print(table)


def revoke(config: str, flags: Mapping[str, Any], key_id: str) -> None:
    if not _file(config, flags).revoke(key_id, SystemClock().wall_ms()):
        raise Fault("bad_request", f"There is no active key with the id {key_id}; `gatewayz keys list` shows them.")
    print(f"{key_id} is revoked; running gateways refuse it within two seconds.")
