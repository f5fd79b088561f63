"""Webhooks of accounts: where notifications go, under which secret, below which balance.

The secret is shown when it is made and never again; the database holds it encrypted for its
account's row alone.
"""

import os
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import and_, delete, func, or_, select

from gatewayz.control import accounts
from gatewayz.control.audit import AuditEvent
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.calls import new_ulid
from gatewayz.core.clock import DAY_MS, time_text
from gatewayz.core.faults import Fault
from gatewayz.core.money import MAX_USD, NANOS_PER_USD, Nanos
from gatewayz.core.pagination import Cursor, Page
from gatewayz.core.webhooks import SECRET_BYTES, secret_from_text, secret_text, validate_webhook_url
from gatewayz.dialects.kit.jsontext import encode_json
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.pagination import paginate
from gatewayz.store.sql.tables import NOTICE_MARKS, NOTICES, WEBHOOKS
from gatewayz.store.sql.vault import Vault

MAX_TESTS = 5
"""Tests of an account that may wait at a time."""
TEST_RETRY_S = 30.0
TEST_KIND = "webhook.test"
UNDELIVERED_MS = 7 * DAY_MS
"""How far back notifications that did not arrive are counted."""
MAX_UNDELIVERED = 100


class Webhook(Struct, frozen=True, kw_only=True):
    """Where an account's notifications go, and how many of them are `waiting` or have `failed`.

    Example: Webhook(account="acme", url="https://acme.example/hook", low_balance=Nanos(10**9),
    created_ms=1795559244228, changed_ms=1795559244228, waiting=1)
    """

    account: str
    url: str
    low_balance: Nanos | None
    created_ms: int
    changed_ms: int
    waiting: int = 0
    failed: int = 0


class WebhookSpec(Struct, frozen=True, kw_only=True):
    """What a webhook shall be. Without a secret the one that is there stays, or one is made.

    Example: WebhookSpec(url="https://acme.example/hook", low_balance=Nanos(10**9))
    """

    url: str
    secret: str = ""
    low_balance: Nanos | None = None


def webhook_vault(peppers: Peppers) -> Vault:
    """What the secrets of webhooks are encrypted with; the table's name is part of it."""
    return Vault(peppers, WEBHOOKS.name)


async def get_webhook(database: Database, account: str) -> Webhook:
    """The webhook of an account. Faults: `not_found` for one without, `unavailable`."""
    own = select(*WEBHOOKS.c).where(WEBHOOKS.c.account_id == account)
    by_state = (
        select(NOTICES.c.state, func.count().label("notifications"))
        .where(NOTICES.c.account_id == account)
        .group_by(NOTICES.c.state)
    )
    async with database.begin(reading=True) as connection:
        row = (await connection.execute(own)).first()
        if row is None:
            raise webhook_not_found(account)
        states = (await connection.execute(by_state)).all()
    counts = {row.state: row.notifications for row in states}
    return Webhook(
        account=account,
        url=row.url,
        low_balance=row.low_balance,
        created_ms=row.created_ms,
        changed_ms=row.changed_ms,
        waiting=counts.get("waiting", 0),
        failed=counts.get("failed", 0),
    )


async def put_webhook(
    transaction: ControlTransaction, account: str, spec: WebhookSpec, *, private: bool
) -> str:
    """Sets an account's webhook; the secret if one was made, which is not shown again.

    `private`: it may be at an address that is not public, and without TLS. Faults: `bad_request`,
    `not_found` for an account that is not there.
    """
    validate_webhook_url(spec.url, private=private)
    if spec.low_balance is not None and not 0 < spec.low_balance <= MAX_USD * NANOS_PER_USD:
        raise Fault(
            "bad_request",
            f"low_balance: an amount above zero, at most ${MAX_USD}.",
            param="low_balance",
        )
    if spec.secret:
        secret_from_text(spec.secret)
    await accounts.get_account(transaction.database, account)

    event = AuditEvent(
        action="webhook.set",
        subject=account,
        account=account,
        detail={
            "url": spec.url,
            "low_balance_nanos": spec.low_balance,
            "secret": "given" if spec.secret else "kept or made",
        },
    )
    made = ""
    async with transaction.begin_change(event) as connection:
        old = select(WEBHOOKS.c.created_ms).where(WEBHOOKS.c.account_id == account)
        created_ms = (await connection.execute(old)).scalar()
        if created_ms is None and not spec.secret:
            made = secret_text(os.urandom(SECRET_BYTES))

        now_ms = transaction.clock.wall_ms()
        row: dict[str, Any] = {
            "account_id": account,
            "url": spec.url,
            "low_balance": spec.low_balance,
            "created_ms": now_ms if created_ms is None else created_ms,
            "changed_ms": now_ms,
            "secret": b"",
        }
        changed = ["url", "low_balance", "changed_ms"]
        if secret := spec.secret or made:
            vault = webhook_vault(transaction.peppers)
            row["secret"] = vault.encrypt(secret.encode(), account, account)
            changed.append("secret")
        await connection.execute(upsert(connection, WEBHOOKS, row, tuple(changed)))
    return made


