"""`gatewayz credits`: money in and out of wallets, and whether the books add up."""

from collections.abc import Awaitable, Callable
from typing import Any

import typer
from msgspec import structs

from gatewayz.cli.admin.accounts import account_row
from gatewayz.cli.admin.context import AdminContext, run_with_store
from gatewayz.cli.admin.parse import format_time, parse_amount, parse_time_ms
from gatewayz.cli.options import Config, DataDir, Json
from gatewayz.cli.output import print_fields, print_note, print_table
from gatewayz.control import accounts, calls, payments, transfers
from gatewayz.control.credits import Credits, MoveResult
from gatewayz.core.money import Nanos, usd_text
from gatewayz.store.sql.ledger.reconcile import Violation, journal_violations, violations

app = typer.Typer(
    add_completion=False,
    name="credits",
    no_args_is_help=True,
    help="Give credit, take it back, refund calls, check the books.",
)

Transfer = Callable[[AdminContext, Credits], Awaitable[tuple[str, MoveResult]]]
"""Moves money; returns the account that it moved at, and what moved."""

Account = typer.Argument(help="The account, by id or name.")
Amount = typer.Argument(help="US dollars, such as 12.50.")
Part = typer.Argument("", help="US dollars; all that is left where none are named.")
Id = typer.Option("", "--id", help="An id of your own: under one id money moves once.")


def _run_transfer(config: str, data_dir: str | None, transfer: Transfer, *, as_json: bool) -> None:
    """Moves money, and says what moved and what the account has now."""

    async def work(ctx: AdminContext) -> tuple[MoveResult, accounts.Account]:
        account_id, move = await transfer(ctx, Credits(ctx.transaction, ctx.store.books.commits))
        return move, await accounts.get_account(ctx.database, account_id)

    move, account = run_with_store(config, data_dir, work)
    balance = {f"account_{name}": value for name, value in _balance_row(account).items()}
    row = {
        "id": move.id,
        "amount_usd": usd_text(move.amount),
        "amount_nanos": move.amount,
        "moved_now": move.fresh,
    }
    print_fields(row | balance, as_json=as_json)
    if not move.fresh:
        print_note(f"{move.id} was booked before; nothing has moved now.")


def _balance_row(account: accounts.Account) -> dict[str, Any]:
    row = account_row(account)
    return {"id": account.id} | {name: row[name] for name in row if name.endswith("_usd")}


