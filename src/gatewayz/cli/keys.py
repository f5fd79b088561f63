"""`gatewayz keys`: made, listed, revoked, rotated."""

import secrets
from typing import Any

import typer
from msgspec import structs

from gatewayz.cli.office import Config, DataDir, Json, Office, at_office, note, say, say_one
from gatewayz.cli.spelling import moment_ms, numbers, shown_time, span_ms, words
from gatewayz.core.access import HOUSE, SCOPES
from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, key_from
from gatewayz.store.sql import accounts, budgets, keys, users

app = typer.Typer(name="keys", no_args_is_help=True, help="Make, list, rotate and revoke API keys.")

COLUMNS = ("id", "key", "account", "name", "scopes", "state", "expires")
Account = typer.Option(HOUSE, "--account", "-a", help="The account, by id or name.")


def _shown(key: keys.Key, now_ms: int) -> dict[str, Any]:
    row = {"id": key.id, "key": key.shown, **structs.asdict(key), "state": key.state(now_ms)}
    row["expires"] = shown_time(key.expires_ms)
    row["created"] = shown_time(key.created_ms)
    del row["shown"]
    return row


@app.command("make")
def make(
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
    only_print: bool = typer.Option(
        False, "--print", help="Make a key without keeping it anywhere."
    ),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Make a key and print it once; without a name, user or account it takes the place of the bootstrap key."""
    if only_print:
        print(key_from(secrets.token_bytes(RANDOM_BYTES)))
        return

    async def work(office: Office) -> tuple[str, keys.Key]:
        desk = office.desk
        await _same_secret(office)
        owner = await accounts.found(desk.database, account)
        if owner == HOUSE and not (name or user or scopes):
            key = await keys.make_bootstrap(desk, only_first=False)
            return key, (await keys.listed(desk.database, HOUSE))[-1]
        wish = keys.Wish(
            account=owner,
            user=(await users.one(desk.database, owner, user)).id if user else "",
            name=name,
            scopes=words(scopes) or (SCOPES if owner == HOUSE and not user else ("inference",)),
            models=words(models),
            addresses=words(addresses),
            limits=numbers(limit),
            expires_ms=moment_ms(expires, desk.clock.wall_ms()) if expires else None,
        )
        return await keys.make(desk, wish)

    _said(*at_office(config, data_dir, work), as_json=as_json)


def _said(key: str, record: keys.Key, *, as_json: bool) -> None:
    if as_json:
        say_one({"secret": key, **_shown(record, record.created_ms)}, as_json=True)
    else:
        print(key)
    note(
        f"Key {record.id} of {record.account} may do: {', '.join(record.scopes)}. It is shown this once."
    )


async def _same_secret(office: Office) -> None:
    """A key that is made with another secret than the gateway's would never work."""
    found = await keys.all_listed(office.desk.database)
    known = {pepper.id for pepper in office.desk.peppers.all}
    active = [key for key in found if key.revoked_ms is None]
    if active and not any(key.pepper in known for key in active):
        why = "The keys of this database were made with another secret than this machine's"
        raise Fault(
            "bad_request",
            f"{why}; set GATEWAYZ_SECRET_KEY to the gateway's, or --data-dir to its directory.",
        )


@app.command("list")
def listing(
    account: str = typer.Option("", "--account", "-a", help="Only this account's."),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """List the keys, masked."""

    async def work(office: Office) -> list[dict[str, Any]]:
        desk = office.desk
        if account:
            found = await keys.listed(desk.database, await accounts.found(desk.database, account))
        else:
            found = await keys.all_listed(desk.database)
        return [_shown(key, desk.clock.wall_ms()) for key in found]

    say(at_office(config, data_dir, work), as_json=as_json, columns=COLUMNS)


@app.command("show")
def show(key_id: str, as_json: bool = Json, config: str = Config, data_dir: str = DataDir) -> None:
    """Show all that a key may do, and its budget."""

    async def work(office: Office) -> dict[str, Any]:
        database, now = office.desk.database, office.desk.clock.wall_ms()
        owner = await keys.owner(database, key_id)
        row = _shown(await keys.one(database, owner, key_id), now)
        own = [
            one
            for one in await budgets.listed(database, owner, now)
            if one.subject == budgets.of_key(key_id)
        ]
        return row | {"budget": structs.asdict(own[0]) if own else None}

    say_one(at_office(config, data_dir, work), as_json=as_json)


@app.command("revoke")
def revoke(key_id: str, config: str = Config, data_dir: str = DataDir) -> None:
    """Revoke a key; running gateways refuse it within two seconds."""

    async def work(office: Office) -> None:
        await keys.revoke(office.desk, await keys.owner(office.desk.database, key_id), key_id)

    at_office(config, data_dir, work)
    print(f"{key_id} is revoked; running gateways refuse it within two seconds.")


@app.command("rotate")
def rotate(
    key_id: str,
    keep: str = typer.Option("", "--keep", help="How long the old key goes on to work: 1h, 7d."),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Make a new key that may do the same, in the place of an old one."""

    async def work(office: Office) -> tuple[str, keys.Key]:
        await _same_secret(office)
        owner = await keys.owner(office.desk.database, key_id)
        return await keys.rotate(office.desk, owner, key_id, span_ms(keep) if keep else 0)

    _said(*at_office(config, data_dir, work), as_json=as_json)
