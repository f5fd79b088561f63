"""`gatewayz providers` and `settings`: what is there, without starting anything."""

import json

from rich.console import Console
from rich.table import Table

from gatewayz.providers.registry import providers_from, rows
from gatewayz.providers.spec import Provider
from gatewayz.settings import loaded
from gatewayz.settings_reference import reference, schema, shown


def _providers(config: str) -> dict[str, Provider]:
    found = loaded(config)
    return providers_from(rows(), found.environment, found.settings.providers)


def show_providers(config: str, *, as_json: bool) -> None:
    table = Table("provider", "state", "key variable", "base URL", "why off")
    listed = []
    for provider in _providers(config).values():
        row = {
            "provider": provider.id,
            "name": provider.name,
            "state": "off" if provider.off else "on",
            "verified": provider.verified,
            "key_variable": provider.key_env[0] if provider.key_env else "",
            "keys": len(provider.credentials),
            "base_url": "started with the gateway" if provider.built_in else provider.base_url,
            "why_off": provider.off,
        }
        listed.append(row)
        marked = provider.id if provider.verified else f"{provider.id} (unverified)"
        table.add_row(
            marked, *(str(row[name]) for name in ("state", "key_variable", "base_url", "why_off"))
        )
    if as_json:
        print(json.dumps(listed, indent=2))
    else:
        Console().print(table)


def show_settings(config: str, what: str) -> None:
    match what:
        case "schema":
            print(schema(), end="")
        case "reference":
            print(reference(), end="")
        case _:
            found = loaded(config)
            print(f"# from {found.source}")
            print(shown(found.settings), end="")
