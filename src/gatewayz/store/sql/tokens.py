"""Tokens for web pages: short-lived, good for calls alone, from their own pages, within all that their key may do.

A token is a row beside its key. It ends with its key and counts as its key: limits, budgets and usage are the key's.
"""

import re
import secrets
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.calls import new_ulid
from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, key_from, masked
from gatewayz.core.money import Nanos
from gatewayz.store.sql.audit import Deed
from gatewayz.store.sql.budgets import of_token
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.desk import Desk
from gatewayz.store.sql.keys import Owner
from gatewayz.store.sql.slices import Cut, Slice, sliced
from gatewayz.store.sql.tables import API_KEYS, BUDGETS, TOKENS

MAX_TTL_S = 3_600
USUAL_TTL_S = 900
MAX_MODELS, MAX_ORIGINS = 100, 10
MAX_ACTIVE = 10_000
"""Tokens of one key that work at the same time."""
KEPT_MS = 86_400_000
"""How long a token that has ended can be seen; no call of it is under way any more."""
RETRY_S = 60.0
ORIGIN = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::([1-9][0-9]{0,4}))?"
)
USUAL_PORTS = {"http": "80", "https": "443"}


class TokenWish(Struct, frozen=True, kw_only=True):
    """What a new token shall be: of which key, from which pages, and how far it reaches within its key."""

    account: str
    key: str
    name: str = ""
    origins: tuple[str, ...]
    models: tuple[str, ...] = ()
    ttl_s: int = USUAL_TTL_S
    limit: Nanos | None = None


class Token(Struct, frozen=True, kw_only=True):
    """A token as it is kept. `limit` is how much its calls may cost together, of which `spent` is gone."""

    id: str
    account: str
    key: str
    shown: str
    name: str
    models: tuple[str, ...]
    origins: tuple[str, ...]
    expires_ms: int
    created_ms: int
    revoked_ms: int | None = None
    limit: int | None = None
    spent: int | None = None

    def state(self, now_ms: int) -> str:
        """Active, revoked or expired."""
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms <= now_ms else "active"


async def mint(desk: Desk, wish: TokenWish) -> tuple[str, Token]:
    """A new token, which is shown now and never again.

    Faults: `bad_request`, `forbidden` for a key that is not in the store, `rate_limited` for one that has too many.
    """
    _check(wish)
    text, now = key_from(secrets.token_bytes(RANDOM_BYTES)), desk.clock.wall_ms()
    id, shown = new_ulid(), masked(text)
    said = {"shown": shown, "key": wish.key, "origins": wish.origins, "models": wish.models}
    deed = Deed(action="token.mint", subject=id, account=wish.account, detail=said)
    async with desk.making(deed) as connection:
        key_ends_ms = await _key_ends_ms(connection, wish, now)
        ends_ms = min(now + wish.ttl_s * 1000, key_ends_ms or now + wish.ttl_s * 1000)
        token = Token(
            id=id,
            account=wish.account,
            key=wish.key,
            shown=shown,
            name=wish.name,
            models=wish.models,
            origins=wish.origins,
            expires_ms=ends_ms,
            created_ms=now,
            limit=wish.limit,
            spent=None if wish.limit is None else 0,
        )
        await _inserted(
            connection, token, desk.peppers.current.digest(text), desk.peppers.current.id
        )
    return text, token


def _check(wish: TokenWish) -> None:
    if not 0 < wish.ttl_s <= MAX_TTL_S:
        raise Fault(
            "bad_request", f"A token lives from 1 to {MAX_TTL_S} seconds.", param="expires_in_s"
        )
    if not 0 < len(wish.origins) <= MAX_ORIGINS or len(wish.models) > MAX_MODELS:
        why = f"A token has 1 to {MAX_ORIGINS} origins and at most {MAX_MODELS} models."
        raise Fault("bad_request", why, param="origins")
    for origin in wish.origins:
        found = ORIGIN.fullmatch(origin)
        if found is None or found[3] == USUAL_PORTS[found[1]]:
            why = f"{origin[:100]!r} is no origin as browsers send it, such as https://app.example.com."
            raise Fault("bad_request", why, param="origins")


