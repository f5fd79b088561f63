"""`gatewayz keys`: created, listed, rotated, revoked; the first one anew."""

import secrets
from typing import Any

import typer
from msgspec import structs

from gatewayz.cli.admin.context import AdminContext, run_with_store
from gatewayz.cli.admin.model_names import resolve_models
from gatewayz.cli.admin.parse import (
    format_time,
    parse_duration_ms,
    parse_limits,
    parse_list,
    parse_time_ms,
)
from gatewayz.cli.options import Config, DataDir, Json
from gatewayz.cli.output import print_fields, print_note, print_table
from gatewayz.control import bootstrap, budgets, keys, users
from gatewayz.core.access import HOUSE, SCOPES
from gatewayz.core.keys import RANDOM_BYTES, key_from_random

app = typer.Typer(
    add_completion=False,
    name="keys",
    no_args_is_help=True,
    help="Create, list, rotate, revoke and reset API keys.",
)

COLUMNS = ("id", "key", "account", "name", "scopes", "state", "expires")
Account = typer.Option(HOUSE, "--account", "-a", help="The account, by id or name.")


def _key_row(key: keys.Key, now_ms: int) -> dict[str, Any]:
    row = {"id": key.id, "key": key.shown, **structs.asdict(key), "state": key.state(now_ms)}
    row["expires"] = format_time(key.expires_ms)
    row["created"] = format_time(key.created_ms)
    del row["shown"]
    return row


