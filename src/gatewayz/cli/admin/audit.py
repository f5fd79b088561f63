"""`gatewayz audit`: who changed what, and that nobody changed the log."""

import typer
from msgspec import structs

from gatewayz.cli.admin.context import AdminContext, run_with_store
from gatewayz.cli.admin.parse import format_time
from gatewayz.cli.options import Config, DataDir, Json
from gatewayz.cli.output import print_table
from gatewayz.control import audit
from gatewayz.store.sql.ledger.reconcile import Violation

app = typer.Typer(
    add_completion=False,
    name="audit",
    no_args_is_help=True,
    help="Show who changed what, and that nobody changed the log.",
)

COLUMNS = ("number", "at", "actor", "action", "subject", "account", "detail")


@app.command("list")
def list_entries(
    last: int = typer.Option(50, "--last", "-n", min=1, max=10_000, help="How many of the newest."),
    account: str = typer.Option("", "--account", "-a", help="Only this account's, by id or name."),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """List who changed accounts, users, keys, budgets and money."""

    async def work(ctx: AdminContext) -> list[audit.AuditEntry]:
        account_id = await ctx.account_id(account) if account else ""
        return await audit.list_latest_entries(ctx.database, last, account_id)

    rows = [
        {"at": format_time(entry.at_ms), **structs.asdict(entry)}
        for entry in run_with_store(config, data_dir, work)
    ]
    print_table(rows, as_json=as_json, columns=COLUMNS)


@app.command("verify")
def verify(as_json: bool = Json, config: str = Config, data_dir: str = DataDir) -> None:
    """Check that no entry was changed, added or taken out; exit status 1 with what was."""

    async def work(ctx: AdminContext) -> tuple[int, list[Violation]]:
        return await audit.verify_log(ctx.database, ctx.transaction.peppers)

    count, problems = run_with_store(config, data_dir, work)
    if problems or as_json:
        print_table([structs.asdict(violation) for violation in problems], as_json=as_json)
    else:
        print(f"{count} entries, each as it was written.")
    raise typer.Exit(1 if problems else 0)