async def _key_ends_ms(connection: AsyncConnection, wish: TokenWish, now_ms: int) -> int | None:
    """When the key ends, if it does. Faults: as for `mint`."""
    own = select(API_KEYS.c.expires_ms).where(
        API_KEYS.c.account_id == wish.account, API_KEYS.c.id == wish.key
    )
    key = (await connection.execute(own.where(API_KEYS.c.revoked_ms.is_(None)))).first()
    if key is None:
        raise Fault(
            "forbidden", "Only a key that `gatewayz keys` or this API made can mint tokens."
        )
    working = (TOKENS.c.expires_ms > now_ms) & TOKENS.c.revoked_ms.is_(None)
    active = select(func.count()).where(
        TOKENS.c.account_id == wish.account, TOKENS.c.key_id == wish.key, working
    )
    if int((await connection.execute(active)).scalar_one()) >= MAX_ACTIVE:
        why = f"This key has {MAX_ACTIVE} tokens that work; let some end, or ask for shorter ones."
        raise Fault("rate_limited", why, retry_after_s=RETRY_S)
    return None if key.expires_ms is None else int(key.expires_ms)


async def _inserted(connection: AsyncConnection, token: Token, digest: str, pepper: str) -> None:
    row = {
        "id": token.id,
        "account_id": token.account,
        "key_id": token.key,
        "digest": digest,
        "pepper_id": pepper,
        "shown": token.shown,
        "name": token.name,
        "models": msgspec.json.encode(token.models).decode(),
        "origins": msgspec.json.encode(token.origins).decode(),
        "expires_ms": token.expires_ms,
        "created_ms": token.created_ms,
    }
    await connection.execute(insert(TOKENS).values(row))
    if token.limit is not None:
        budget = {
            "subject": of_token(token.id),
            "account_id": token.account,
            "limit_nanos": token.limit,
        }
        await connection.execute(
            insert(BUDGETS).values(budget | {"period": "total", "period_ms": 0, "spent": 0})
        )


def _wanted(owner: Owner) -> Select[Any]:
    """Somebody's tokens: the account's, those of a person's keys, or those of one key."""
    names = ("id", "account_id", "key_id", "shown", "name", "models", "origins")
    columns = [TOKENS.c[name] for name in (*names, "expires_ms", "created_ms", "revoked_ms")]
    budget = BUDGETS.c.subject == "token:" + TOKENS.c.id
    return (
        select(*columns, BUDGETS.c.limit_nanos, BUDGETS.c.spent)
        .outerjoin(BUDGETS, budget)
        .where(_whose(owner))
    )


def _whose(owner: Owner) -> ColumnElement[bool]:
    own = TOKENS.c.account_id == owner.account
    if owner.user:
        theirs = select(API_KEYS.c.id).where(
            API_KEYS.c.account_id == owner.account, API_KEYS.c.user_id == owner.user
        )
        return own & TOKENS.c.key_id.in_(theirs)
    return own & (TOKENS.c.key_id == owner.key) if owner.key else own


def _token(row: dict[str, Any]) -> Token:
    given = dict(zip(Token.__struct_fields__, row.values(), strict=True))
    lists = {
        name: msgspec.json.decode(given[name], type=tuple[str, ...])
        for name in ("models", "origins")
    }
    return Token(**{**given, **lists})


async def several(database: Database, owner: Owner, cut: Cut) -> tuple[list[Token], Slice]:
    """A slice of somebody's tokens, those that ended within a day too; the oldest first."""
    found = await sliced(database, _wanted(owner), (TOKENS.c.id,), cut)
    return [_token(row) for row in found.rows], found


async def revoke(desk: Desk, owner: Owner, token: str) -> None:
    """Ends a token of somebody's. Faults: `unknown_route` for none of theirs that works."""
    working = (TOKENS.c.id == token) & TOKENS.c.revoked_ms.is_(None)
    async with desk.changing(
        Deed(action="token.revoke", subject=token, account=owner.account)
    ) as connection:
        ended = update(TOKENS).where(_whose(owner), working).values(revoked_ms=desk.clock.wall_ms())
        if not (await connection.execute(ended)).rowcount:
            raise Fault("unknown_route", f"There is no token {token[:64]!r} that works.")


async def forget(connection: AsyncConnection, now_ms: int) -> None:
    """Throws away tokens that ended long ago, and their budgets."""
    ended = TOKENS.c.expires_ms < now_ms - KEPT_MS
    subjects = select("token:" + TOKENS.c.id).where(ended)
    await connection.execute(delete(BUDGETS).where(BUDGETS.c.subject.in_(subjects)))
    await connection.execute(delete(TOKENS).where(ended))
