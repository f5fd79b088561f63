"""`gatewayz providers`: every provider with its state, without starting anything."""

import json

from rich.console import Console
from rich.table import Table

from gatewayz.cli.catalog import load_overrides, load_providers
from gatewayz.settings import LoadedSettings

COLUMNS = ("state", "key_variable", "key_source", "base_url", "why_off")


def show_providers(loaded: LoadedSettings, *, as_json: bool) -> None:
    """Prints a table, or JSON with all that is known of each. Faults: `bad_request`."""
    providers = load_providers(loaded, load_overrides(loaded))
    rows = [
        {
            "provider": provider.id,
            "name": provider.name,
            "state": "off" if provider.off else "on",
            "verified": provider.verified,
            "key_variable": provider.key_env[0] if provider.key_env else "",
            "keys": len(provider.credentials),
            "key_source": provider.key_source,
            "base_url": "started with the gateway" if provider.built_in else provider.base_url,
            "why_off": provider.off,
        }
        for provider in providers.values()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return

    table = Table("provider", "state", "key variable", "keys from", "base URL", "why off")
    for row in rows:
        label = row["provider"] if row["verified"] else f"{row['provider']} (unverified)"
        table.add_row(str(label), *(str(row[name]) for name in COLUMNS))
    Console().print(table)
