"""`gatewayz audit`: who changed what, and that nobody changed the log."""

import typer
from msgspec import structs

from gatewayz.cli.office import Config, DataDir, Json, Office, at_office, say
from gatewayz.cli.spelling import shown_time
from gatewayz.store.sql import accounts, audit
from gatewayz.store.sql.checking import Violation

app = typer.Typer(
    name="audit",
    no_args_is_help=True,
    help="Show who changed what, and that nobody changed the log.",
)


@app.command("list")
def listing(
    last: int = typer.Option(50, "--last", "-n", min=1, max=10_000, help="How many of the newest."),
    account: str = typer.Option("", "--account", "-a", help="Only this account's, by id or name."),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """List who changed accounts, users, keys, budgets and money."""

    async def work(office: Office) -> list[audit.Entry]:
        database = office.desk.database
        whose = await accounts.found(database, account) if account else ""
        return await audit.last_entries(database, last, whose)

    rows = [
        {"at": shown_time(one.at_ms), **structs.asdict(one)}
        for one in at_office(config, data_dir, work)
    ]
    say(
        rows,
        as_json=as_json,
        columns=("number", "at", "actor", "action", "subject", "account", "detail"),
    )


@app.command("verify")
def verify(as_json: bool = Json, config: str = Config, data_dir: str = DataDir) -> None:
    """Check that no entry was changed, added or taken out; exit status 1 with what was."""

    async def work(office: Office) -> tuple[int, list[Violation]]:
        return await audit.verified(office.desk.database, office.desk.peppers)

    count, found = at_office(config, data_dir, work)
    if found or as_json:
        say([structs.asdict(one) for one in found], as_json=as_json)
    else:
        print(f"{count} entries, each as it was written.")
    raise typer.Exit(1 if found else 0)
