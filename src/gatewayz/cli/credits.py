"""`gatewayz credits`: money in and out of wallets, and whether the books add up."""

from collections.abc import Awaitable, Callable
from typing import Any

import typer
from msgspec import structs

from gatewayz.cli.accounts import shown
from gatewayz.cli.office import Config, DataDir, Json, Office, at_office, note, say, say_one
from gatewayz.cli.spelling import amount, moment_ms, shown_time
from gatewayz.core.money import Nanos, usd_text
from gatewayz.store.sql import accounts, calls, credits
from gatewayz.store.sql.checking import Violation, rejected, violations
from gatewayz.store.sql.credits import Moved, Teller

app = typer.Typer(
    name="credits",
    no_args_is_help=True,
    help="Give credit, take it back, refund calls, check the books.",
)

Account = typer.Argument(help="The account, by id or name.")
Amount = typer.Argument(help="US dollars, such as 12.50.")
Part = typer.Argument("", help="US dollars; without them all that is left.")
Id = typer.Option("", "--id", help="An id of your own: the same id moves money once.")


def _move(
    config: str,
    data_dir: str | None,
    work: Callable[[Office, Teller], Awaitable[tuple[str, Moved]]],
    *,
    as_json: bool,
) -> None:
    """Moves, and says what moved and what the account has now."""

    async def moved(office: Office) -> tuple[Moved, accounts.Account]:
        account, done = await work(office, Teller(office.desk, office.store.books.commits))
        return done, await accounts.one(office.desk.database, account)

    done, account = at_office(config, data_dir, moved)
    row = {
        "id": done.id,
        "amount_usd": usd_text(done.amount),
        "amount_nanos": done.amount,
        "moved_now": done.fresh,
    }
    say_one(
        row | {f"account_{name}": value for name, value in _balance(account).items()},
        as_json=as_json,
    )
    if not done.fresh:
        note(f"{done.id} was booked before; nothing has moved now.")


def _balance(account: accounts.Account) -> dict[str, Any]:
    row = shown(account)
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

    async def work(office: Office) -> dict[str, Any]:
        database = office.desk.database
        found = await accounts.found(database, account)
        return _balance(await accounts.one(database, found)) | {
            "grants": await credits.grants(database, found),
            "payments": [structs.asdict(one) for one in await credits.payments(database, found)],
            "transfers": await credits.transfers(database, found, last),
        }

    row = at_office(config, data_dir, work)
    if as_json:
        say_one(row, as_json=True)
        return
    say_one(
        {name: value for name, value in row.items() if not isinstance(value, list)}, as_json=False
    )
    for name in ("grants", "payments", "transfers"):
        if row[name]:
            print(f"\n{name}:")
            say([_for_people(one) for one in row[name]], as_json=False)


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    """Money as dollars, moments as times, and nothing that the heading says already."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name in {"amount", "refunded"}:
            found[f"{name}_usd"] = usd_text(Nanos(value))
        elif name.endswith("_ms"):
            found[name.removesuffix("_ms")] = shown_time(value)
        elif name not in {"account", "account_id"}:
            found[name] = value
    return found


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

    async def work(office: Office, teller: Teller) -> tuple[str, Moved]:
        found = await accounts.found(office.desk.database, account)
        return found, await teller.topup(found, amount(usd), source, payment)

    _move(config, data_dir, work, as_json=as_json)


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

    async def work(office: Office, teller: Teller) -> tuple[str, Moved]:
        found = await accounts.found(office.desk.database, account)
        until = moment_ms(expires, office.desk.clock.wall_ms()) if expires else None
        return found, await teller.grant(found, amount(usd), until, name)

    _move(config, data_dir, work, as_json=as_json)


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

    async def work(office: Office, teller: Teller) -> tuple[str, Moved]:
        found = await accounts.found(office.desk.database, account)
        return found, await teller.adjust(found, amount(usd), why, name)

    _move(config, data_dir, work, as_json=as_json)


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

    async def work(office: Office, teller: Teller) -> tuple[str, Moved]:
        found = calls.call_id_of(call)
        account = await calls.owner(office.desk.database, found)
        return account, await teller.refund_call(account, found, amount(usd) if usd else None, name)

    _move(config, data_dir, work, as_json=as_json)


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

    async def work(office: Office, teller: Teller) -> tuple[str, Moved]:
        account = await credits.payment_owner(office.desk.database, payment)
        part = amount(usd) if usd else None
        return account, await teller.refund_payment(
            account, payment, part, name, chargeback=chargeback
        )

    _move(config, data_dir, work, as_json=as_json)


@app.command("check")
def check(as_json: bool = Json, config: str = Config, data_dir: str = DataDir) -> None:
    """Check that the books add up; exit status 1 with what does not."""

    async def work(office: Office) -> list[Violation]:
        return await violations(office.desk.database, office.desk.clock.wall_ms()) + rejected(
            office.data_dir
        )

    found = at_office(config, data_dir, work)
    if found or as_json:
        say([structs.asdict(one) for one in found], as_json=as_json)
    else:
        print("The books add up.")
    raise typer.Exit(1 if found else 0)