@app.command("create")
@app.command("make", hidden=True)
def create(
    name: str = typer.Option("", "--name", "-n", help="What the key is for."),
    account: str = Account,
    user: str = typer.Option(
        "", "--user", "-u", help="Whose it is: id or e-mail address of a user of the account."
    ),
    scopes: str = typer.Option(
        "", "--scopes", help=f"What it may do: {', '.join(SCOPES)}; all for the account {HOUSE}."
    ),
    models: str = typer.Option(
        "", "--models", help="The models it may use, with commas; all unless some are named."
    ),
    addresses: str = typer.Option("", "--from", help="Networks it may be used from, with commas."),
    limit: list[str] = typer.Option(
        [], "--limit", help="A limit below the account's: key_rpm=60, key_per_day, key_concurrency."
    ),
    expires: str = typer.Option("", "--expires", help="When it ends: 30d, 12h, 2030-01-31."),
    caching: str = typer.Option(
        "", "--caching", help="Mark its prompts for caching: auto, or off; else as its account."
    ),
    only_print: bool = typer.Option(
        False, "--print", help="Print a key without storing it anywhere."
    ),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Create one more key and print it once; without an account, an operator's."""
    if only_print:
        print(key_from_random(secrets.token_bytes(RANDOM_BYTES)))
        return

    names = resolve_models(config, data_dir, models) if models else ()

    async def work(ctx: AdminContext) -> tuple[str, keys.Key]:
        account_id = await ctx.account_id(account)
        default_scopes = SCOPES if account_id == HOUSE and not user else ("inference",)
        spec = keys.KeySpec(
            account=account_id,
            user=(await users.get_user(ctx.database, account_id, user)).id if user else "",
            name=name,
            scopes=parse_list(scopes) or default_scopes,
            models=names,
            addresses=parse_list(addresses),
            limits=parse_limits(limit),
            expires_ms=parse_time_ms(expires, ctx.now_ms) if expires else None,
            caching=caching,
        )
        return await keys.create_key(ctx.transaction, spec)

    _print_new_key(*run_with_store(config, data_dir, work), as_json=as_json)


def _print_new_key(key: str, record: keys.Key, *, as_json: bool) -> None:
    if as_json:
        print_fields({"secret": key, **_key_row(record, record.created_ms)}, as_json=True)
    else:
        print(key)
    scopes = ", ".join(record.scopes)
    print_note(f"Key {record.id} of {record.account} may do: {scopes}. It is shown this once.")


@app.command("reset")
def reset(
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    lost_secret: bool = typer.Option(
        False,
        "--lost-secret",
        help="End all keys, whoever's, that were made with a secret that is not here any more.",
    ),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Replace the operator's first key with a new one; the old one ends."""
    ended = "every key of the lost secret" if lost_secret else "the operator's first key"
    if not yes:
        typer.confirm(f"This ends {ended}, for everything that uses it. Go on?", abort=True)

    async def work(ctx: AdminContext) -> tuple[str, keys.Key]:
        key = await bootstrap.create_bootstrap_key(
            ctx.transaction, only_first=False, ends_foreign=lost_secret
        )
        return key, (await keys.list_account_keys(ctx.database, HOUSE))[-1]

    key, record = run_with_store(config, data_dir, work, has_lost_secret=lost_secret)
    _print_new_key(key, record, as_json=as_json)


@app.command("list")
def list_keys(
    account: str = typer.Option("", "--account", "-a", help="Only this account's."),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """List the keys, masked."""

    async def work(ctx: AdminContext) -> list[dict[str, Any]]:
        listed = (
            await keys.list_account_keys(ctx.database, await ctx.account_id(account))
            if account
            else await keys.list_all_keys(ctx.database)
        )
        return [_key_row(key, ctx.now_ms) for key in listed]

    print_table(run_with_store(config, data_dir, work), as_json=as_json, columns=COLUMNS)


@app.command("show")
def show(key_id: str, as_json: bool = Json, config: str = Config, data_dir: str = DataDir) -> None:
    """Show all that a key may do, and its budget."""

    async def work(ctx: AdminContext) -> dict[str, Any]:
        account_id = await keys.account_of_key(ctx.database, key_id)
        key = await keys.get_key(ctx.database, account_id, key_id)
        subject = budgets.key_subject(key_id)
        account_budgets = await budgets.list_budgets(ctx.database, account_id, ctx.now_ms)
        own = next((budget for budget in account_budgets if budget.subject == subject), None)
        budget = structs.asdict(own) if own is not None else None
        return _key_row(key, ctx.now_ms) | {"budget": budget}

    print_fields(run_with_store(config, data_dir, work), as_json=as_json)


@app.command("caching")
def set_caching(
    key_id: str,
    caching: str = typer.Argument(help="auto, off, or account: as its account says."),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Let the gateway mark a key's prompts for caching, or not."""

    async def work(ctx: AdminContext) -> None:
        account_id = await keys.account_of_key(ctx.database, key_id)
        changes = keys.KeyUpdate(caching="" if caching == "account" else caching)
        await keys.update_key(ctx.transaction, account_id, key_id, changes)

    run_with_store(config, data_dir, work)
    print_note(f"{key_id} is changed; running gateways know within two seconds.")


@app.command("revoke")
def revoke(key_id: str, config: str = Config, data_dir: str = DataDir) -> None:
    """Revoke a key; running gateways refuse it within two seconds."""

    async def work(ctx: AdminContext) -> None:
        account_id = await keys.account_of_key(ctx.database, key_id)
        await keys.revoke_key(ctx.transaction, account_id, key_id)

    run_with_store(config, data_dir, work)
    print(f"{key_id} is revoked; running gateways refuse it within two seconds.")


@app.command("rotate")
def rotate(
    key_id: str,
    keep: str = typer.Option("", "--keep", help="How long the old key goes on working: 1h, 7d."),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Create a new key that may do the same, and replace an old one with it."""

    async def work(ctx: AdminContext) -> tuple[str, keys.Key]:
        account_id = await keys.account_of_key(ctx.database, key_id)
        keep_ms = parse_duration_ms(keep) if keep else 0
        return await keys.rotate_key(ctx.transaction, account_id, key_id, keep_ms)

    _print_new_key(*run_with_store(config, data_dir, work), as_json=as_json)
