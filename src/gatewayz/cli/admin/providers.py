"""`gatewayz providers`: listed, tested, given keys, switched off and on while gateways serve."""

import sys
from typing import Any

import typer
from msgspec import structs

from gatewayz.catalog.sources import Overrides, StoredKey
from gatewayz.cli.admin.context import AdminContext, run_with_store
from gatewayz.cli.admin.parse import format_time
from gatewayz.cli.catalog import load_providers
from gatewayz.cli.options import Config, DataDir, Json
from gatewayz.cli.output import print_note, print_table
from gatewayz.control import provider_keys
from gatewayz.core.faults import Fault
from gatewayz.providers.spec import Provider
from gatewayz.settings import load_settings

app = typer.Typer(
    add_completion=False,
    name="providers",
    invoke_without_command=True,
    help="List providers, test one, set its keys, switch it off or on.",
)

Name = typer.Argument(help="The provider's id, such as openai.")
KEY_COLUMNS = ("id", "provider", "key", "weight", "created")


@app.callback()
def providers_list(
    context: typer.Context, config: str = Config, data_dir: str = DataDir, json: bool = Json
) -> None:
    """List providers: state, where their keys come from, base URL, why off."""
    if context.invoked_subcommand is None:
        from gatewayz.cli.doctor.providers import show_providers

        show_providers(load_settings(config, {"data_dir": data_dir}), as_json=json)


@app.command("test")
def providers_test(
    name: str = Name,
    model: str = typer.Option(
        "", "--model", "-m", help="The provider's own id of the model to ask."
    ),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Make one real call to a provider with each of its keys."""
    from gatewayz.cli.doctor.provider_test import test_provider

    loaded = load_settings(config, {"data_dir": data_dir})
    raise typer.Exit(test_provider(loaded, name, model))


@app.command("set-key")
def set_key(
    name: str = Name,
    weight: int = typer.Option(1, "--weight", help="How often it is used, among several keys."),
    beside: bool = typer.Option(
        False, "--beside", help="Keep the keys that are stored already, and use this one too."
    ),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Store a provider's key, encrypted; it is read from a prompt or from standard input.

    Running gateways use it within a second.
    """
    provider = _provider(config, data_dir, name)
    key = provider_keys.check_provider_key(provider, _read_key(provider))

    async def work(ctx: AdminContext) -> StoredKey:
        return await provider_keys.put_provider_key(
            ctx.transaction, provider, key, weight=weight, beside=beside
        )

    stored = run_with_store(config, data_dir, work)
    print(stored.id)
    instead = f" in place of {provider.key_source}" if provider.keys_from == "environment" else ""
    print_note(f"{name} is asked with {stored.shown}{instead}; gateways notice within a second.")


@app.command("keys")
def list_keys(
    name: str = typer.Argument("", help="The provider's id; all providers without one."),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """List the keys that are stored, masked. Those of settings and environment are not stored."""
    if name:
        _provider(config, data_dir, name)

    async def work(ctx: AdminContext) -> list[StoredKey]:
        return await provider_keys.list_provider_keys(ctx.database, name)

    rows = [_key_row(key) for key in run_with_store(config, data_dir, work)]
    print_table(rows, as_json=as_json, columns=KEY_COLUMNS)


@app.command("remove-key")
def remove_key(
    name: str = Name,
    key_id: str = typer.Argument("", help="The key's id; needed where several are stored."),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Remove a stored key; a key in the environment holds again if it was the last."""
    provider = _provider(config, data_dir, name)

    async def work(ctx: AdminContext) -> StoredKey:
        keys = await provider_keys.list_provider_keys(ctx.database, provider.id)
        found = [key for key in keys if not key_id or key.id == key_id]
        if not found:
            where = f"; its key comes from {provider.key_source}" if provider.key_source else ""
            raise Fault("not_found", f"No such key is stored of {name}{where}.")
        if len(found) > 1:
            ids = ", ".join(f"{key.id} ({key.shown})" for key in found)
            raise Fault("bad_request", f"Several keys are stored of {name}; name one: {ids}.")
        return await provider_keys.delete_provider_key(ctx.transaction, found[0].id)

    print_note(f"The key {run_with_store(config, data_dir, work).shown} of {name} is removed.")


@app.command("off")
def switch_off(
    name: str = Name,
    reason: str = typer.Option("", "--reason", help="Why, for those who look at it later."),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Switch a provider off, in every running gateway, until it is switched on again."""
    _switch(config, data_dir, name, on=False, reason=reason)


@app.command("on")
def switch_on(name: str = Name, config: str = Config, data_dir: str = DataDir) -> None:
    """Switch a provider on again that was switched off."""
    _switch(config, data_dir, name, on=True)


def _switch(config: str, data_dir: str | None, name: str, *, on: bool, reason: str = "") -> None:
    provider = _provider(config, data_dir, name)

    async def work(ctx: AdminContext) -> None:
        await provider_keys.switch_provider(ctx.transaction, provider, on=on, reason=reason)

    run_with_store(config, data_dir, work)
    hint = f"; it still needs something: {provider.off}" if on and provider.off else ""
    print_note(
        f"{name} is switched {'on' if on else 'off'}; gateways notice within a second{hint}."
    )


def _provider(config: str, data_dir: str | None, name: str) -> Provider:
    """The provider as settings and environment have it. Faults: `bad_request`, `not_found`."""
    loaded = load_settings(config, {"data_dir": data_dir})
    return provider_keys.find_provider(load_providers(loaded, Overrides()), name)


def _read_key(provider: Provider) -> str:
    """A key is no argument: arguments are in the shell's history, and everybody sees them."""
    if sys.stdin.isatty():
        return str(typer.prompt(f"Key for {provider.id}", hide_input=True))
    return sys.stdin.read()


def _key_row(key: StoredKey) -> dict[str, Any]:
    row = structs.asdict(key)
    del row["encrypted"]
    return row | {"key": row.pop("shown"), "created": format_time(key.created_ms)}