async def delete_webhook(transaction: ControlTransaction, account: str) -> None:
    """Takes the webhook away, and the marks of what it was notified of. Faults: `not_found`."""
    event = AuditEvent(action="webhook.remove", subject=account, account=account)
    own = delete(WEBHOOKS).where(WEBHOOKS.c.account_id == account)
    marks = delete(NOTICE_MARKS).where(NOTICE_MARKS.c.account_id == account)
    async with transaction.begin_change(event) as connection:
        if not (await connection.execute(own)).rowcount:
            raise webhook_not_found(account)
        await connection.execute(marks)


async def enqueue_test(transaction: ControlTransaction, account: str) -> str:
    """Writes a notification that says nothing but that it arrives; its id.

    Faults: `not_found`, `rate_limited`.
    """
    await get_webhook(transaction.database, account)
    now_ms = transaction.clock.wall_ms()
    row = notification_row(account, TEST_KIND, {"account": account}, now_ms)
    waiting = select(func.count()).where(
        NOTICES.c.account_id == account, NOTICES.c.kind == TEST_KIND, NOTICES.c.state == "waiting"
    )
    event = AuditEvent(action="webhook.test", subject=account, account=account)
    async with transaction.begin_change(event) as connection:
        if (await connection.execute(waiting)).scalar_one() >= MAX_TESTS:
            raise Fault(
                "rate_limited", f"{MAX_TESTS} tests wait already.", retry_after_s=TEST_RETRY_S
            )
        await connection.execute(NOTICES.insert().values(row))
    return str(row["id"])


def notification_row(
    account: str, kind: str, payload: Mapping[str, Any], now_ms: int
) -> dict[str, Any]:
    """A notification to be sent at once, as a row of `notices`.

    Its body is written here, and is the same bytes at every attempt.
    """
    body = {"type": kind, "timestamp": time_text(now_ms), "data": payload}
    return {
        "id": new_ulid(),
        "account_id": account,
        "kind": kind,
        "body": encode_json(body).decode(),
        "state": "waiting",
        "next_ms": now_ms,
        "created_ms": now_ms,
    }


async def list_notifications(database: Database, account: str, cursor: Cursor) -> Page:
    """Notifications of an account, or of all, as rows of `notices`; the newest first.

    Faults: `bad_request`, `unavailable`.
    """
    statement = select(*NOTICES.c)
    if account:
        statement = statement.where(NOTICES.c.account_id == account)
    newest_first = replace(cursor, newest_first=True)
    return await paginate(database, statement, (NOTICES.c.id,), newest_first)


async def count_undelivered(database: Database, now_ms: int) -> list[tuple[str, str, int]]:
    """Account, why, how many: notifications of the last week that failed, or wait to be retried.

    Faults: `unavailable`.
    """
    retried = and_(NOTICES.c.state == "waiting", NOTICES.c.attempts > 0)
    statement = (
        select(NOTICES.c.account_id, NOTICES.c.why, func.count())
        .where(
            NOTICES.c.created_ms > now_ms - UNDELIVERED_MS,
            or_(NOTICES.c.state == "failed", retried),
            NOTICES.c.why != "",
        )
        .group_by(NOTICES.c.account_id, NOTICES.c.why)
        .order_by(func.count().desc(), NOTICES.c.account_id)
    )
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(statement.limit(MAX_UNDELIVERED))).all()
    return [(account, why, count) for account, why, count in rows]


def webhook_not_found(account: str) -> Fault:
    """The fault for an account without a webhook."""
    return Fault("not_found", f"The account {account[:64]!r} has no webhook.")
