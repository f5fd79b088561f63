"""Credit: money in and out of wallets as somebody asks for it. The ledger moves it; the log is told before.

Each movement has a name of its own (a payment's id, a grant's, a refund's), so asking again moves nothing again.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import func, select, update

from gatewayz.core.calls import new_ulid
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.ledger.orders import Move
from gatewayz.ledger.values import ADJUSTMENTS, INCOME, PROMO_EXPENSE, paid_of, promo_of
from gatewayz.store.sql import accounts
from gatewayz.store.sql.audit import Deed
from gatewayz.store.sql.commits import GroupCommit
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.desk import Desk
from gatewayz.store.sql.slices import Cut, Slice, sliced
from gatewayz.store.sql.tables import CALLS, GRANTS, PAYMENTS, TRANSFERS

NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
MAX_NOTE = 500
MAX_LISTED = 1_000
HOLD_BACK_S = 2.0


class Moved(Struct, frozen=True):
    """What became of a request: its name, how much moved, and whether it was now or before."""

    id: str
    amount: Nanos
    fresh: bool = True


class Payment(Struct, frozen=True, kw_only=True):
    """Money that came in from outside. `id` is SOURCE:ID, `refunded` what went back."""

    id: str
    account: str
    source: str
    amount: int
    refunded: int
    status: str
    created_ms: int


class Charge(Struct, frozen=True):
    """What a call took from each side of the wallet and has not been given back."""

    paid: int
    promo: int


class Teller:
    """Asks the ledger for movements, and tells the log before."""

    def __init__(self, desk: Desk, commits: GroupCommit) -> None:
        self._desk = desk
        self._commits = commits

    async def topup(self, account: str, amount: Nanos, source: str, external: str = "") -> Moved:
        """Money that was paid; a payment is booked once. Faults: `bad_request`, `unknown_route`."""
        external = _named(external)
        payment = f"{_named(source)}:{external}"
        await self._expect(payment, account, source, _positive(amount))
        order = Move(
            id=f"topup:{payment}",
            account=account,
            kind="topup",
            counter=f"cash:{source}",
            amount=amount,
        )
        moved = await self._moved(order, {"payment": payment})
        await self._set_payment(account, payment, "pending", {"status": "paid"})
        return Moved(payment, moved.amount, moved.fresh)

    async def _expect(self, payment: str, account: str, source: str, amount: Nanos) -> None:
        """The payment's row, before the money; one that is there must be the same payment."""
        await accounts.one(self._desk.database, account)
        row = {
            "id": payment,
            "account_id": account,
            "source": source,
            "amount": amount,
            "status": "pending",
        }
        async with self._desk.database.begin() as connection:
            created = {"created_ms": self._desk.clock.wall_ms()}
            await connection.execute(upsert(self._desk.database, PAYMENTS, row | created))
            same = select(PAYMENTS.c.account_id, PAYMENTS.c.amount).where(PAYMENTS.c.id == payment)
            found = (await connection.execute(same)).one()
        if tuple(found) != (account, amount):
            was = f"${usd_text(Nanos(found.amount))} of the account {found.account_id}"
            raise Fault(
                "bad_request",
                f"The payment {payment} is known as {was}; another one needs another id.",
            )

    async def grant(
        self, account: str, amount: Nanos, expires_ms: int | None = None, name: str = ""
    ) -> Moved:
        """Money given, spent before what was paid, until it expires. Faults: `bad_request`, `unknown_route`."""
        if expires_ms is not None and expires_ms <= self._desk.clock.wall_ms():
            raise Fault("bad_request", "A grant cannot expire in the past.")
        order = Move(
            id=f"grant:{_named(name)}",
            account=account,
            kind="grant",
            counter=PROMO_EXPENSE,
            amount=_positive(amount),
            side="promo",
            expires_ms=expires_ms,
        )
        return await self._moved(order, {"expires_ms": expires_ms})

    async def adjust(self, account: str, amount: Nanos, why: str, name: str = "") -> Moved:
        """A correction, up or down, never by more than there is. Faults: `bad_request`, `unknown_route`."""
        if not 0 < len(why) <= MAX_NOTE:
            raise Fault(
                "bad_request", f"A correction needs a reason of at most {MAX_NOTE} characters."
            )
        order = Move(
            id=f"adjust:{_named(name)}",
            account=account,
            kind="adjust",
            counter=ADJUSTMENTS,
            amount=amount,
            exact=True,
            note=why,
        )
        return await self._moved(order, {"why": why})

    async def refund_call(
        self, account: str, call: str, amount: Nanos | None = None, name: str = ""
    ) -> Moved:
        """Gives a call's charge back, all that is left of it or a part: what was paid first, then what was given.

        Never more than was charged, and what came out of a grant goes back to the grants. Faults: `bad_request`,
        `unknown_route`.
        """
        name = _named(name)
        stem = f"refund:{call}:{name}"
        left = await charge_left(self._desk.database, account, call)
        before = await self._before(account, f"{stem}:paid") + await self._before(
            account, f"{stem}:promo"
        )
        rest = left.paid + left.promo if amount is None else _positive(amount) - before
        if rest <= 0 and before:
            return Moved(name, Nanos(before), fresh=False)
        if not 0 < rest <= left.paid + left.promo:
            had = usd_text(Nanos(left.paid + left.promo))
            raise Fault(
                "bad_request", f"${had} of what the call took from the wallet is left to give back."
            )
        paid = min(rest, left.paid)
        for side, part in (("paid", paid), ("promo", rest - paid)):
            if part:
                order = Move(
                    id=f"{stem}:{side}",
                    account=account,
                    kind="refund_call",
                    counter=INCOME,
                    amount=Nanos(part),
                    side="promo" if side == "promo" else "paid",
                    refunds=call,
                )
                await self._moved(order, {"call": call})
        return Moved(name, Nanos(before + rest))

    async def refund_payment(
        self,
        account: str,
        payment: str,
        amount: Nanos | None = None,
        name: str = "",
        *,
        chargeback: bool = False,
    ) -> Moved:
        """Money that goes back to whoever paid, or was taken back: as far as the wallet reaches, once per name.

        Faults: `bad_request`, `unknown_route`, `in_flight` while another refund of the payment is under way.
        """
        name = _named(name)
        kind: Literal["chargeback", "refund"] = "chargeback" if chargeback else "refund"
        transfer = f"{kind}:{payment}:{name}"
        paid = await one_payment(self._desk.database, account, payment)
        before = await self._before(account, transfer)
        if before:
            return Moved(name, Nanos(-before), fresh=False)
        await self._claim(account, payment, name)
        gone = await self._gone(account, payment)
        wanted = Nanos(paid.amount - gone) if amount is None else _positive(amount)
        try:
            if not 0 < wanted <= paid.amount - gone:
                raise Fault(
                    "bad_request",
                    f"${usd_text(Nanos(paid.amount - gone))} of the payment is left to give back.",
                )
            order = Move(
                id=transfer,
                account=account,
                kind=kind,
                counter=f"cash:{paid.source}",
                amount=Nanos(-wanted),
                note=payment,
            )
            moved = await self._moved(order, {"payment": payment})
            gone += abs(moved.amount)
        finally:
            done = {"refunded": gone, "status": "refunded" if gone == paid.amount else "paid"}
            await self._set_payment(account, payment, f"refunding:{name}", done)
        return Moved(name, Nanos(abs(moved.amount)))

    async def _claim(self, account: str, payment: str, name: str) -> None:
        """One refund of a payment at a time; one that was broken off goes on under its name."""
        own = update(PAYMENTS).where(PAYMENTS.c.account_id == account, PAYMENTS.c.id == payment)
        free = own.where(PAYMENTS.c.status.in_(("paid", "refunded", f"refunding:{name}")))
        async with self._desk.database.begin() as connection:
            if not (await connection.execute(free.values(status=f"refunding:{name}"))).rowcount:
                why = "The payment is not booked yet, or another refund of it is under way."
                raise Fault("in_flight", why, retry_after_s=HOLD_BACK_S)

    async def _set_payment(
        self, account: str, payment: str, was: str, values: Mapping[str, Any]
    ) -> None:
        own = update(PAYMENTS).where(PAYMENTS.c.account_id == account, PAYMENTS.c.id == payment)
        async with self._desk.database.begin() as connection:
            await connection.execute(own.where(PAYMENTS.c.status == was).values(**values))

    async def _gone(self, account: str, payment: str) -> int:
        back = select(func.coalesce(func.sum(TRANSFERS.c.amount), 0)).where(
            TRANSFERS.c.account_id == account
        )
        of_it = back.where(
            TRANSFERS.c.kind.in_(("refund", "chargeback")), TRANSFERS.c.note == payment
        )
        async with self._desk.database.begin(reading=True) as connection:
            return int((await connection.execute(of_it)).scalar_one())

    async def _before(self, account: str, transfer: str) -> int:
        """What has moved under this id, below zero if out of it. Faults: `bad_request` for another account's."""
        columns = (TRANSFERS.c.account_id, TRANSFERS.c.amount, TRANSFERS.c.credit)
        same = select(*columns).where(TRANSFERS.c.id == transfer)
        async with self._desk.database.begin(reading=True) as connection:
            found = (await connection.execute(same)).first()
        if found is not None and found.account_id != account:
            why = f"{transfer} is known as the account {found.account_id}'s; something else needs another id."
            raise Fault("bad_request", why)
        if found is None:
            return 0
        return int(
            found.amount if found.credit in {paid_of(account), promo_of(account)} else -found.amount
        )

    async def _moved(self, order: Move, detail: Mapping[str, Any]) -> Moved:
        """Tells the log, then moves; what has moved before is neither told nor moved again."""
        await accounts.one(self._desk.database, order.account)
        name = order.id.partition(":")[2]
        if before := await self._before(order.account, order.id):
            if before != order.amount:
                was = usd_text(Nanos(before))
                raise Fault(
                    "bad_request", f"{order.id} has moved ${was}; something else needs another id."
                )
            return Moved(name, Nanos(before), fresh=False)
        told = {"amount_nanos": order.amount, **detail}
        await self._desk.tell(
            Deed(
                action=f"credit.{order.kind}", subject=order.id, account=order.account, detail=told
            )
        )
        done = await self._commits.put(order)
        if done.fault is not None:
            why = {"why": done.fault.message}
            await self._desk.tell(
                Deed(action="credit.refused", subject=order.id, account=order.account, detail=why)
            )
            raise done.fault
        return Moved(name, done.moved if done.fresh else order.amount, done.fresh)


