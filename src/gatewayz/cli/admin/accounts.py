"""`gatewayz accounts`: who has a wallet, how it is billed, what all of its keys may do."""

from collections.abc import Awaitable, Callable
from typing import Any, get_args

import typer
from msgspec import structs

from gatewayz.cli.admin.context import AdminContext, run_with_store
from gatewayz.cli.admin.model_names import resolve_models
from gatewayz.cli.admin.parse import format_time, parse_amount, parse_limits
from gatewayz.cli.options import Config, DataDir, Json
from gatewayz.cli.output import print_fields, print_note, print_table
from gatewayz.control import accounts, budgets, keys, users
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.ledger.values import Billing

app = typer.Typer(
    add_completion=False,
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


def account_row(account: accounts.Account) -> dict[str, Any]:
    """An account for people and programs: dollars as text, and the integers beside them."""
    row = structs.asdict(account) | {
        "rules": structs.asdict(account.rules),
        "created": format_time(account.created_ms),
    }
    for name in ("paid", "promo", "held", "floor"):
        row[f"{name}_nanos"] = row.pop(name)
        row[f"{name}_usd"] = usd_text(Nanos(row[f"{name}_nanos"]))
    return row


def _parse_billing(text: str) -> Billing:
    for billing in get_args(Billing):
        if text == billing:
            return billing  # type: ignore[no-any-return]
    raise Fault("bad_request", f"Billing is {', '.join(get_args(Billing))}, not {text!r}.")


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

    async def work(ctx: AdminContext) -> accounts.Account:
        return await accounts.create_account(
            ctx.transaction,
            name,
            _parse_billing(billing),
            credit_line=parse_amount(credit_line),
            account=account_id,
        )

    print_fields(account_row(run_with_store(config, data_dir, work)), as_json=as_json)


@app.command("list")
def list_accounts(as_json: bool = Json, config: str = Config, data_dir: str = DataDir) -> None:
    """List the accounts and what they have."""

    async def work(ctx: AdminContext) -> list[accounts.Account]:
        return await accounts.list_all_accounts(ctx.database)

    rows = [account_row(account) for account in run_with_store(config, data_dir, work)]
    print_table(rows, as_json=as_json, columns=COLUMNS)


@app.command("show")
def show(
    account: str = Account, as_json: bool = Json, config: str = Config, data_dir: str = DataDir
) -> None:
    """Show an account: its wallet, rules, people, keys and budgets."""

    async def work(ctx: AdminContext) -> dict[str, Any]:
        database, now_ms = ctx.database, ctx.now_ms
        account_id = await ctx.account_id(account)
        people = await users.list_all_users(database, account_id)
        account_keys = await keys.list_account_keys(database, account_id)
        account_budgets = await budgets.list_budgets(database, account_id, now_ms)
        return account_row(await accounts.get_account(database, account_id)) | {
            "users": [user.email for user in people],
            "keys": [key.shown for key in account_keys if key.state(now_ms) == "active"],
            "budgets": [budget.subject for budget in account_budgets],
        }

    print_fields(run_with_store(config, data_dir, work), as_json=as_json)


def _change_account(
    config: str,
    data_dir: str | None,
    account: str,
    work: Callable[[ControlTransaction, str], Awaitable[None]],
) -> None:
    async def change(ctx: AdminContext) -> str:
        account_id = await ctx.account_id(account)
        await work(ctx.transaction, account_id)
        return account_id

    account_id = run_with_store(config, data_dir, change)
    print_note(f"{account_id} is changed; running gateways know within two seconds.")


@app.command("suspend")
def suspend(account: str = Account, config: str = Config, data_dir: str = DataDir) -> None:
    """Refuse all keys of an account."""
    _change_account(
        config,
        data_dir,
        account,
        lambda transaction, account_id: accounts.set_status(transaction, account_id, "suspended"),
    )


@app.command("resume")
def resume(account: str = Account, config: str = Config, data_dir: str = DataDir) -> None:
    """Let a suspended account go on."""
    _change_account(
        config,
        data_dir,
        account,
        lambda transaction, account_id: accounts.set_status(transaction, account_id, "active"),
    )


@app.command("billing")
def set_billing(
    account: str = Account,
    billing: str = BillingOption,
    credit_line: str = CreditLine,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Bill an account in another way, when none of its calls is under way."""
    kind, line = _parse_billing(billing), parse_amount(credit_line)
    _change_account(
        config,
        data_dir,
        account,
        lambda transaction, account_id: accounts.set_billing(transaction, account_id, kind, line),
    )


@app.command("markup")
def set_markup(
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
    markup_bp = None if basis_points == "none" else int(basis_points)
    _change_account(
        config,
        data_dir,
        account,
        lambda transaction, account_id: accounts.set_markup(transaction, account_id, markup_bp),
    )


@app.command("caching")
def set_caching(
    account: str = Account,
    caching: str = typer.Argument(
        help="auto: mark prompts for caching where the model caches by mark; or off."
    ),
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Let the gateway mark an account's prompts for caching, or not."""
    _change_account(
        config,
        data_dir,
        account,
        lambda transaction, account_id: accounts.set_caching(transaction, account_id, caching),
    )


@app.command("rules")
def set_rules(
    account: str = Account,
    limit: list[str] = typer.Option(
        [],
        "--limit",
        help="Instead of the installation's: account_rpm=500, key_rpm, …; 'none': those again. "
        "All limits are set anew; models stay.",
    ),
    models: str = typer.Option(
        "",
        "--models",
        help="The models it may use, with commas; 'all': every one. Limits stay.",
    ),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Set the limits of an account, or its models, or both; what is not named stays."""
    if not limit and not models:
        raise Fault("bad_request", "Name what to change: --limit NAME=NUMBER, --models MODEL.")
    limits = parse_limits([] if limit == ["none"] else limit)
    names = resolve_models(config, data_dir, models) if models not in {"", "all"} else ()

    async def work(ctx: AdminContext) -> accounts.Account:
        account_id = await ctx.account_id(account)
        rules = (await accounts.get_account(ctx.database, account_id)).rules
        rules = accounts.AccountRules(
            limits=limits if limit else rules.limits, models=names if models else rules.models
        )
        await accounts.set_rules(ctx.transaction, account_id, rules)
        return await accounts.get_account(ctx.database, account_id)

    changed = account_row(run_with_store(config, data_dir, work))
    print_fields({name: changed[name] for name in ("id", "name", "rules")}, as_json=as_json)
    print_note("Running gateways know within two seconds.")
