"""`gatewayz budgets`: how much a key, an account or an end user may spend."""

from typing import Any, cast, get_args

import typer

from gatewayz.cli.admin.context import AdminContext, run_with_store
from gatewayz.cli.admin.parse import format_time, parse_amount
from gatewayz.cli.options import Config, DataDir, Json
from gatewayz.cli.output import print_note, print_table
from gatewayz.control import budgets, keys
from gatewayz.core.access import HOUSE
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.ledger.values import Budget, Period

app = typer.Typer(
    add_completion=False,
    name="budgets",
    no_args_is_help=True,
    help="Limit what keys, accounts and end users may spend.",
)

COLUMNS = ("subject", "limit_usd", "period", "spent_usd", "held_usd", "left_usd")
KeyOption = typer.Option("", "--key", "-k", help="The id of a key.")
AccountOption = typer.Option(
    "", "--account", "-a", help="The account, by id or name; with --end-user, whose end user."
)
EndUserOption = typer.Option("", "--end-user", "-u", help="The user that requests name.")


def _budget_row(budget: Budget) -> dict[str, Any]:
    left = budget.limit - budget.spent - budget.held
    figures = {"limit": budget.limit, "spent": budget.spent, "held": budget.held, "left": left}
    row: dict[str, Any] = {
        "subject": budget.subject,
        "account": budget.account,
        "period": budget.period,
        "since": format_time(budget.period_start_ms) if budget.period_start_ms else "",
    }
    for name, nanos in figures.items():
        row |= {f"{name}_usd": usd_text(Nanos(nanos)), f"{name}_nanos": nanos}
    return row


async def _account_and_subject(
    ctx: AdminContext, key: str, account: str, end_user: str
) -> tuple[str, str]:
    """Whose budget is meant: the account, and the subject within it. Faults: `bad_request`."""
    if key and not account and not end_user:
        return await keys.account_of_key(ctx.database, key), budgets.key_subject(key)
    if key or not (account or end_user):
        raise Fault(
            "bad_request",
            "Name one: --key ID, --account ACCOUNT, or --end-user NAME (with --account).",
        )
    account_id = await ctx.account_id(account or HOUSE)
    if end_user:
        return account_id, budgets.end_user_subject(account_id, end_user)
    return account_id, budgets.account_subject(account_id)


@app.command("set")
def set_budget(
    limit: str = typer.Argument(help="How much, in US dollars."),
    per: str = typer.Option(
        "total", "--per", "-p", help=f"In which period: {', '.join(get_args(Period))}."
    ),
    key: str = KeyOption,
    account: str = AccountOption,
    end_user: str = EndUserOption,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Set a budget; it counts from now on. Periods begin at midnight UTC, weeks on Monday."""
    if per not in get_args(Period):
        raise Fault("bad_request", f"A period is {', '.join(get_args(Period))}, not {per!r}.")

    async def work(ctx: AdminContext) -> str:
        account_id, subject = await _account_and_subject(ctx, key, account, end_user)
        period = cast(Period, per)
        budget = budgets.BudgetLimit(amount=parse_amount(limit), period=period)
        await budgets.put_budget(ctx.transaction, account_id, subject, budget)
        return subject

    subject = run_with_store(config, data_dir, work)
    print_note(f"{subject} may spend ${usd_text(parse_amount(limit))} ({per}).")


@app.command("list")
def list_budgets(
    account: str = typer.Option(HOUSE, "--account", "-a", help="The account, by id or name."),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """List the budgets of an account, and what is left of them."""

    async def work(ctx: AdminContext) -> list[Budget]:
        return await budgets.list_budgets(ctx.database, await ctx.account_id(account), ctx.now_ms)

    rows = [_budget_row(budget) for budget in run_with_store(config, data_dir, work)]
    print_table(rows, as_json=as_json, columns=COLUMNS)


@app.command("delete")
@app.command("remove", hidden=True)
def delete_budget(
    key: str = KeyOption,
    account: str = AccountOption,
    end_user: str = EndUserOption,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Delete a budget."""

    async def work(ctx: AdminContext) -> str:
        account_id, subject = await _account_and_subject(ctx, key, account, end_user)
        await budgets.delete_budget(ctx.transaction, account_id, subject)
        return subject

    print_note(f"{run_with_store(config, data_dir, work)} has no budget any more.")
