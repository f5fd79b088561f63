"""The outbox in the database: what wallets and budgets have crossed becomes notifications.

Each crossing is written once. A look is one query over the accounts that have a webhook, so calls
pay nothing for it. What an account was notified of stands beside it (`notice_marks`) and changes
in the transaction that writes the notification, while the webhook's row is locked.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.control.budgets import budget_from_columns
from gatewayz.control.crossings import BALANCE, select_low_balances, select_reached_budgets
from gatewayz.control.webhooks import notification_row, webhook_vault
from gatewayz.core.clock import DAY_MS, Clock
from gatewayz.core.money import money_fields
from gatewayz.core.secrets import Secret
from gatewayz.ledger.values import Budget
from gatewayz.ports.outbox import WebhookDelivery
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.tables import BUDGETS, NOTICE_MARKS, NOTICES, WEBHOOKS

LOW, REACHED = "balance.low", "budget.reached"
MAX_CROSSINGS = 500
"""Taken up by one look; the next look takes the others."""
MAX_CLAIMED = 16
"""Notifications that one process sends at a time."""
LEASE_MS = 60_000
"""Longer than any attempt: after it another process may send the notification, under its id."""
RETENTION_MS = 30 * DAY_MS
"""How long a notification that was sent or has failed is shown."""
DELETE_EVERY_MS = 3_600_000
NO_WEBHOOK = "the account has no webhook any more"
UNREADABLE = "its secret cannot be read any more; set the webhook again"

Columns = dict[str, Any]
"""A row by column name."""


class SqlOutbox:
    """The port `Outbox`.

    `owner` names this process in its claims; `exhausted_budgets` are the subjects of budgets that
    have refused calls, which the ledger adds to and each look takes from.
    """

    def __init__(
        self,
        database: Database,
        peppers: Peppers,
        clock: Clock,
        owner: str,
        exhausted_budgets: set[str],
    ) -> None:
        self._database = database
        self._vault = webhook_vault(peppers)
        self._clock = clock
        self._owner = owner
        self._exhausted_budgets = exhausted_budgets
        self._deleted_old_ms = 0

    async def enqueue_notifications(self) -> int:
        now_ms = self._clock.wall_ms()
        exhausted = sorted(self._exhausted_budgets)[:MAX_CROSSINGS]
        async with self._database.begin(reading=True) as connection:
            low = await _fetch_rows(connection, select_low_balances(MAX_CROSSINGS))
            reached = await _fetch_rows(
                connection, select_reached_budgets(exhausted, MAX_CROSSINGS)
            )
            waits = select(func.count()).where(NOTICES.c.state == "waiting")
            waiting = int((await connection.execute(waits)).scalar_one())

        accounts = sorted({row["account_id"] for row in (*low, *reached)})
        if accounts:
            waiting += await self._enqueue(accounts, exhausted, now_ms)
        self._exhausted_budgets.difference_update(exhausted)
        if now_ms - self._deleted_old_ms > DELETE_EVERY_MS:
            await self._delete_old(now_ms)
        return waiting

    async def _enqueue(self, accounts: Sequence[str], exhausted: Sequence[str], now_ms: int) -> int:
        """Looks again while nobody else may write these accounts' notifications, and writes them.

        How many were written.
        """
        own = WEBHOOKS.c.account_id.in_(accounts)
        # In the order of ids, so that two processes never wait for each other in a circle.
        lock = select(WEBHOOKS.c.account_id).where(own).order_by(WEBHOOKS.c.account_id)
        low = select_low_balances(MAX_CROSSINGS).where(own)
        reached = select_reached_budgets(exhausted, MAX_CROSSINGS).where(own)
        count = 0
        async with self._database.begin() as connection:
            await connection.execute(lock.with_for_update())
            for row in await _fetch_rows(connection, low):
                count += await self._enqueue_low_balance(connection, row, now_ms)
            for row in await _fetch_rows(connection, reached):
                count += await self._enqueue_budget(connection, row, exhausted, now_ms)
        return count

    async def _enqueue_low_balance(
        self, connection: AsyncConnection, row: Columns, now_ms: int
    ) -> int:
        account, left, threshold = row["account_id"], row["left_nanos"], row["low_balance"]
        is_low = left < threshold
        mark = {
            "account_id": account,
            "subject": BALANCE,
            "level": 100 if is_low else 0,
            "period_ms": 0,
            "limit_nanos": threshold,
        }
        await _put_mark(connection, mark)
        if not is_low:
            return 0

        payload = {"account": account, **money_fields(balance=left, threshold=threshold)}
        await connection.execute(
            NOTICES.insert().values(notification_row(account, LOW, payload, now_ms))
        )
        return 1

    async def _enqueue_budget(
        self, connection: AsyncConnection, row: Columns, exhausted: Sequence[str], now_ms: int
    ) -> int:
        budget = budget_from_columns(row)
        level = 100 if row["level"] and budget.subject in exhausted else row["level"]
        mark = {
            "account_id": budget.account,
            "subject": budget.subject,
            "level": level,
            "period_ms": budget.period_start_ms,
            "limit_nanos": budget.limit,
        }
        await _put_mark(connection, mark)
        if budget.at(now_ms) is not budget:
            # Its period is over; whoever spends next begins another one.
            return 0

        payload = {
            "account": budget.account,
            **_budget_owner(budget),
            "period": budget.period,
            "since_ms": budget.period_start_ms,
            "percent": level,
            **money_fields(limit=budget.limit, spent=budget.spent),
        }
        await connection.execute(
            NOTICES.insert().values(notification_row(budget.account, REACHED, payload, now_ms))
        )
        return 1

    async def _delete_old(self, now_ms: int) -> None:
        """Deletes what is old, and the marks of budgets that are no more."""
        budget_gone = and_(
            NOTICE_MARKS.c.subject != BALANCE,
            ~exists().where(BUDGETS.c.subject == NOTICE_MARKS.c.subject),
        )
        old = NOTICES.c.ended_ms < now_ms - RETENTION_MS
        async with self._database.begin() as connection:
            await connection.execute(delete(NOTICES).where(old))
            await connection.execute(delete(NOTICE_MARKS).where(budget_gone))
        self._deleted_old_ms = now_ms

    async def claim(self) -> list[WebhookDelivery]:
        now_ms = self._clock.wall_ms()
        due = (
            select(NOTICES.c.id)
            .where(
                NOTICES.c.state == "waiting",
                NOTICES.c.next_ms <= now_ms,
                NOTICES.c.lease_until_ms <= now_ms,
            )
            .order_by(NOTICES.c.next_ms, NOTICES.c.id)
            .limit(MAX_CLAIMED)
        )
        async with self._database.begin(reading=True) as connection:
            # Mostly nothing is due, and SQLite has one writer: ask before writing.
            if (await connection.execute(due)).first() is None:
                return []

        leased = (
            update(NOTICES)
            .where(NOTICES.c.id.in_(due.with_for_update(skip_locked=True)))
            .values(
                lease_owner=self._owner,
                lease_until_ms=now_ms + LEASE_MS,
                attempts=NOTICES.c.attempts + 1,
            )
            .returning(*NOTICES.c)
        )
        async with self._database.begin() as connection:
            rows = await _fetch_rows(connection, leased)
            own = WEBHOOKS.c.account_id.in_({row["account_id"] for row in rows})
            webhooks = {
                row["account_id"]: row
                for row in await _fetch_rows(connection, select(*WEBHOOKS.c).where(own))
            }

        deliveries = []
        for row in rows:
            delivery, problem = self._delivery_from_row(row, webhooks.get(row["account_id"]))
            if problem:
                await self.mark_failed(delivery, 0, problem, None)
            else:
                deliveries.append(delivery)
        return deliveries

    def _delivery_from_row(
        self, row: Columns, webhook: Columns | None
    ) -> tuple[WebhookDelivery, str]:
        """What is to be sent, and why it cannot be (empty when it can)."""
        account, secret, problem = row["account_id"], b"", ""
        if webhook is None:
            problem = NO_WEBHOOK
        else:
            decrypted = self._vault.decrypt(webhook["secret"], account, account)
            secret, problem = (b"", UNREADABLE) if decrypted is None else (decrypted, "")
        delivery = WebhookDelivery(
            id=row["id"],
            account=account,
            kind=row["kind"],
            body=row["body"].encode(),
            url=webhook["url"] if webhook is not None else "",
            secret=Secret(secret.decode()),
            attempt=row["attempts"],
        )
        return delivery, problem

    async def mark_delivered(self, delivery: WebhookDelivery, status: int) -> None:
        ended = {"state": "delivered", "ended_ms": self._clock.wall_ms()}
        await self._finish_attempt(delivery, {"status": status, "why": "", **ended})

    async def mark_failed(
        self, delivery: WebhookDelivery, status: int, why: str, wait_s: float | None
    ) -> None:
        now_ms = self._clock.wall_ms()
        if wait_s is None:
            fate: Columns = {"state": "failed", "ended_ms": now_ms}
        else:
            fate = {"next_ms": now_ms + round(wait_s * 1_000)}
        await self._finish_attempt(delivery, {"status": status, "why": why, **fate})

    async def _finish_attempt(self, delivery: WebhookDelivery, values: Columns) -> None:
        """Gives the claim back, if it is still this one: its lease may have run out meanwhile."""
        own = and_(
            NOTICES.c.id == delivery.id,
            NOTICES.c.lease_owner == self._owner,
            NOTICES.c.attempts == delivery.attempt,
            NOTICES.c.state == "waiting",
        )
        async with self._database.begin() as connection:
            await connection.execute(update(NOTICES).where(own).values(lease_until_ms=0, **values))


async def _put_mark(connection: AsyncConnection, mark: Columns) -> None:
    """What the account was notified of last, in the place of what it was before."""
    changed = ("level", "period_ms", "limit_nanos")
    await connection.execute(upsert(connection, NOTICE_MARKS, mark, changed))


async def _fetch_rows(connection: AsyncConnection, statement: Any) -> list[Columns]:
    return [dict(row) for row in (await connection.execute(statement)).mappings().all()]


def _budget_owner(budget: Budget) -> dict[str, str | None]:
    """A key's, an end user's, or neither: the account's own."""
    kind, _, name = budget.subject.partition(":")
    end_user = name.removeprefix(f"{budget.account}/") if kind == "user" else None
    return {"key": name if kind == "key" else None, "end_user": end_user}
