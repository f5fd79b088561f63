"""`gatewayz webhooks`: where notifications go, and what became of each."""

from typing import Any

import typer
from msgspec import structs

from gatewayz.cli.admin.context import AdminContext, run_with_store
from gatewayz.cli.admin.parse import format_time, parse_amount
from gatewayz.cli.options import Config, DataDir, Json
from gatewayz.cli.output import print_fields, print_note, print_table
from gatewayz.control import webhooks
from gatewayz.core.money import Nanos, usd_text
from gatewayz.core.pagination import Cursor

app = typer.Typer(
    add_completion=False,
    name="webhooks",
    no_args_is_help=True,
    help="Notify accounts of low balances and spent budgets.",
)

Account = typer.Argument(help="The account, by id or name.")
COLUMNS = ("id", "kind", "state", "attempts", "status", "why", "created")


def _webhook_row(webhook: webhooks.Webhook) -> dict[str, Any]:
    row = structs.asdict(webhook)
    low_balance = row.pop("low_balance")
    return row | {
        "changed": format_time(webhook.changed_ms),
        "created": format_time(webhook.created_ms),
        "low_balance_usd": "" if low_balance is None else usd_text(Nanos(low_balance)),
        "low_balance_nanos": low_balance,
    }


@app.command("set")
def set_webhook(
    account: str = Account,
    url: str = typer.Argument(help="Where notifications go: https, at a public address."),
    low_balance: str = typer.Option(
        "", "--low-balance", help="US dollars: below this balance the account is notified."
    ),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Set where an account's notifications go. The first time a secret is made, and shown once."""

    async def work(ctx: AdminContext) -> dict[str, Any]:
        account_id = await ctx.account_id(account)
        threshold = parse_amount(low_balance) if low_balance else None
        spec = webhooks.WebhookSpec(url=url, low_balance=threshold)
        secret = await webhooks.put_webhook(
            ctx.transaction, account_id, spec, private=ctx.allow_private_webhooks
        )
        row = _webhook_row(await webhooks.get_webhook(ctx.database, account_id))
        return row | ({"secret": secret} if secret else {})

    print_fields(run_with_store(config, data_dir, work), as_json=as_json)


@app.command("show")
def show(
    account: str = Account, as_json: bool = Json, config: str = Config, data_dir: str = DataDir
) -> None:
    """Show where an account's notifications go, and how many wait or have failed."""

    async def work(ctx: AdminContext) -> dict[str, Any]:
        account_id = await ctx.account_id(account)
        return _webhook_row(await webhooks.get_webhook(ctx.database, account_id))

    print_fields(run_with_store(config, data_dir, work), as_json=as_json)


@app.command("test")
def send_test(account: str = Account, config: str = Config, data_dir: str = DataDir) -> None:
    """Have a running gateway send a test notification."""

    async def work(ctx: AdminContext) -> str:
        return await webhooks.enqueue_test(ctx.transaction, await ctx.account_id(account))

    notification = run_with_store(config, data_dir, work)
    print_note(f"A running gateway sends the notification {notification} within seconds.")


@app.command("notifications")
@app.command("notices", hidden=True)
def list_notifications(
    account: str = typer.Argument("", help="The account, by id or name; all without one."),
    last: int = typer.Option(
        20, "--last", "-n", min=1, max=1_000, help="How many, the newest first."
    ),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """List notifications and what became of each."""

    async def work(ctx: AdminContext) -> list[dict[str, Any]]:
        account_id = await ctx.account_id(account) if account else ""
        page = await webhooks.list_notifications(ctx.database, account_id, Cursor(limit=last))
        return [row | {"created": format_time(row["created_ms"])} for row in page.rows]

    print_table(run_with_store(config, data_dir, work), as_json=as_json, columns=COLUMNS)


@app.command("delete")
@app.command("remove", hidden=True)
def delete_webhook(account: str = Account, config: str = Config, data_dir: str = DataDir) -> None:
    """Delete an account's webhook: no more notifications are sent."""

    async def work(ctx: AdminContext) -> str:
        account_id = await ctx.account_id(account)
        await webhooks.delete_webhook(ctx.transaction, account_id)
        return account_id

    account_id = run_with_store(config, data_dir, work)
    print_note(f"The account {account_id} gets no more notifications.")
