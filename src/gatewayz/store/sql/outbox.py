"""The outbox in the database: what wallets and budgets have crossed becomes notices, each written once.

A look is one query over the accounts that have a webhook, so calls pay nothing for it. What was told stands beside it
(`notice_marks`) and is changed in the transaction that writes the notice, while the webhook's row is locked.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.clock import Clock
from gatewayz.core.faults import Fault
from gatewayz.core.money import Nanos, usd_text
from gatewayz.core.secrets import Secret
from gatewayz.ledger.values import Budget
from gatewayz.ports.outbox import Letter
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.budgets import lasting
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.tables import BUDGETS, NOTICE_MARKS, NOTICES, WALLETS, WEBHOOKS
from gatewayz.store.sql.webhooks import notice_row, vault

BALANCE = "balance"
LOW, REACHED = "balance.low", "budget.reached"
MAX_CROSSINGS = 500
"""Taken up by one look; the next look takes the others."""
AT_ONCE = 16
"""Notices that one process sends at a time."""
LEASE_MS = 60_000
"""Longer than any attempt: after it another process may send the notice again, under the same id."""
KEPT_MS = 30 * 86_400_000
"""How long a notice that was sent or has failed is shown."""
FORGET_EVERY_MS = 3_600_000
HOMELESS = "the account has no webhook any more"
SEALED = "its secret cannot be read any more; set the webhook again"


class SqlOutbox:
    """The port `Outbox`. `owner` names this process in its claims; `used_up` are budgets that have refused calls."""

    def __init__(
        self, database: Database, peppers: Peppers, clock: Clock, owner: str, used_up: set[str]
    ) -> None:
        self._database = database
        self._vault = vault(peppers)
        self._clock = clock
        self._owner = owner
        self._used_up = used_up
        self._forgot_ms = 0

    async def look(self) -> int:
        now = self._clock.wall_ms()
        used_up = sorted(self._used_up)[:MAX_CROSSINGS]
        async with self._database.begin(reading=True) as connection:
            low = await _rows(connection, _balances())
            reached = await _rows(connection, _budgets(used_up))
            waits = select(func.count()).where(NOTICES.c.state == "waiting")
            waiting = int((await connection.execute(waits)).scalar_one())
        found = sorted({row["account_id"] for row in (*low, *reached)})
        if found:
            waiting += await self._written(found, used_up, now)
        self._used_up.difference_update(used_up)
        if now - self._forgot_ms > FORGET_EVERY_MS:
            await self._forget(now)
        return waiting

    async def _written(self, found: Sequence[str], used_up: Sequence[str], now: int) -> int:
        """Looks again while nobody else may write these accounts' notices, and writes them."""
        count = 0
        lock = (
            select(WEBHOOKS.c.account_id)
            .where(WEBHOOKS.c.account_id.in_(found))
            .order_by(WEBHOOKS.c.account_id)
        )
        async with self._database.begin() as connection:
            await connection.execute(lock.with_for_update())
            ours = WEBHOOKS.c.account_id.in_(found)
            for row in await _rows(connection, _balances().where(ours)):
                count += await self._balance(connection, row, now)
            for row in await _rows(connection, _budgets(used_up).where(ours)):
                count += await self._budget(connection, row, used_up, now)
        return count

    async def _balance(self, connection: AsyncConnection, row: dict[str, Any], now: int) -> int:
        left, threshold = row["left_nanos"], row["low_balance"]
        low = left < threshold
        await self._mark(connection, row["account_id"], BALANCE, 100 if low else 0, 0, threshold)
        if not low:
            return 0
        told = {"account": row["account_id"], **_money(balance=left, threshold=threshold)}
        await connection.execute(
            NOTICES.insert().values(notice_row(row["account_id"], LOW, told, now))
        )
        return 1

    async def _budget(
        self, connection: AsyncConnection, row: dict[str, Any], used_up: Sequence[str], now: int
    ) -> int:  # fmt: skip
        names = {"subject": "subject", "account_id": "account", "limit_nanos": "limit"}
        given = {
            names.get(name, name): row[name]
            for name in ("subject", "account_id", "limit_nanos", *OF_A_BUDGET)
        }
        budget = Budget(**given)
        level = 100 if row["level"] and budget.subject in used_up else row["level"]
        await self._mark(
            connection, budget.account, budget.subject, level, budget.period_ms, budget.limit
        )
        if budget.at(now) is not budget:
            # Its period is over; whoever spends next begins another one.
            return 0
        told = {
            "account": budget.account,
            **_whose(budget),
            "period": budget.period,
            "since_ms": budget.period_ms,
            "percent": level,
            **_money(limit=budget.limit, spent=budget.spent),
        }
        await connection.execute(
            NOTICES.insert().values(notice_row(budget.account, REACHED, told, now))
        )
        return 1

    async def _mark(
        self,
        connection: AsyncConnection,
        account: str,
        subject: str,
        level: int,
        period_ms: int,
        limit: int,
    ) -> None:
        row = {
            "account_id": account,
            "subject": subject,
            "level": level,
            "period_ms": period_ms,
            "limit_nanos": limit,
        }
        await connection.execute(
            upsert(self._database, NOTICE_MARKS, row, ("level", "period_ms", "limit_nanos"))
        )

    async def _forget(self, now: int) -> None:
        """Takes away what is old, and what was told of budgets that are no more."""
        gone = and_(
            NOTICE_MARKS.c.subject != BALANCE,
            ~exists().where(BUDGETS.c.subject == NOTICE_MARKS.c.subject),
        )
        async with self._database.begin() as connection:
            await connection.execute(delete(NOTICES).where(NOTICES.c.ended_ms < now - KEPT_MS))
            await connection.execute(delete(NOTICE_MARKS).where(gone))
        self._forgot_ms = now

    async def claim(self) -> list[Letter]:
        now = self._clock.wall_ms()
        due = and_(
            NOTICES.c.state == "waiting", NOTICES.c.next_ms <= now, NOTICES.c.lease_until_ms <= now
        )
        first = (
            select(NOTICES.c.id).where(due).order_by(NOTICES.c.next_ms, NOTICES.c.id).limit(AT_ONCE)
        )
        async with self._database.begin(reading=True) as connection:
            if (await connection.execute(first)).first() is None:
                return []
        taken = (
            update(NOTICES)
            .where(NOTICES.c.id.in_(first.with_for_update(skip_locked=True)))
            .values(
                lease_owner=self._owner,
                lease_until_ms=now + LEASE_MS,
                attempts=NOTICES.c.attempts + 1,
            )
            .returning(
                NOTICES.c.id,
                NOTICES.c.account_id,
                NOTICES.c.kind,
                NOTICES.c.body,
                NOTICES.c.attempts,
            )
        )
        async with self._database.begin() as connection:
            rows = await _rows(connection, taken)
            mine = WEBHOOKS.c.account_id.in_({row["account_id"] for row in rows})
            hooks = {
                row["account_id"]: row
                for row in await _rows(connection, select(*WEBHOOKS.c).where(mine))
            }
        letters = []
        for row in rows:
            letter, why = self._letter(row, hooks.get(row["account_id"]))
            if why:
                await self.failed(letter, 0, why, None)
            else:
                letters.append(letter)
        return letters

    def _letter(self, row: dict[str, Any], hook: dict[str, Any] | None) -> tuple[Letter, str]:
        """What is to be sent, and why it cannot be."""
        account, secret, why = row["account_id"], "", "" if hook is not None else HOMELESS
        if hook is not None:
            try:
                secret = self._vault.opened(hook["secret"], account, account).decode()
            except Fault:
                why = SEALED
        letter = Letter(
            id=row["id"],
            account=account,
            kind=row["kind"],
            body=row["body"].encode(),
            url=hook["url"] if hook is not None else "",
            secret=Secret(secret),
            attempt=row["attempts"],
        )
        return letter, why

    async def delivered(self, letter: Letter, status: int) -> None:
        now = self._clock.wall_ms()
        await self._ended(
            letter, {"state": "delivered", "status": status, "why": "", "ended_ms": now}
        )

    async def failed(self, letter: Letter, status: int, why: str, wait_s: float | None) -> None:
        now = self._clock.wall_ms()
        over = (
            {"state": "failed", "ended_ms": now}
            if wait_s is None
            else {"next_ms": now + round(wait_s * 1_000)}
        )
        await self._ended(letter, {"status": status, "why": why, **over})

    async def _ended(self, letter: Letter, values: dict[str, Any]) -> None:
        """Gives the claim back, if it is still this one."""
        own = and_(
            NOTICES.c.id == letter.id,
            NOTICES.c.lease_owner == self._owner,
            NOTICES.c.attempts == letter.attempt,
            NOTICES.c.state == "waiting",
        )
        async with self._database.begin() as connection:
            await connection.execute(update(NOTICES).where(own).values(lease_until_ms=0, **values))