@app.command("show")
def show(
    account: str = Account,
    last: int = typer.Option(
        20, "--transfers", "-t", min=0, max=1_000, help="How many of the last movements."
    ),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Show what an account has, was given and has paid, and the last movements."""

    async def work(ctx: AdminContext) -> dict[str, Any]:
        database, account_id = ctx.database, await ctx.account_id(account)
        paid = await payments.list_payments(database, account_id)
        return _balance_row(await accounts.get_account(database, account_id)) | {
            "grants": await transfers.list_grants(database, account_id),
            "payments": [structs.asdict(payment) for payment in paid],
            "transfers": await transfers.list_latest_transfers(database, account_id, last),
        }

    row = run_with_store(config, data_dir, work)
    if as_json:
        print_fields(row, as_json=True)
        return
    lists = {name: row.pop(name) for name in ("grants", "payments", "transfers")}
    print_fields(row, as_json=False)
    for name, rows in lists.items():
        if rows:
            print(f"\n{name}:")
            print_table([_readable_row(listed) for listed in rows], as_json=False)


def _readable_row(row: dict[str, Any]) -> dict[str, Any]:
    """Money as dollars, moments as times, and nothing that the heading says already."""
    readable: dict[str, Any] = {}
    for name, value in row.items():
        if name in {"amount", "refunded"}:
            readable[f"{name}_usd"] = usd_text(Nanos(value))
        elif name.endswith("_ms"):
            readable[name.removesuffix("_ms")] = format_time(value)
        elif name not in {"account", "account_id"}:
            readable[name] = value
    return readable


@app.command("topup")
def topup(
    account: str = Account,
    usd: str = Amount,
    source: str = typer.Option("manual", "--source", help="Where the money came from."),
    payment: str = typer.Option(
        "", "--id", help="The payment's id there: the same payment is booked once."
    ),
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Book money that was paid."""

    async def transfer(ctx: AdminContext, wallets: Credits) -> tuple[str, MoveResult]:
        account_id = await ctx.account_id(account)
        return account_id, await wallets.topup(account_id, parse_amount(usd), source, payment)

    _run_transfer(config, data_dir, transfer, as_json=as_json)


@app.command("grant")
def grant(
    account: str = Account,
    usd: str = Amount,
    expires: str = typer.Option(
        "", "--expires", help="When what is left of it ends: 30d, 2030-01-31."
    ),
    name: str = Id,
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Give credit; it is spent before what was paid."""

    async def transfer(ctx: AdminContext, wallets: Credits) -> tuple[str, MoveResult]:
        account_id = await ctx.account_id(account)
        expires_ms = parse_time_ms(expires, ctx.now_ms) if expires else None
        return account_id, await wallets.grant(account_id, parse_amount(usd), expires_ms, name)

    _run_transfer(config, data_dir, transfer, as_json=as_json)


@app.command("adjust", context_settings={"ignore_unknown_options": True})
def adjust(
    account: str = Account,
    usd: str = typer.Argument(help="US dollars, below zero to take away."),
    why: str = typer.Option(..., "--why", help="The reason, for the books."),
    name: str = Id,
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Correct a wallet, up or down, never by more than it has."""

    async def transfer(ctx: AdminContext, wallets: Credits) -> tuple[str, MoveResult]:
        account_id = await ctx.account_id(account)
        return account_id, await wallets.adjust(account_id, parse_amount(usd), why, name)

    _run_transfer(config, data_dir, transfer, as_json=as_json)


@app.command("refund")
def refund(
    call: str = typer.Argument(help="The call, by any id that its client saw."),
    usd: str = Part,
    name: str = Id,
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Give back what a call took, never more."""

    async def transfer(ctx: AdminContext, wallets: Credits) -> tuple[str, MoveResult]:
        call_id = calls.parse_call_id(call)
        account_id = await calls.account_of_call(ctx.database, call_id)
        amount = parse_amount(usd) if usd else None
        return account_id, await wallets.refund_call(account_id, call_id, amount, name)

    _run_transfer(config, data_dir, transfer, as_json=as_json)


@app.command("refund-payment")
def refund_payment(
    payment: str = typer.Argument(
        help="The payment's id, SOURCE:ID; `gatewayz credits show` lists them."
    ),
    usd: str = Part,
    chargeback: bool = typer.Option(
        False, "--chargeback", help="The money was taken back by the payer's bank."
    ),
    name: str = Id,
    as_json: bool = Json,
    config: str = Config,
    data_dir: str = DataDir,
) -> None:
    """Book money that went back to whoever paid, as far as the wallet reaches."""

    async def transfer(ctx: AdminContext, wallets: Credits) -> tuple[str, MoveResult]:
        account_id = await payments.account_of_payment(ctx.database, payment)
        amount = parse_amount(usd) if usd else None
        return account_id, await wallets.refund_payment(
            account_id, payment, amount, name, chargeback=chargeback
        )

    _run_transfer(config, data_dir, transfer, as_json=as_json)


@app.command("check")
def check_books(as_json: bool = Json, config: str = Config, data_dir: str = DataDir) -> None:
    """Check that the books add up; exit status 1 with what does not."""

    async def work(ctx: AdminContext) -> list[Violation]:
        in_database = await violations(ctx.database, ctx.now_ms)
        return in_database + journal_violations(ctx.data_dir)

    problems = run_with_store(config, data_dir, work)
    if problems or as_json:
        print_table([structs.asdict(violation) for violation in problems], as_json=as_json)
    else:
        print("The books add up.")
    raise typer.Exit(1 if problems else 0)
