"""`gatewayz usage`: what calls came to, by account, model, day and so on."""

from typing import Any

import typer

from gatewayz.cli.admin.context import AdminContext, run_with_store
from gatewayz.cli.options import Config, DataDir, Json
from gatewayz.cli.output import print_table
from gatewayz.control import usage
from gatewayz.control.access import OwnerFilter
from gatewayz.control.usage import DIMENSIONS, UsageGroup
from gatewayz.core.money import Nanos, usd_text

app = typer.Typer(name="usage", add_completion=False)
COUNTS = ("calls", "failed", "input_tokens", "output_tokens", "cost_usd")


@app.command(name="usage")
def show_usage(
    by: str = typer.Option(
        "account,model,day", "--by", "-b", help=f"With commas: {', '.join(DIMENSIONS)}."
    ),
    first: str = typer.Option(
        "", "--from", help="The first day, such as 2026-11-01; thirty days without one."
    ),
    last: str = typer.Option("", "--to", help="The last day; today without one."),
    account: str = typer.Option("", "--account", "-a", help="Only this account's, by id or name."),
    as_csv: bool = typer.Option(False, "--csv", help="Print CSV."),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Show what calls came to: calls, tokens and cost by account, model and day. Days are UTC."""
    dimensions = usage.parse_dimensions(by)

    async def work(ctx: AdminContext) -> list[UsageGroup]:
        account_id = await ctx.account_id(account) if account else ""
        days = usage.parse_days(first, last, ctx.now_ms)
        return await usage.aggregate_usage(ctx.database, OwnerFilter(account_id), dimensions, days)

    rows = [_usage_row(group) for group in run_with_store(config, data_dir, work)]
    if as_csv:
        _print_csv((*dimensions, *COUNTS), rows)
    else:
        print_table(rows, as_json=as_json, columns=(*dimensions, *COUNTS))


def _usage_row(group: UsageGroup) -> dict[str, Any]:
    return {
        **group.names,
        "calls": group.calls,
        "failed": group.failed,
        "input_tokens": group.input_tokens,
        "output_tokens": group.output_tokens,
        "cost_usd": usd_text(Nanos(group.cost)),
        "cost_nanos": group.cost,
    }


def _print_csv(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    from gatewayz.web.api.export import csv_cell, csv_lines

    cells = [[csv_cell(row[name]) for name in columns] for row in rows]
    print(csv_lines([columns, *cells]), end="")
