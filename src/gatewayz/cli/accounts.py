"""`gatewayz accounts`: who has a wallet, how it is billed, what holds for all of its keys."""

from collections.abc import Awaitable, Callable
from typing import Any, get_args

import typer
from msgspec import structs

from gatewayz.cli.office import Config, DataDir, Json, Office, at_office, note, say, say_one
from gatewayz.cli.spelling import amount, numbers, shown_time, words
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.ledger.values import Billing
from gatewayz.store.sql import accounts, budgets, keys, users
from gatewayz.store.sql.desk import Desk

app = typer.Typer(
    name="accounts",
    no_args_is_help=True,
    help="Create accounts, suspend them, set their billing and rules.",
)

COLUMNS = ("id", "name", "billing", "status", "paid_usd", "promo_usd", "held_usd")
Account = typer.Argument(help="The account, by id or name.")
BillingOption = typer.Option(
    "prepaid", "--billing", "-b", help="prepaid, credit (with a credit line), or house (own use)."
)
CreditLine = typer.Option(
    "0", "--credit-line", help="How far below zero, in US dollars; only with billing by credit."
)


def shown(account: accounts.Account) -> dict[str, Any]:
    """An account for people and programs: dollars as text, and the integers beside them."""
    row = structs.asdict(account) | {
        "rules": structs.asdict(account.rules),
        "created": shown_time(account.created_ms),
    }
    for name in ("paid", "promo", "held", "floor"):
        row[f"{name}_nanos"] = row.pop(name)
        row[f"{name}_usd"] = usd_text(Nanos(row[f"{name}_nanos"]))
    return row


def _billing(word: str) -> Billing:
    for known in get_args(Billing):
        if word == known:
            return known  # type: ignore[no-any-return]
    raise Fault("bad_request", f"Billing is {', '.join(get_args(Billing))}, not {word!r}.")


@app.command("create")
def create(
    name: str,
    billing: str = BillingOption,
    credit_line: str = CreditLine,
    account_id: str = typer.Option("", "--id", help="An id of your own, instead of a new one."),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Create an account with an empty wallet."""

    async def work(office: Office) -> accounts.Account:
        line = amount(credit_line)
        return await accounts.create(
            office.desk, name, _billing(billing), credit_line=line, account=account_id
        )

    say_one(shown(at_office(config, data_dir, work)), as_json=as_json)


@app.command("list")
def listing(as_json: bool = Json, config: str = Config, data_dir: str = DataDir) -> None:
    """List the accounts and what they have."""

    async def work(office: Office) -> list[accounts.Account]:
        return await accounts.listed(office.desk.database)

    say([shown(one) for one in at_office(config, data_dir, work)], as_json=as_json, columns=COLUMNS)


@app.command("show")
def show(
    account: str = Account, as_json: bool = Json, config: str = Config, data_dir: str = DataDir
) -> None:
    """Show an account: its wallet, rules, people, keys and budgets."""

    async def work(office: Office) -> dict[str, Any]:
        database, now = office.desk.database, office.desk.clock.wall_ms()
        found = await accounts.found(database, account)
        row = shown(await accounts.one(database, found))
        row["users"] = [one.email for one in await users.listed(database, found)]
        row["keys"] = [
            key.shown for key in await keys.listed(database, found) if key.state(now) == "active"
        ]
        row["budgets"] = [one.subject for one in await budgets.listed(database, found, now)]
        return row

    say_one(at_office(config, data_dir, work), as_json=as_json)


def _change(
    config: str, data_dir: str | None, account: str, work: Callable[[Desk, str], Awaitable[None]]
) -> None:
    async def changed(office: Office) -> str:
        found = await accounts.found(office.desk.database, account)
        await work(office.desk, found)
        return found

    note(
        f"{at_office(config, data_dir, changed)} is changed; running gateways know within two seconds."
    )


@app.command("suspend")
def suspend(account: str = Account, config: str = Config, data_dir: str = DataDir) -> None:
    """Refuse all keys of an account."""
    _change(
        config, data_dir, account, lambda desk, found: accounts.set_status(desk, found, "suspended")
    )


@app.command("resume")
def resume(account: str = Account, config: str = Config, data_dir: str = DataDir) -> None:
    """Let a suspended account go on."""
    _change(
        config, data_dir, account, lambda desk, found: accounts.set_status(desk, found, "active")
    )


@app.command("billing")
def billing(
    account: str = Account,
    billing: str = BillingOption,
    credit_line: str = CreditLine,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Bill an account in another way, when none of its calls is under way."""
    word, line = _billing(billing), amount(credit_line)
    _change(
        config, data_dir, account, lambda desk, found: accounts.set_billing(desk, found, word, line)
    )


@app.command("markup")
def markup(
    account: str = Account,
    basis_points: str = typer.Argument(
        help="Hundredths of a percent on top of the price; 'none': the offers' own."
    ),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Set an account's own markup."""
    if basis_points != "none" and not basis_points.isdigit():
        raise Fault(
            "bad_request", f"A markup is a number of basis points or 'none', not {basis_points!r}."
        )
    points = None if basis_points == "none" else int(basis_points)
    _change(config, data_dir, account, lambda desk, found: accounts.set_markup(desk, found, points))


@app.command("rules")
def rules(
    account: str = Account,
    limit: list[str] = typer.Option(
        [], "--limit", help="In the place of the installation's: account_rpm=500, key_rpm, …"
    ),
    models: str = typer.Option(
        "", "--models", help="The models it may use, with commas; all unless some are named."
    ),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Set the limits and models of an account, in the place of those before."""
    given = accounts.AccountRules(limits=numbers(limit), models=words(models))
    _change(config, data_dir, account, lambda desk, found: accounts.set_rules(desk, found, given))
