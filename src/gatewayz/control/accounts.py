"""Accounts: who has a wallet, how it is billed, and what holds for all of its keys."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace
from sqlalchemy import Select, insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.control.audit import AuditEvent
from gatewayz.control.json_columns import json_text
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.calls import new_ulid
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.core.pagination import Cursor, Page
from gatewayz.core.renamed import current_limits
from gatewayz.core.requests import CACHING_WORDS
from gatewayz.ledger.values import Billing
from gatewayz.limits.rules import ACCOUNT_LIMITS, validate_limits
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.pagination import MAX_LISTED, paginate
from gatewayz.store.sql.tables import ACCOUNTS, WALLETS

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
MAX_NAME = 200
MAX_MARKUP_BP = 1_000_000
"""A markup of a hundred times the price is a slip of the hand."""
HELD_RETRY_S = 2.0
"""`Retry-After` for a change of billing while calls of the account are under way."""

ZERO = Nanos(0)
Status = Literal["active", "suspended"]


class AccountRules(Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for all keys of an account: its limits and the models that they may use.

    Its limits take the place of the installation's. No models: all of them.
    Example: AccountRules(limits={"account_rpm": 500}, models=("openai/gpt-4o",))
    """

    limits: dict[str, int] = {}
    models: tuple[str, ...] = ()


class Account(Struct, frozen=True, kw_only=True):
    """An account and its wallet, in nano-dollars. `floor` is below zero for a credit line.

    Example: Account(id="acme", name="Acme Ltd", billing="prepaid", status="active", paid=5 * 10**9)
    """

    id: str
    name: str
    billing: Billing
    status: Status
    markup_bp: int | None = None
    rules: AccountRules = AccountRules()
    caching: str = ""
    created_ms: int = 0
    paid: int = 0
    promo: int = 0
    held: int = 0
    floor: int = 0


class AccountUpdate(Struct, frozen=True, kw_only=True):
    """What to change of an account; what is `None` stays, as does a markup that is `UNSET`.

    `credit_line` goes with `billing`. A markup of `None`: the offers' markup holds.
    Example: AccountUpdate(status="suspended", limits={"account_rpm": 10})
    """

    name: str | None = None
    status: Status | None = None
    billing: Billing | None = None
    credit_line: Nanos = ZERO
    markup_bp: int | UnsetType | None = UNSET
    limits: dict[str, int] | None = None
    models: tuple[str, ...] | None = None
    caching: str | None = None


def parse_rules(text: str) -> AccountRules:
    """Rules as a row has them, with limits by today's names. Raises `msgspec.DecodeError`."""
    rules = msgspec.json.decode(text, type=AccountRules)
    return replace(rules, limits=current_limits(rules.limits))


def _account_from_row(row: Mapping[str, Any]) -> Account:
    return Account(
        id=row["id"],
        name=row["name"],
        billing=row["billing"],
        status=row["status"],
        markup_bp=row["markup_bp"],
        rules=parse_rules(row["rules"]),
        caching=row["caching"],
        created_ms=row["created_ms"],
        paid=row["paid"],
        promo=row["promo"],
        held=row["held"],
        floor=row["floor"],
    )


def _select_accounts() -> Select[Any]:
    wallet = (WALLETS.c.paid, WALLETS.c.promo, WALLETS.c.held, WALLETS.c.floor)
    return select(*ACCOUNTS.c, *wallet).join(WALLETS, WALLETS.c.account_id == ACCOUNTS.c.id)


async def _fetch_account(connection: AsyncConnection, account: str) -> Account:
    """Faults: `not_found`."""
    own = _select_accounts().where(ACCOUNTS.c.id == account)
    row = (await connection.execute(own)).mappings().first()
    if row is None:
        raise account_not_found(account)
    return _account_from_row(dict(row))


async def list_all_accounts(database: Database) -> list[Account]:
    """Every account, oldest first. Faults: `unavailable`."""
    oldest_first = _select_accounts().order_by(ACCOUNTS.c.created_ms, ACCOUNTS.c.id)
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(oldest_first.limit(MAX_LISTED))).mappings().all()
    return [_account_from_row(dict(row)) for row in rows]


