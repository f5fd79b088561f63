"""`gatewayz providers`: every provider with its state, without starting anything."""

import json

from rich.console import Console
from rich.table import Table

from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.settings import load_settings

COLUMNS = ("state", "key_variable", "base_url", "why_off")


def show_providers(config: str, *, as_json: bool) -> None:
    """Prints a table, or JSON with all that is known of each. Faults: `bad_request`."""
    loaded = load_settings(config)
    providers = providers_from(provider_rows(), loaded.environment, loaded.settings.providers)
    rows = [
        {
            "provider": provider.id,
            "name": provider.name,
            "state": "off" if provider.off else "on",
            "verified": provider.verified,
            "key_variable": provider.key_env[0] if provider.key_env else "",
            "keys": len(provider.credentials),
            "base_url": "started with the gateway" if provider.built_in else provider.base_url,
            "why_off": provider.off,
        }
        for provider in providers.values()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return

    table = Table("provider", "state", "key variable", "base URL", "why off")
    for row in rows:
        label = row["provider"] if row["verified"] else f"{row['provider']} (unverified)"
        table.add_row(str(label), *(str(row[name]) for name in COLUMNS))
    Console().print(table)
