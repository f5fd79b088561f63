"""`gatewayz webhooks`: where accounts are told of a low balance and of spent budgets, and what became of it."""

from typing import Any

import typer
from msgspec import structs

from gatewayz.cli.office import Config, DataDir, Json, Office, at_office, note, say, say_one
from gatewayz.cli.spelling import amount, shown_time
from gatewayz.core.money import Nanos, usd_text
from gatewayz.store.sql import accounts, webhooks
from gatewayz.store.sql.slices import Cut

app = typer.Typer(
    name="webhooks",
    no_args_is_help=True,
    help="Tell accounts of a low balance and of spent budgets.",
)

Account = typer.Argument(help="The account, by id or name.")
COLUMNS = ("id", "kind", "state", "attempts", "status", "why", "created")


def _shown(found: webhooks.Webhook) -> dict[str, Any]:
    low = found.low_balance
    row = structs.asdict(found) | {
        "changed": shown_time(found.changed_ms),
        "created": shown_time(found.created_ms),
    }
    del row["low_balance"]
    return row | {
        "low_balance_usd": "" if low is None else usd_text(Nanos(low)),
        "low_balance_nanos": low,
    }


@app.command("set")
def put(
    account: str = Account,
    url: str = typer.Argument(help="Where notices go: https, at a public address."),
    low_balance: str = typer.Option(
        "", "--low-balance", help="US dollars: below them the account is told."
    ),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Set where an account's notices go. The first time a secret is made, and shown once."""

    async def work(office: Office) -> dict[str, Any]:
        found = await accounts.found(office.desk.database, account)
        wish = webhooks.Wish(url=url, low_balance=amount(low_balance) if low_balance else None)
        secret = await webhooks.put(office.desk, found, wish, private=office.private_webhooks)
        return _shown(await webhooks.one(office.desk.database, found)) | (
            {"secret": secret} if secret else {}
        )

    say_one(at_office(config, data_dir, work), as_json=as_json)


@app.command("show")
def show(
    account: str = Account, as_json: bool = Json, config: str = Config, data_dir: str = DataDir
) -> None:
    """Show where an account's notices go, and how many wait or have failed."""

    async def work(office: Office) -> dict[str, Any]:
        found = await accounts.found(office.desk.database, account)
        return _shown(await webhooks.one(office.desk.database, found))

    say_one(at_office(config, data_dir, work), as_json=as_json)


@app.command("test")
def test(account: str = Account, config: str = Config, data_dir: str = DataDir) -> None:
    """Have a running gateway send a notice that says nothing but that it arrives."""

    async def work(office: Office) -> str:
        found = await accounts.found(office.desk.database, account)
        return await webhooks.test(office.desk, found)

    note(
        f"The notice {at_office(config, data_dir, work)} is sent by the next gateway that looks, within seconds."
    )


@app.command("notices")
def notices(
    account: str = typer.Argument("", help="The account, by id or name; all without one."),
    last: int = typer.Option(
        20, "--last", "-n", min=1, max=1_000, help="How many, the newest first."
    ),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """List notices and what became of each."""

    async def work(office: Office) -> list[dict[str, Any]]:
        database = office.desk.database
        found = await accounts.found(database, account) if account else ""
        rows = (await webhooks.notices(database, found, Cut(limit=last))).rows
        return [row | {"created": shown_time(row["created_ms"])} for row in rows]

    say(at_office(config, data_dir, work), as_json=as_json, columns=COLUMNS)


@app.command("remove")
def remove(account: str = Account, config: str = Config, data_dir: str = DataDir) -> None:
    """Send an account no notices any more."""

    async def work(office: Office) -> str:
        found = await accounts.found(office.desk.database, account)
        await webhooks.remove(office.desk, found)
        return found

    note(f"The account {at_office(config, data_dir, work)} is told nothing any more.")
