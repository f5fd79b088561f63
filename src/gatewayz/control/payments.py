"""Payments: money that came in from outside, and how much of it went back."""

from typing import Any

from msgspec import Struct
from sqlalchemy import select

from gatewayz.core.faults import Fault
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.pagination import MAX_ROWS
from gatewayz.store.sql.tables import PAYMENTS


class Payment(Struct, frozen=True, kw_only=True):
    """A payment, in nano-dollars. `id` is SOURCE:ID, `refunded` what went back.

    Example: Payment(id="bank:invoice-7", account="acme", source="bank", amount=50 * 10**9,
    refunded=0, status="paid", created_ms=1795559244228)
    """

    id: str
    account: str
    source: str
    amount: int
    refunded: int
    status: str
    created_ms: int


async def get_payment(database: Database, account: str, payment: str) -> Payment:
    """A payment of an account. Faults: `not_found`, also for another account's."""
    own = select(*PAYMENTS.c).where(PAYMENTS.c.account_id == account, PAYMENTS.c.id == payment)
    async with database.begin(reading=True) as connection:
        row = (await connection.execute(own)).first()
    if row is None:
        raise Fault("not_found", f"The account has no payment {payment[:64]!r}.")
    return _payment_from_row(row)


async def list_payments(database: Database, account: str) -> list[Payment]:
    """The payments of an account, newest first. Faults: `unavailable`."""
    own = select(*PAYMENTS.c).where(PAYMENTS.c.account_id == account)
    newest_first = own.order_by(PAYMENTS.c.created_ms.desc()).limit(MAX_ROWS)
    async with database.begin(reading=True) as connection:
        return [_payment_from_row(row) for row in (await connection.execute(newest_first)).all()]


async def account_of_payment(database: Database, payment: str) -> str:
    """The account of a payment, for the operator. Faults: `not_found`."""
    own = select(PAYMENTS.c.account_id).where(PAYMENTS.c.id == payment)
    async with database.begin(reading=True) as connection:
        account = (await connection.execute(own)).scalar()
    if account is None:
        raise Fault("not_found", f"There is no payment {payment[:64]!r}.")
    return str(account)


def _payment_from_row(row: Any) -> Payment:
    return Payment(
        id=row.id,
        account=row.account_id,
        source=row.source,
        amount=row.amount,
        refunded=row.refunded,
        status=row.status,
        created_ms=row.created_ms,
    )