async def list_accounts(database: Database, cursor: Cursor) -> tuple[list[Account], Page]:
    """A page of all accounts, in the order of their ids. Faults: `bad_request`, `unavailable`."""
    page = await paginate(database, _select_accounts(), (ACCOUNTS.c.id,), cursor)
    return [_account_from_row(row) for row in page.rows], page


async def get_account(database: Database, account: str) -> Account:
    """An account by its id. Faults: `not_found`, `unavailable`."""
    async with database.begin(reading=True) as connection:
        return await _fetch_account(connection, account)


async def resolve_account(database: Database, name: str) -> str:
    """The id of the account that has this id or, if only one has it, this name.

    Faults: `not_found`, `bad_request` when several have the name.
    """
    named = select(ACCOUNTS.c.id).where((ACCOUNTS.c.id == name) | (ACCOUNTS.c.name == name))
    async with database.begin(reading=True) as connection:
        ids = [id for (id,) in (await connection.execute(named.limit(MAX_LISTED))).all()]
    if name in ids:
        return name
    if len(ids) > 1:
        raise Fault(
            "bad_request",
            f"{len(ids)} accounts are named {name!r}; give an id: {', '.join(ids[:5])}.",
        )
    if not ids:
        raise account_not_found(name)
    return str(ids[0])


def account_not_found(account: str) -> Fault:
    """The fault for an id or a name that no account has."""
    return Fault(
        "not_found",
        f"There is no account {account[:64]!r}; `gatewayz accounts list` shows them.",
    )


async def create_account(
    transaction: ControlTransaction,
    name: str,
    billing: Billing,
    *,
    credit_line: Nanos = ZERO,
    account: str = "",
) -> Account:
    """A new account with an empty wallet; without an id it gets one. Faults: `bad_request`."""
    account = account or new_ulid()
    if ID.fullmatch(account) is None:
        raise Fault(
            "bad_request",
            "An account id has 1 to 40 letters, digits, - and _, "
            "and begins with a letter or a digit.",
        )
    _check_name(name)
    floor = _floor(billing, credit_line)

    event = AuditEvent(
        action="account.create",
        subject=account,
        account=account,
        detail={"name": name, "billing": billing, "floor": floor},
    )
    row = {
        "id": account,
        "name": name,
        "billing": billing,
        "status": "active",
        "created_ms": transaction.clock.wall_ms(),
    }
    wallet = {"account_id": account, "billing": billing, "floor": floor}
    try:
        async with transaction.begin_change(event) as connection:
            await connection.execute(insert(ACCOUNTS).values(row))
            await connection.execute(insert(WALLETS).values(wallet))
    except IntegrityError:
        raise Fault("bad_request", f"There is an account {account!r} already.") from None
    return await get_account(transaction.database, account)


def _check_name(name: str) -> str:
    if not 0 < len(name) <= MAX_NAME:
        raise Fault("bad_request", f"An account needs a name of at most {MAX_NAME} characters.")
    return name


def _floor(billing: Billing, credit_line: Nanos) -> int:
    if credit_line < 0 or (credit_line > 0) != (billing == "credit"):
        raise Fault(
            "bad_request",
            "Billing by credit needs a credit line above zero; other billing has none.",
        )
    return -credit_line


async def update_account(
    transaction: ControlTransaction, account: str, update: AccountUpdate
) -> None:
    """Changes all that the update names, with an audit entry each, or nothing.

    Faults: `bad_request`, `not_found`, `in_flight` for billing while calls hold credit.
    """
    _check_update(update)
    async with transaction.begin_locked() as connection:
        before = await _fetch_account(connection, account)
        if update.billing is not None:
            await _update_wallet(connection, account, update.billing, update.credit_line)
        for action, values, detail in _changes(before, update):
            await connection.execute(
                sql_update(ACCOUNTS).where(ACCOUNTS.c.id == account).values(**values)
            )
            event = AuditEvent(action=action, subject=account, account=account, detail=detail)
            await transaction.append_event(connection, event)


def _check_update(update: AccountUpdate) -> None:
    """Faults: `bad_request` for a value that no account may have."""
    if update.name is not None:
        _check_name(update.name)
    if update.billing is not None:
        _floor(update.billing, update.credit_line)
    elif update.credit_line:
        raise Fault(
            "bad_request",
            "A credit line is set together with billing: credit.",
            param="credit_line",
        )
    markup_bp = update.markup_bp
    if isinstance(markup_bp, int) and not 0 <= markup_bp <= MAX_MARKUP_BP:
        raise Fault(
            "bad_request", f"A markup is from 0 to {MAX_MARKUP_BP} basis points, not {markup_bp}."
        )
    if update.limits is not None:
        validate_limits(update.limits, ACCOUNT_LIMITS)
    if update.caching is not None:
        check_caching(update.caching)


