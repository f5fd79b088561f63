"""What was booked: transfers and grants of accounts, what is left of a charge, and whether the
books add up.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import func, select

from gatewayz.core.faults import Fault
from gatewayz.core.pagination import Cursor, Page
from gatewayz.ledger.values import wallet_paid, wallet_promo
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.ledger.reconcile import Violation, violations
from gatewayz.store.sql.pagination import MAX_ROWS, paginate
from gatewayz.store.sql.tables import CALLS, GRANTS, TRANSFERS


class Charge(Struct, frozen=True):
    """What a call took from each side of the wallet and was not given back, in nano-dollars."""

    paid: int
    promo: int


async def refundable_charge(database: Database, account: str, call: str) -> Charge:
    """What is left to give back of a call that has ended.

    Faults: `not_found` for a call that is none of the account's.
    """
    record = select(CALLS.c.id).where(CALLS.c.account_id == account, CALLS.c.id == call)
    booked = select(TRANSFERS.c.debit, TRANSFERS.c.credit, TRANSFERS.c.amount).where(
        TRANSFERS.c.call_id == call, TRANSFERS.c.account_id == account
    )
    async with database.begin(reading=True) as connection:
        if (await connection.execute(record)).first() is None:
            raise Fault("not_found", f"There is no call {call[:64]!r} that has ended.")
        rows = (await connection.execute(booked)).all()
    return Charge(
        paid=_net_of_side(rows, wallet_paid(account)),
        promo=_net_of_side(rows, wallet_promo(account)),
    )


def _net_of_side(rows: Sequence[Any], side: str) -> int:
    """What (debit, credit, amount) took from a side of the wallet, less what came back to it."""
    return sum(amount * ((debit == side) - (credit == side)) for debit, credit, amount in rows)


async def amount_moved(database: Database, account: str, transfer: str) -> int:
    """What has moved under a transfer's id: below zero if out of the wallet, 0 if nothing has.

    Faults: `bad_request` for an id that is another account's.
    """
    same = select(TRANSFERS.c.account_id, TRANSFERS.c.amount, TRANSFERS.c.credit).where(
        TRANSFERS.c.id == transfer
    )
    async with database.begin(reading=True) as connection:
        booked = (await connection.execute(same)).first()
    if booked is None:
        return 0

    if booked.account_id != account:
        raise Fault(
            "bad_request",
            f"{transfer} is a movement of the account {booked.account_id}; use another id.",
        )
    into_wallet = booked.credit in {wallet_paid(account), wallet_promo(account)}
    return int(booked.amount if into_wallet else -booked.amount)


async def payment_refund_total(database: Database, account: str, payment: str) -> int:
    """What went back of a payment, to whoever paid or by force, in nano-dollars."""
    total = select(func.coalesce(func.sum(TRANSFERS.c.amount), 0)).where(
        TRANSFERS.c.account_id == account,
        TRANSFERS.c.kind.in_(("refund", "chargeback")),
        TRANSFERS.c.note == payment,
    )
    async with database.begin(reading=True) as connection:
        return int((await connection.execute(total)).scalar_one())


async def list_grants(database: Database, account: str) -> list[dict[str, Any]]:
    """What was given to an account, newest first: id, amount, expires_ms, created_ms."""
    own = select(GRANTS.c.id, GRANTS.c.amount, GRANTS.c.expires_ms, GRANTS.c.created_ms).where(
        GRANTS.c.account_id == account
    )
    newest_first = own.order_by(GRANTS.c.created_ms.desc()).limit(MAX_ROWS)
    async with database.begin(reading=True) as connection:
        return [dict(row) for row in (await connection.execute(newest_first)).mappings().all()]


async def list_latest_transfers(
    database: Database, account: str, limit: int
) -> list[dict[str, Any]]:
    """The newest transfers of an account as rows by column name, oldest first."""
    own = select(*TRANSFERS.c).where(TRANSFERS.c.account_id == account)
    newest_first = own.order_by(TRANSFERS.c.at_ms.desc(), TRANSFERS.c.id.desc()).limit(limit)
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(newest_first)).mappings().all()
    return [dict(row) for row in reversed(rows)]


async def list_transfers(database: Database, account: str, cursor: Cursor) -> Page:
    """A page of what was booked, the newest first; of every account if none is named.

    Faults: `bad_request`, `unavailable`.
    """
    statement = select(*TRANSFERS.c)
    if account:
        statement = statement.where(TRANSFERS.c.account_id == account)
    keys = (TRANSFERS.c.at_ms, TRANSFERS.c.id)
    return await paginate(database, statement, keys, replace(cursor, newest_first=True))


async def check_ledger(database: Database, now_ms: int) -> list[Violation]:
    """Everything that is not as it must be in the books; empty when they add up.

    Faults: `unavailable`.
    """
    return await violations(database, now_ms)
