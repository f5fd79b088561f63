"""Accounts: who has a wallet, how it is billed, and what holds for all of its keys."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Select, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.calls import new_ulid
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.ledger.values import Billing
from gatewayz.limits.rules import ACCOUNT_LIMITS, checked_limits
from gatewayz.store.sql.audit import Deed
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.desk import Desk
from gatewayz.store.sql.slices import Cut, Slice, sliced
from gatewayz.store.sql.tables import ACCOUNTS, WALLETS

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
MAX_NAME = 200
MAX_LISTED = 10_000
MAX_MARKUP_BP = 1_000_000
"""A markup of a hundred times the price is a slip of the hand."""
HELD_RETRY_S = 2.0

NOTHING = Nanos(0)
Status = Literal["active", "suspended"]


class AccountRules(Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for all keys of an account: its limits, in the place of the installation's, and the models it may use.

    No models: all of them.
    """

    limits: dict[str, int] = {}
    models: tuple[str, ...] = ()


class Account(Struct, frozen=True, kw_only=True):
    """An account and its wallet, in nano-dollars. `floor` is below zero for a credit line."""

    id: str
    name: str
    billing: Billing
    status: Status
    markup_bp: int | None = None
    rules: AccountRules = AccountRules()
    created_ms: int = 0
    paid: int = 0
    promo: int = 0
    held: int = 0
    floor: int = 0


COLUMNS = (
    *(
        ACCOUNTS.c[name]
        for name in ("id", "name", "billing", "status", "markup_bp", "rules", "created_ms")
    ),
    *(WALLETS.c[name] for name in ("paid", "promo", "held", "floor")),
)


def _account(row: Sequence[Any]) -> Account:
    given = dict(zip(Account.__struct_fields__, row, strict=True))
    return Account(**{**given, "rules": msgspec.json.decode(given["rules"], type=AccountRules)})


def _accounts() -> Select[Any]:
    return select(*COLUMNS).join(WALLETS, WALLETS.c.account_id == ACCOUNTS.c.id)


async def listed(database: Database) -> list[Account]:
    """Every account, oldest first. Faults: `unavailable`."""
    async with database.begin(reading=True) as connection:
        rows = await connection.execute(
            _accounts().order_by(ACCOUNTS.c.created_ms, ACCOUNTS.c.id).limit(MAX_LISTED)
        )
        return [_account(row) for row in rows.all()]


async def several(database: Database, cut: Cut) -> tuple[list[Account], Slice]:
    """A slice of all accounts, in the order of their ids. Faults: `bad_request`, `unavailable`."""
    found = await sliced(database, _accounts(), (ACCOUNTS.c.id,), cut)
    return [_account(tuple(row.values())) for row in found.rows], found


async def one(database: Database, account: str) -> Account:
    """Faults: `unknown_route`, `unavailable`."""
    async with database.begin(reading=True) as connection:
        row = (await connection.execute(_accounts().where(ACCOUNTS.c.id == account))).first()
    if row is None:
        raise unknown(account)
    return _account(row)


async def found(database: Database, word: str) -> str:
    """The account's id by its id or, if only one has it, by its name. Faults: `unknown_route`, `bad_request`."""
    wanted = (
        select(ACCOUNTS.c.id)
        .where((ACCOUNTS.c.id == word) | (ACCOUNTS.c.name == word))
        .limit(MAX_LISTED)
    )
    async with database.begin(reading=True) as connection:
        ids = [id for (id,) in (await connection.execute(wanted)).all()]
    if word in ids:
        return word
    if len(ids) > 1:
        raise Fault(
            "bad_request",
            f"{len(ids)} accounts are named {word!r}; give an id: {', '.join(ids[:5])}.",
        )
    if not ids:
        raise unknown(word)
    return str(ids[0])


def unknown(account: str) -> Fault:
    return Fault(
        "unknown_route",
        f"There is no account {account[:64]!r}; `gatewayz accounts list` shows them.",
    )


