"""Webhooks of accounts: where an account's notices go, under which secret, below which balance it is told.

The secret is shown when it is made and never again; the database holds it encrypted for its account's row alone.
"""

import os
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import and_, delete, func, or_, select

from gatewayz.core.calls import new_ulid
from gatewayz.core.clock import time_text
from gatewayz.core.faults import Fault
from gatewayz.core.money import MAX_USD, NANOS_PER_USD, Nanos
from gatewayz.core.webhooks import SECRET_BYTES, checked_url, secret_from, secret_text
from gatewayz.dialects.jsontext import encoded
from gatewayz.store.secret import Peppers
from gatewayz.store.sql import accounts
from gatewayz.store.sql.audit import Deed
from gatewayz.store.sql.database import Database, upsert
from gatewayz.store.sql.desk import Desk
from gatewayz.store.sql.slices import Cut, Slice, sliced
from gatewayz.store.sql.tables import NOTICE_MARKS, NOTICES, WEBHOOKS
from gatewayz.store.sql.vault import Vault

MAX_TESTS = 5
"""Tests of an account that may wait at a time."""
TEST_RETRY_S = 30.0
TEST = "webhook.test"
WEEK_MS = 7 * 86_400_000
MAX_STUCK = 100


class Webhook(Struct, frozen=True, kw_only=True):
    """Where an account's notices go. `waiting` and `failed` count the notices that are in these states."""

    account: str
    url: str
    low_balance: Nanos | None
    created_ms: int
    changed_ms: int
    waiting: int = 0
    failed: int = 0


class Wish(Struct, frozen=True, kw_only=True):
    """What a webhook shall be. Without a secret the one that is there stays, or one is made."""

    url: str
    secret: str = ""
    low_balance: Nanos | None = None


def vault(peppers: Peppers) -> Vault:
    return Vault(peppers, WEBHOOKS.name)


async def one(database: Database, account: str) -> Webhook:
    """Faults: `unknown_route` for an account without one, `unavailable`."""
    async with database.begin(reading=True) as connection:
        row = (
            (await connection.execute(select(*SHOWN).where(WEBHOOKS.c.account_id == account)))
            .mappings()
            .first()
        )
        if row is None:
            raise unknown(account)
        counted = (
            select(NOTICES.c.state, func.count())
            .where(NOTICES.c.account_id == account)
            .group_by(NOTICES.c.state)
        )
        counts: dict[str, int] = {
            row[0]: row[1] for row in (await connection.execute(counted)).all()
        }
    found = Webhook(
        account=account,
        **{name: row[name] for name in ("url", "low_balance", "created_ms", "changed_ms")},
    )
    return replace(found, waiting=counts.get("waiting", 0), failed=counts.get("failed", 0))


SHOWN = tuple(WEBHOOKS.c[name] for name in ("url", "low_balance", "created_ms", "changed_ms"))


async def put(desk: Desk, account: str, wish: Wish, *, private: bool) -> str:
    """Sets an account's webhook; the secret if one was made, which is not shown again.

    Faults: `bad_request`, `unknown_route` for an account that is not there.
    """
    checked_url(wish.url, private=private)
    if wish.low_balance is not None and not 0 < wish.low_balance <= MAX_USD * NANOS_PER_USD:
        raise Fault(
            "bad_request",
            f"low_balance: an amount above zero, at most ${MAX_USD}.",
            param="low_balance",
        )
    given = secret_from(wish.secret) if wish.secret else b""
    await accounts.one(desk.database, account)
    detail = {
        "url": wish.url,
        "low_balance_nanos": wish.low_balance,
        "secret": "given" if given else "kept or made",
    }
    made = b""
    async with desk.changing(
        Deed(action="webhook.set", subject=account, account=account, detail=detail)
    ) as connection:
        old = select(WEBHOOKS.c.created_ms).where(WEBHOOKS.c.account_id == account)
        created = (await connection.execute(old)).scalar()
        if created is None and not given:
            made = os.urandom(SECRET_BYTES)
        now = desk.clock.wall_ms()
        row: dict[str, Any] = {
            "account_id": account,
            "url": wish.url,
            "low_balance": wish.low_balance,
            "created_ms": now if created is None else created,
            "changed_ms": now,
            "secret": b"",
        }
        changed = ["url", "low_balance", "changed_ms"]
        if given or made:
            text = wish.secret if given else secret_text(made)
            row["secret"] = vault(desk.peppers).closed(text.encode(), account, account)
            changed.append("secret")
        await connection.execute(upsert(desk.database, WEBHOOKS, row, tuple(changed)))
    return secret_text(made) if made else ""