def _positive(amount: Nanos) -> Nanos:
    if amount <= 0:
        raise Fault("bad_request", "The amount must be above zero.")
    return amount


def _named(name: str) -> str:
    """A name that was given, or a new one."""
    if name and NAME.fullmatch(name) is None:
        raise Fault(
            "bad_request", f"{name[:64]!r} is no id: 1 to 100 letters, digits, and . _ - are."
        )
    return name or new_ulid()


async def charge_left(database: Database, account: str, call: str) -> Charge:
    """What is left to give back of a call that has ended. Faults: `unknown_route` for none of the account."""
    record = select(CALLS.c.id).where(CALLS.c.account_id == account, CALLS.c.id == call)
    booked = select(TRANSFERS.c.debit, TRANSFERS.c.credit, TRANSFERS.c.amount).where(
        TRANSFERS.c.call_id == call
    )
    async with database.begin(reading=True) as connection:
        if (await connection.execute(record)).first() is None:
            raise Fault("unknown_route", f"There is no call {call[:64]!r} that has ended.")
        rows = (await connection.execute(booked.where(TRANSFERS.c.account_id == account))).all()
    return Charge(_taken(rows, paid_of(account)), _taken(rows, promo_of(account)))


def _taken(rows: Sequence[Any], side: str) -> int:
    return sum(amount * ((debit == side) - (credit == side)) for debit, credit, amount in rows)