OF_A_BUDGET = ("period", "period_ms", "spent", "held")


def _balances() -> Select[Any]:
    """Accounts that are below their threshold and were not told, or were told and are not below it any more."""
    left = WALLETS.c.paid + WALLETS.c.promo + WALLETS.c.held - WALLETS.c.floor
    told = case(
        (NOTICE_MARKS.c.limit_nanos == WEBHOOKS.c.low_balance, NOTICE_MARKS.c.level), else_=0
    )
    mark = and_(
        NOTICE_MARKS.c.account_id == WEBHOOKS.c.account_id, NOTICE_MARKS.c.subject == BALANCE
    )
    crossed = or_(
        and_(left < WEBHOOKS.c.low_balance, told == 0),
        and_(left >= WEBHOOKS.c.low_balance, told > 0),
    )
    return (
        select(WEBHOOKS.c.account_id, WEBHOOKS.c.low_balance, left.label("left_nanos"))
        .join(WALLETS, WALLETS.c.account_id == WEBHOOKS.c.account_id)
        .outerjoin(NOTICE_MARKS, mark)
        .where(WEBHOOKS.c.low_balance.is_not(None), WALLETS.c.billing != "house", crossed)
        .limit(MAX_CROSSINGS)
    )


def _budgets(used_up: Sequence[str]) -> Select[Any]:
    """Budgets that have reached more of their limit than was told of this limit and this period."""
    spent, limit = BUDGETS.c.spent, BUDGETS.c.limit_nanos
    reached: ColumnElement[int] = case(
        (spent >= limit, 100), (spent >= limit - limit // 5, 80), else_=0
    )
    same = and_(
        NOTICE_MARKS.c.period_ms == BUDGETS.c.period_ms, NOTICE_MARKS.c.limit_nanos == limit
    )
    told: ColumnElement[int] = case((same, NOTICE_MARKS.c.level), else_=0)
    mark = and_(
        NOTICE_MARKS.c.account_id == BUDGETS.c.account_id,
        NOTICE_MARKS.c.subject == BUDGETS.c.subject,
    )
    refuses = and_(BUDGETS.c.subject.in_(used_up), reached > 0, told < 100)
    return (
        select(*BUDGETS.c, reached.label("level"))
        .join(WEBHOOKS, WEBHOOKS.c.account_id == BUDGETS.c.account_id)
        .outerjoin(NOTICE_MARKS, mark)
        .where(limit > 0, lasting(), or_(reached > told, refuses))
        .limit(MAX_CROSSINGS)
    )


async def _rows(connection: AsyncConnection, statement: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in (await connection.execute(statement)).mappings().all()]


def _money(**amounts: int) -> dict[str, Any]:
    """Each amount as text, and beside it in whole nano-dollars."""
    told: dict[str, Any] = {}
    for name, nanos in amounts.items():
        told |= {name: usd_text(Nanos(nanos)), f"{name}_nanos": nanos}
    return told


def _whose(budget: Budget) -> dict[str, str | None]:
    """A key's, an end user's, or neither: the account's own."""
    kind, _, name = budget.subject.partition(":")
    end_user = name.removeprefix(f"{budget.account}/") if kind == "user" else None
    return {"key": name if kind == "key" else None, "end_user": end_user}