async def remove(desk: Desk, account: str) -> None:
    """Takes the webhook away, and what it was told. Faults: `unknown_route`."""
    async with desk.changing(
        Deed(action="webhook.remove", subject=account, account=account)
    ) as connection:
        gone = await connection.execute(delete(WEBHOOKS).where(WEBHOOKS.c.account_id == account))
        if not gone.rowcount:
            raise unknown(account)
        await connection.execute(delete(NOTICE_MARKS).where(NOTICE_MARKS.c.account_id == account))


async def test(desk: Desk, account: str) -> str:
    """Writes a notice that says nothing but that it arrives; its id. Faults: `unknown_route`, `rate_limited`."""
    await one(desk.database, account)
    row = notice_row(account, TEST, {"account": account}, desk.clock.wall_ms())
    waiting = select(func.count()).where(
        NOTICES.c.account_id == account, NOTICES.c.kind == TEST, NOTICES.c.state == "waiting"
    )
    deed = Deed(action="webhook.test", subject=account, account=account)
    async with desk.changing(deed) as connection:
        if (await connection.execute(waiting)).scalar_one() >= MAX_TESTS:
            raise Fault(
                "rate_limited", f"{MAX_TESTS} tests wait already.", retry_after_s=TEST_RETRY_S
            )
        await connection.execute(NOTICES.insert().values(row))
    return str(row["id"])


def notice_row(account: str, kind: str, told: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    """A notice to be sent at once: its body is written here, and is the same bytes at every attempt."""
    body = encoded({"type": kind, "timestamp": time_text(now_ms), "data": told}).decode()
    return {
        "id": new_ulid(),
        "account_id": account,
        "kind": kind,
        "body": body,
        "state": "waiting",
        "next_ms": now_ms,
        "created_ms": now_ms,
    }


async def notices(database: Database, account: str, cut: Cut) -> Slice:
    """Notices of an account, or of all, the newest first. Faults: `bad_request`, `unavailable`."""
    wanted = select(*NOTICES.c)
    if account:
        wanted = wanted.where(NOTICES.c.account_id == account)
    return await sliced(database, wanted, (NOTICES.c.id,), replace(cut, newest_first=True))


async def undelivered(database: Database, now_ms: int) -> list[tuple[str, str, int]]:
    """Account, why, how many: notices of the last week that have failed, or were tried and wait."""
    tried = and_(NOTICES.c.state == "waiting", NOTICES.c.attempts > 0)
    wanted = (
        select(NOTICES.c.account_id, NOTICES.c.why, func.count())
        .where(
            NOTICES.c.created_ms > now_ms - WEEK_MS,
            or_(NOTICES.c.state == "failed", tried),
            NOTICES.c.why != "",
        )
        .group_by(NOTICES.c.account_id, NOTICES.c.why)
        .order_by(func.count().desc(), NOTICES.c.account_id)
    )
    async with database.begin(reading=True) as connection:
        return [
            (row[0], row[1], row[2])
            for row in (await connection.execute(wanted.limit(MAX_STUCK))).all()
        ]


def unknown(account: str) -> Fault:
    return Fault("unknown_route", f"The account {account[:64]!r} has no webhook.")