async def one_payment(database: Database, account: str, payment: str) -> Payment:
    """Faults: `unknown_route`, also for another account's."""
    found = [one for one in await payments(database, account) if one.id == payment]
    if not found:
        raise Fault("unknown_route", f"The account has no payment {payment[:64]!r}.")
    return found[0]


async def payments(database: Database, account: str) -> list[Payment]:
    """The payments of an account, newest first."""
    columns = [
        PAYMENTS.c[name]
        for name in ("id", "account_id", "source", "amount", "refunded", "status", "created_ms")
    ]
    wanted = (
        select(*columns)
        .where(PAYMENTS.c.account_id == account)
        .order_by(PAYMENTS.c.created_ms.desc())
    )
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(wanted.limit(MAX_LISTED))).all()
    return [Payment(**dict(zip(Payment.__struct_fields__, row, strict=True))) for row in rows]


async def payment_owner(database: Database, payment: str) -> str:
    """Whose a payment is, for the operator. Faults: `unknown_route`."""
    async with database.begin(reading=True) as connection:
        found = (
            await connection.execute(select(PAYMENTS.c.account_id).where(PAYMENTS.c.id == payment))
        ).scalar()
    if found is None:
        raise Fault("unknown_route", f"There is no payment {payment[:64]!r}.")
    return str(found)


async def grants(database: Database, account: str) -> list[dict[str, Any]]:
    """What was given to an account, newest first."""
    wanted = select(GRANTS.c.id, GRANTS.c.amount, GRANTS.c.expires_ms, GRANTS.c.created_ms)
    own = (
        wanted.where(GRANTS.c.account_id == account)
        .order_by(GRANTS.c.created_ms.desc())
        .limit(MAX_LISTED)
    )
    async with database.begin(reading=True) as connection:
        return [dict(row) for row in (await connection.execute(own)).mappings().all()]


async def transfers(database: Database, account: str, limit: int) -> list[dict[str, Any]]:
    """The newest movements of an account, oldest first."""
    own = select(*TRANSFERS.c).where(TRANSFERS.c.account_id == account)
    newest = own.order_by(TRANSFERS.c.at_ms.desc(), TRANSFERS.c.id.desc()).limit(limit)
    async with database.begin(reading=True) as connection:
        return [dict(row) for row in reversed((await connection.execute(newest)).mappings().all())]


async def booked(database: Database, account: str, cut: Cut) -> Slice:
    """A slice of what was booked, the newest first; of every account if none is named."""
    wanted = (
        select(*TRANSFERS.c).where(TRANSFERS.c.account_id == account)
        if account
        else select(*TRANSFERS.c)
    )
    return await sliced(
        database, wanted, (TRANSFERS.c.at_ms, TRANSFERS.c.id), replace(cut, newest_first=True)
    )