async def create(
    desk: Desk, name: str, billing: Billing, *, credit_line: Nanos = NOTHING, account: str = ""
) -> Account:
    """A new account with an empty wallet. Faults: `bad_request`."""
    account = account or new_ulid()
    if ID.fullmatch(account) is None:
        raise Fault(
            "bad_request",
            "An account's id has 1 to 40 letters, digits, - and _, and begins with none of these.",
        )
    _named(name)
    floor = _floor(billing, credit_line)
    deed = Deed(
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
        "created_ms": desk.clock.wall_ms(),
    }
    try:
        async with desk.changing(deed) as connection:
            await connection.execute(insert(ACCOUNTS).values(row))
            await connection.execute(
                insert(WALLETS).values(account_id=account, billing=billing, floor=floor)
            )
    except IntegrityError:
        raise Fault("bad_request", f"There is an account {account!r} already.") from None
    return await one(desk.database, account)


def _named(name: str) -> str:
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


async def set_billing(
    desk: Desk, account: str, billing: Billing, credit_line: Nanos = NOTHING
) -> None:
    """Another way to bill, only while no call is under way and nothing is owed beyond the new line.

    Faults: `bad_request`, `unknown_route`, `in_flight` while calls hold credit.
    """
    floor = _floor(billing, credit_line)
    deed = Deed(
        action="account.billing",
        subject=account,
        account=account,
        detail={"billing": billing, "floor": floor},
    )
    async with desk.changing(deed) as connection:
        idle = update(WALLETS).where(WALLETS.c.account_id == account, WALLETS.c.held == 0)
        done = await connection.execute(
            idle.where(WALLETS.c.paid >= min(floor, 0)).values(billing=billing, floor=floor)
        )
        if not done.rowcount:
            raise await _why_not(connection, account)
        await connection.execute(
            update(ACCOUNTS).where(ACCOUNTS.c.id == account).values(billing=billing)
        )


async def _why_not(connection: AsyncConnection, account: str) -> Fault:
    row = (await connection.execute(_accounts().where(ACCOUNTS.c.id == account))).first()
    if row is None:
        return unknown(account)
    one = _account(row)
    if one.held:
        why = f"${usd_text(Nanos(one.held))} is held by calls under way; billing changes when they have ended."
        return Fault("in_flight", why, retry_after_s=HELD_RETRY_S)
    return Fault(
        "bad_request",
        f"The account owes ${usd_text(Nanos(-one.paid))}, more than the new billing lets it owe.",
    )


async def rename(desk: Desk, account: str, name: str) -> None:
    """Faults: `bad_request`, `unknown_route`."""
    await _set(desk, account, "account.name", {"name": _named(name)})


async def set_status(desk: Desk, account: str, status: Status) -> None:
    """Suspends an account, or lets it go on; all gateways know within two seconds. Faults: `unknown_route`."""
    await _set(desk, account, f"account.{status}", {"status": status})


async def set_markup(desk: Desk, account: str, markup_bp: int | None) -> None:
    """The account's own markup in basis points; none: the offers'. Faults: `bad_request`, `unknown_route`."""
    if markup_bp is not None and not 0 <= markup_bp <= MAX_MARKUP_BP:
        raise Fault(
            "bad_request", f"A markup is from 0 to {MAX_MARKUP_BP} basis points, not {markup_bp}."
        )
    await _set(desk, account, "account.markup", {"markup_bp": markup_bp})


async def set_rules(desk: Desk, account: str, rules: AccountRules) -> None:
    """Limits and models of all the account's keys. Faults: `bad_request`, `unknown_route`."""
    checked_limits(rules.limits, ACCOUNT_LIMITS)
    await _set(desk, account, "account.rules", {"rules": msgspec.json.encode(rules).decode()})


async def _set(desk: Desk, account: str, action: str, values: Mapping[str, Any]) -> None:
    deed = Deed(action=action, subject=account, account=account, detail=values)
    async with desk.changing(deed) as connection:
        done = await connection.execute(
            update(ACCOUNTS).where(ACCOUNTS.c.id == account).values(**values)
        )
        if not done.rowcount:
            raise unknown(account)
