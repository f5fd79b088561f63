"""Credit: money in and out of wallets, as somebody asks for it.

The ledger moves it; the audit log has its entry before. Each movement has an id of its own (a
payment's, a grant's, a refund's), so asking again moves nothing again.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import select, update

from gatewayz.control import accounts
from gatewayz.control.audit import AuditEvent
from gatewayz.control.payments import Payment, get_payment
from gatewayz.control.transactions import ControlTransaction
from gatewayz.control.transfers import amount_moved, payment_refund_total, refundable_charge
from gatewayz.core.calls import new_ulid
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.ledger.orders import MoveOrder
from gatewayz.ledger.values import ADJUSTMENTS, INCOME, PROMO_EXPENSE
from gatewayz.store.sql.database import upsert
from gatewayz.store.sql.ledger.group_commit import GroupCommit
from gatewayz.store.sql.tables import PAYMENTS

NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
MAX_NOTE = 500
REFUND_RETRY_S = 2.0
"""`Retry-After` for the refund of a payment of which another refund is under way."""


class MoveResult(Struct, frozen=True):
    """What became of a request: its id, how many nano-dollars moved, and whether just now.

    Example: MoveResult("welcome", Nanos(5 * 10**9))
    """

    id: str
    amount: Nanos
    fresh: bool = True


class Credits:
    """Moves money through the ledger's queue, each movement after its audit entry."""

    def __init__(self, transaction: ControlTransaction, commits: GroupCommit) -> None:
        self._transaction = transaction
        self._database = transaction.database
        self._commits = commits

    async def topup(
        self, account: str, amount: Nanos, source: str, external: str = ""
    ) -> MoveResult:
        """Books money that was paid; a payment is booked once, under SOURCE:EXTERNAL.

        Faults: `bad_request`, `not_found`.
        """
        external = _name_or_new(external)
        payment = f"{_name_or_new(source)}:{external}"
        await self._insert_payment(payment, account, source, _check_positive(amount))
        order = MoveOrder(
            id=f"topup:{payment}",
            account=account,
            kind="topup",
            counter=f"cash:{source}",
            amount=amount,
        )
        moved = await self._move(order, {"payment": payment})
        await self._update_payment(account, payment, "pending", {"status": "paid"})
        return MoveResult(payment, moved.amount, moved.fresh)

    async def _insert_payment(self, payment: str, account: str, source: str, amount: Nanos) -> None:
        """The payment's row, before the money; one that is there must be the same payment."""
        await accounts.get_account(self._database, account)
        row = {
            "id": payment,
            "account_id": account,
            "source": source,
            "amount": amount,
            "status": "pending",
            "created_ms": self._transaction.clock.wall_ms(),
        }
        async with self._database.begin() as connection:
            await connection.execute(upsert(connection, PAYMENTS, row))
            same = select(PAYMENTS.c.account_id, PAYMENTS.c.amount).where(PAYMENTS.c.id == payment)
            stored = (await connection.execute(same)).one()
        if (stored.account_id, stored.amount) != (account, amount):
            known = f"${usd_text(Nanos(stored.amount))} of the account {stored.account_id}"
            raise Fault(
                "bad_request",
                f"The payment {payment} is known as {known}; another one needs another id.",
            )

    async def grant(
        self, account: str, amount: Nanos, expires_ms: int | None = None, name: str = ""
    ) -> MoveResult:
        """Gives money, which is spent before what was paid, until it expires.

        Faults: `bad_request`, `not_found`.
        """
        if expires_ms is not None and expires_ms <= self._transaction.clock.wall_ms():
            raise Fault("bad_request", "A grant cannot expire in the past.")
        order = MoveOrder(
            id=f"grant:{_name_or_new(name)}",
            account=account,
            kind="grant",
            counter=PROMO_EXPENSE,
            amount=_check_positive(amount),
            side="promo",
            expires_ms=expires_ms,
        )
        return await self._move(order, {"expires_ms": expires_ms})

    async def adjust(self, account: str, amount: Nanos, why: str, name: str = "") -> MoveResult:
        """Corrects a wallet, up or down, never by more than there is.

        Faults: `bad_request`, `not_found`.
        """
        if not 0 < len(why) <= MAX_NOTE:
            raise Fault(
                "bad_request", f"A correction needs a reason of at most {MAX_NOTE} characters."
            )
        order = MoveOrder(
            id=f"adjust:{_name_or_new(name)}",
            account=account,
            kind="adjust",
            counter=ADJUSTMENTS,
            amount=amount,
            exact=True,
            note=why,
        )
        return await self._move(order, {"why": why})

    async def refund_call(
        self, account: str, call: str, amount: Nanos | None = None, name: str = ""
    ) -> MoveResult:
        """Gives a call's charge back, all that is left of it or a part.

        What was paid goes back first, then what was given: never more than was charged, and what
        came out of a grant goes back to the grants. Faults: `bad_request`, `not_found`.
        """
        name = _name_or_new(name)
        stem = f"refund:{call}:{name}"
        left = await refundable_charge(self._database, account, call)
        before = 0
        for side in ("paid", "promo"):
            before += await amount_moved(self._database, account, f"{stem}:{side}")

        # A refund that was broken off after one side goes on with what is left of it.
        rest = left.paid + left.promo if amount is None else _check_positive(amount) - before
        if rest <= 0 and before:
            return MoveResult(name, Nanos(before), fresh=False)
        if not 0 < rest <= left.paid + left.promo:
            refundable = usd_text(Nanos(left.paid + left.promo))
            raise Fault(
                "bad_request",
                f"${refundable} of what the call took from the wallet is left to give back.",
            )

        paid = min(rest, left.paid)
        await self._refund_side(f"{stem}:paid", account, call, "paid", paid)
        await self._refund_side(f"{stem}:promo", account, call, "promo", rest - paid)
        return MoveResult(name, Nanos(before + rest))

    async def _refund_side(
        self, transfer: str, account: str, call: str, side: Literal["paid", "promo"], amount: int
    ) -> None:
        if not amount:
            return
        order = MoveOrder(
            id=transfer,
            account=account,
            kind="refund_call",
            counter=INCOME,
            amount=Nanos(amount),
            side=side,
            refunds=call,
        )
        await self._move(order, {"call": call})

    async def refund_payment(
        self,
        account: str,
        payment: str,
        amount: Nanos | None = None,
        name: str = "",
        *,
        chargeback: bool = False,
    ) -> MoveResult:
        """Money that goes back to whoever paid, or (`chargeback`) was taken back by their bank.

        As far as the wallet reaches, once per name. Faults: `bad_request`, `not_found`,
        `in_flight` while another refund of the payment is under way.
        """
        name = _name_or_new(name)
        kind: Literal["chargeback", "refund"] = "chargeback" if chargeback else "refund"
        transfer = f"{kind}:{payment}:{name}"
        paid = await get_payment(self._database, account, payment)
        before = await amount_moved(self._database, account, transfer)
        if before:
            return MoveResult(name, Nanos(-before), fresh=False)

        await self._begin_refund(account, payment, name)
        refunded = await payment_refund_total(self._database, account, payment)
        try:
            requested = _refundable_amount(paid, refunded, amount)
            order = MoveOrder(
                id=transfer,
                account=account,
                kind=kind,
                counter=f"cash:{paid.source}",
                amount=Nanos(-requested),
                note=payment,
            )
            moved = await self._move(order, {"payment": payment})
            refunded += abs(moved.amount)
        finally:
            # Whatever happened, the payment is free for another refund.
            status = "refunded" if refunded == paid.amount else "paid"
            values = {"refunded": refunded, "status": status}
            await self._update_payment(account, payment, f"refunding:{name}", values)
        return MoveResult(name, Nanos(abs(moved.amount)))

    async def _begin_refund(self, account: str, payment: str, name: str) -> None:
        """One refund of a payment at a time; one that was broken off goes on under its name."""
        refunding = f"refunding:{name}"
        own = update(PAYMENTS).where(PAYMENTS.c.account_id == account, PAYMENTS.c.id == payment)
        free = own.where(PAYMENTS.c.status.in_(("paid", "refunded", refunding)))
        async with self._database.begin() as connection:
            if not (await connection.execute(free.values(status=refunding))).rowcount:
                message = "The payment is not booked yet, or another refund of it is under way."
                raise Fault("in_flight", message, retry_after_s=REFUND_RETRY_S)

    async def _update_payment(
        self, account: str, payment: str, status: str, values: Mapping[str, Any]
    ) -> None:
        """Changes the row of a payment that is still in this status."""
        own = update(PAYMENTS).where(PAYMENTS.c.account_id == account, PAYMENTS.c.id == payment)
        async with self._database.begin() as connection:
            await connection.execute(own.where(PAYMENTS.c.status == status).values(**values))

    async def _move(self, order: MoveOrder, detail: Mapping[str, Any]) -> MoveResult:
        """Writes the audit entry, then moves; what has moved before is not entered or moved again.

        The entry comes first, in a transaction of its own: nothing ever moves without one.
        """
        await accounts.get_account(self._database, order.account)
        name = order.id.partition(":")[2]
        before = await amount_moved(self._database, order.account, order.id)
        if before:
            if before != order.amount:
                amount = usd_text(Nanos(before))
                raise Fault("bad_request", f"{order.id} has moved ${amount}; use another id.")
            return MoveResult(name, Nanos(before), fresh=False)

        await self._log(order, order.kind, {"amount_nanos": order.amount, **detail})
        result = await self._commits.put(order)
        if result.fault is not None:
            await self._log(order, "refused", {"why": result.fault.message})
            raise result.fault
        return MoveResult(name, result.moved if result.applied else order.amount, result.applied)

    async def _log(self, order: MoveOrder, what: str, detail: Mapping[str, Any]) -> None:
        event = AuditEvent(
            action=f"credit.{what}", subject=order.id, account=order.account, detail=detail
        )
        await self._transaction.commit_event(event)


def _check_positive(amount: Nanos) -> Nanos:
    if amount <= 0:
        raise Fault("bad_request", "The amount must be above zero.")
    return amount


def _refundable_amount(payment: Payment, refunded: int, amount: Nanos | None) -> int:
    """How much of a payment goes back: the amount, or all that is left. Faults: `bad_request`."""
    left = payment.amount - refunded
    requested = left if amount is None else _check_positive(amount)
    if not 0 < requested <= left:
        raise Fault("bad_request", f"${usd_text(Nanos(left))} of the payment is left to give back.")
    return requested


def _name_or_new(name: str) -> str:
    """A name that was given, or a new one. Faults: `bad_request`."""
    if name and NAME.fullmatch(name) is None:
        raise Fault(
            "bad_request",
            f"{name[:64]!r} is no id: an id has 1 to 100 letters, digits, dots, _ and -.",
        )
    return name or new_ulid()
