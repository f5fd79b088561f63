"""`gatewayz budgets`: how much a key, an account or an end user may spend."""

from typing import Any, get_args

import typer

from gatewayz.cli.office import Config, DataDir, Json, Office, at_office, note, say
from gatewayz.cli.spelling import amount, shown_time
from gatewayz.core.access import HOUSE
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.ledger.values import Budget, Period
from gatewayz.store.sql import accounts, budgets, keys

app = typer.Typer(
    name="budgets", no_args_is_help=True, help="Limit what keys, accounts and end users may spend."
)

COLUMNS = ("subject", "limit_usd", "period", "spent_usd", "held_usd", "left_usd")
KeyOption = typer.Option("", "--key", "-k", help="The id of a key.")
AccountOption = typer.Option(
    "", "--account", "-a", help="The account, by id or name; with --end-user, whose end user."
)
EndUserOption = typer.Option("", "--end-user", "-u", help="Whom requests name as their user.")


def _shown(budget: Budget) -> dict[str, Any]:
    left = budget.limit - budget.spent - budget.held
    figures = {"limit": budget.limit, "spent": budget.spent, "held": budget.held, "left": left}
    row: dict[str, Any] = {
        "subject": budget.subject,
        "account": budget.account,
        "period": budget.period,
    }
    row["since"] = shown_time(budget.period_ms) if budget.period_ms else ""
    for name, nanos in figures.items():
        row |= {f"{name}_usd": usd_text(Nanos(nanos)), f"{name}_nanos": nanos}
    return row


async def _subject(office: Office, key: str, account: str, end_user: str) -> tuple[str, str]:
    """Whose budget is meant: the account, and the subject within it."""
    database = office.desk.database
    if key and not account and not end_user:
        return await keys.owner(database, key), budgets.of_key(key)
    if key or not (account or end_user):
        raise Fault(
            "bad_request",
            "Name one: --key ID, --account ACCOUNT, or --end-user NAME (with --account).",
        )
    found = await accounts.found(database, account or HOUSE)
    return found, budgets.of_end_user(found, end_user) if end_user else budgets.of_account(found)


@app.command("set")
def put(
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

    async def work(office: Office) -> str:
        whose, subject = await _subject(office, key, account, end_user)
        period: Any = per
        await budgets.put(
            office.desk, whose, subject, budgets.Limit(amount=amount(limit), period=period)
        )
        return subject

    note(f"{at_office(config, data_dir, work)} may spend ${usd_text(amount(limit))} ({per}).")


@app.command("list")
def listing(
    account: str = typer.Option(HOUSE, "--account", "-a", help="The account, by id or name."),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """List the budgets of an account, and what is left of them."""

    async def work(office: Office) -> list[Budget]:
        database = office.desk.database
        found = await accounts.found(database, account)
        return await budgets.listed(database, found, office.desk.clock.wall_ms())

    say(
        [_shown(one) for one in at_office(config, data_dir, work)], as_json=as_json, columns=COLUMNS
    )


@app.command("remove")
def remove(
    key: str = KeyOption,
    account: str = AccountOption,
    end_user: str = EndUserOption,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Take a budget away."""

    async def work(office: Office) -> str:
        whose, subject = await _subject(office, key, account, end_user)
        await budgets.remove(office.desk, whose, subject)
        return subject

    note(f"{at_office(config, data_dir, work)} has no budget any more.")
