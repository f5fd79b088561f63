"""`gatewayz providers`: every provider with its state, without starting anything."""

from gatewayz.cli.catalog import load_overrides, load_providers
from gatewayz.cli.output import print_table
from gatewayz.settings import LoadedSettings

COLUMNS = ("provider", "state", "key_variable", "key_source", "base_url", "why_off")


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
    if not as_json:
        for row in rows:
            row["provider"] = f"{row['provider']}{'' if row['verified'] else ' (unverified)'}"
    print_table(rows, as_json=as_json, columns=COLUMNS)