_Change = tuple[str, Mapping[str, Any], Mapping[str, Any]]
"""What the audit log calls a change, the columns that it sets, and what the log says of it."""


def _changes(before: Account, update: AccountUpdate) -> Iterator[_Change]:
    if update.billing is not None:
        detail = {"billing": update.billing, "floor": _floor(update.billing, update.credit_line)}
        yield "account.billing", {"billing": update.billing}, detail
    columns: dict[str, Any] = {}
    if update.limits is not None or update.models is not None:
        rules = AccountRules(
            limits=before.rules.limits if update.limits is None else update.limits,
            models=before.rules.models if update.models is None else update.models,
        )
        columns["account.rules"] = {"rules": json_text(rules)}
    if update.markup_bp is not UNSET:
        columns["account.markup"] = {"markup_bp": update.markup_bp}
    if update.caching is not None:
        columns["account.caching"] = {"caching": "auto" if update.caching == "auto" else ""}
    if update.name is not None:
        columns["account.name"] = {"name": update.name}
    if update.status is not None:
        columns[f"account.{update.status}"] = {"status": update.status}
    for action, values in columns.items():
        yield action, values, values


async def _update_wallet(
    connection: AsyncConnection, account: str, billing: Billing, credit_line: Nanos
) -> None:
    """Only while no call is under way, and no more is owed than the new credit line allows."""
    floor = _floor(billing, credit_line)
    idle = sql_update(WALLETS).where(WALLETS.c.account_id == account, WALLETS.c.held == 0)
    changed = await connection.execute(
        idle.where(WALLETS.c.paid >= min(floor, 0)).values(billing=billing, floor=floor)
    )
    if not changed.rowcount:
        raise _billing_fault(await _fetch_account(connection, account))


async def set_billing(
    transaction: ControlTransaction, account: str, billing: Billing, credit_line: Nanos = ZERO
) -> None:
    """Changes how an account is billed. Faults: `bad_request`, `not_found`, `in_flight`."""
    update = AccountUpdate(billing=billing, credit_line=credit_line)
    await update_account(transaction, account, update)


def _billing_fault(account: Account) -> Fault:
    """Why the billing of an account cannot be changed now."""
    if account.held:
        message = (
            f"${usd_text(Nanos(account.held))} is held by calls under way; "
            "billing changes when they have ended."
        )
        return Fault("in_flight", message, retry_after_s=HELD_RETRY_S)
    owed = usd_text(Nanos(-account.paid))
    return Fault("bad_request", f"The account owes ${owed}, more than the new billing lets it owe.")


async def set_status(transaction: ControlTransaction, account: str, status: Status) -> None:
    """Suspends an account, or lets it go on; all gateways know within two seconds.

    Faults: `not_found`.
    """
    await update_account(transaction, account, AccountUpdate(status=status))


async def set_markup(transaction: ControlTransaction, account: str, markup_bp: int | None) -> None:
    """The account's own markup in basis points; `None`: the offers' markup holds.

    Faults: `bad_request`, `not_found`.
    """
    await update_account(transaction, account, AccountUpdate(markup_bp=markup_bp))


async def set_rules(transaction: ControlTransaction, account: str, rules: AccountRules) -> None:
    """Limits and models of all the account's keys. Faults: `bad_request`, `not_found`."""
    update = AccountUpdate(limits=rules.limits, models=rules.models)
    await update_account(transaction, account, update)


async def set_caching(transaction: ControlTransaction, account: str, caching: str) -> None:
    """Whether prompts of the account are marked for caching, where neither key nor request says:
    `auto` or `off`. Faults: `bad_request`, `not_found`.
    """
    await update_account(transaction, account, AccountUpdate(caching=caching))


def check_caching(caching: str) -> None:
    """Faults: `bad_request` for another word than `auto` and `off`."""
    if caching not in CACHING_WORDS:
        words = " or ".join(CACHING_WORDS)
        raise Fault("bad_request", f"Caching is {words}, not {caching[:40]!r}.", param="caching")
