"""Tokens for web pages: short-lived keys for calls alone, from their own pages.

A token is a row beside its key, and can do no more than its key may. It ends with its key and
counts as its key: limits, budgets and usage are the key's.
"""

import secrets
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.control.access import OwnerFilter
from gatewayz.control.audit import AuditEvent
from gatewayz.control.budgets import token_subject
from gatewayz.control.json_columns import json_text, parse_texts
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.calls import new_ulid
from gatewayz.core.clock import DAY_MS
from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import is_origin
from gatewayz.core.keys import RANDOM_BYTES, key_from_random, mask_key
from gatewayz.core.money import Nanos
from gatewayz.core.pagination import Cursor, Page
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.pagination import paginate
from gatewayz.store.sql.tables import API_KEYS, BUDGETS, TOKENS

MAX_TTL_S = 3_600
DEFAULT_TTL_S = 900
MAX_MODELS, MAX_ORIGINS = 100, 10
MAX_ACTIVE = 10_000
"""Tokens of one key that work at the same time."""
RETENTION_MS = DAY_MS
"""How long a token that has ended can be seen; no call of it is under way any more."""
TOO_MANY_RETRY_S = 60.0
"""`Retry-After` for a key that has as many tokens as it can have: some end within a minute."""


class TokenSpec(Struct, frozen=True, kw_only=True):
    """What a new token shall be: of which key, from which pages, and how far it reaches.

    Example: TokenSpec(account="acme", key="01JE…", origins=("https://app.example.com",), ttl_s=600)
    """

    account: str
    key: str
    name: str = ""
    origins: tuple[str, ...]
    models: tuple[str, ...] = ()
    ttl_s: int = DEFAULT_TTL_S
    limit: Nanos | None = None


class Token(Struct, frozen=True, kw_only=True):
    """A token as it is stored. `limit` is how many nano-dollars its calls may cost together.

    `spent` is what of it is gone; both are `None` for a token without a limit of its own.
    """

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


async def create_token(transaction: ControlTransaction, spec: TokenSpec) -> tuple[str, Token]:
    """A new token: its text, which is shown now and never again, and what is stored of it.

    Faults: `bad_request`, `forbidden` for a key that is not in the store, `rate_limited` for one
    that has too many.
    """
    _check_spec(spec)
    text = key_from_random(secrets.token_bytes(RANDOM_BYTES))
    now_ms = transaction.clock.wall_ms()
    id, shown = new_ulid(), mask_key(text)
    event = AuditEvent(
        action="token.mint",
        subject=id,
        account=spec.account,
        detail={"shown": shown, "key": spec.key, "origins": spec.origins, "models": spec.models},
    )
    async with transaction.begin_create(event) as connection:
        key_end_ms = await _key_expires_ms(connection, spec, now_ms)
        end_ms = now_ms + spec.ttl_s * 1000
        token = Token(
            id=id,
            account=spec.account,
            key=spec.key,
            shown=shown,
            name=spec.name,
            models=spec.models,
            origins=spec.origins,
            expires_ms=min(end_ms, key_end_ms or end_ms),
            created_ms=now_ms,
            limit=spec.limit,
            spent=None if spec.limit is None else 0,
        )
        pepper = transaction.peppers.current
        await _insert_token(connection, token, pepper.digest(text), pepper.id)
    return text, token


def _check_spec(spec: TokenSpec) -> None:
    if not 0 < spec.ttl_s <= MAX_TTL_S:
        raise Fault(
            "bad_request", f"A token lives from 1 to {MAX_TTL_S} seconds.", param="expires_in_s"
        )
    if not 0 < len(spec.origins) <= MAX_ORIGINS or len(spec.models) > MAX_MODELS:
        message = f"A token has 1 to {MAX_ORIGINS} origins and at most {MAX_MODELS} models."
        raise Fault("bad_request", message, param="origins")
    for origin in spec.origins:
        if not is_origin(origin):
            message = (
                f"{origin[:100]!r} is no origin as browsers send it, "
                "such as https://app.example.com."
            )
            raise Fault("bad_request", message, param="origins")


async def _key_expires_ms(connection: AsyncConnection, spec: TokenSpec, now_ms: int) -> int | None:
    """When the key ends, if it does. Faults: as for `create_token`."""
    own = select(API_KEYS.c.expires_ms).where(
        API_KEYS.c.account_id == spec.account,
        API_KEYS.c.id == spec.key,
        API_KEYS.c.revoked_ms.is_(None),
    )
    key = (await connection.execute(own)).first()
    if key is None:
        raise Fault(
            "forbidden",
            "Only a key that is in the store can create tokens: "
            "one that `gatewayz keys create` or this API has created.",
        )

    active = select(func.count()).where(
        TOKENS.c.account_id == spec.account,
        TOKENS.c.key_id == spec.key,
        TOKENS.c.expires_ms > now_ms,
        TOKENS.c.revoked_ms.is_(None),
    )
    if int((await connection.execute(active)).scalar_one()) >= MAX_ACTIVE:
        message = f"This key has {MAX_ACTIVE} active tokens; let some end, or ask for shorter ones."
        raise Fault("rate_limited", message, retry_after_s=TOO_MANY_RETRY_S)
    return None if key.expires_ms is None else int(key.expires_ms)


async def _insert_token(
    connection: AsyncConnection, token: Token, digest: str, pepper: str
) -> None:
    row = {
        "id": token.id,
        "account_id": token.account,
        "key_id": token.key,
        "digest": digest,
        "pepper_id": pepper,
        "shown": token.shown,
        "name": token.name,
        "models": json_text(token.models),
        "origins": json_text(token.origins),
        "expires_ms": token.expires_ms,
        "created_ms": token.created_ms,
    }
    await connection.execute(insert(TOKENS).values(row))
    if token.limit is not None:
        budget = {
            "subject": token_subject(token.id),
            "account_id": token.account,
            "limit_nanos": token.limit,
            "period": "total",
            "period_ms": 0,
            "spent": 0,
        }
        await connection.execute(insert(BUDGETS).values(budget))


def _select_tokens(owner: OwnerFilter) -> Select[Any]:
    """Somebody's tokens, each with its budget if it has one."""
    budget = BUDGETS.c.subject == token_subject("") + TOKENS.c.id
    tokens = select(*TOKENS.c, BUDGETS.c.limit_nanos, BUDGETS.c.spent).outerjoin(BUDGETS, budget)
    return owner.restrict(tokens, TOKENS.c.account_id, TOKENS.c.key_id)


def _token_from_row(row: Mapping[str, Any]) -> Token:
    return Token(
        id=row["id"],
        account=row["account_id"],
        key=row["key_id"],
        shown=row["shown"],
        name=row["name"],
        models=parse_texts(row["models"]),
        origins=parse_texts(row["origins"]),
        expires_ms=row["expires_ms"],
        created_ms=row["created_ms"],
        revoked_ms=row["revoked_ms"],
        limit=row["limit_nanos"],
        spent=row["spent"],
    )


async def list_tokens(
    database: Database, owner: OwnerFilter, cursor: Cursor
) -> tuple[list[Token], Page]:
    """A page of somebody's tokens, also those that ended within a day; the oldest first."""
    page = await paginate(database, _select_tokens(owner), (TOKENS.c.id,), cursor)
    return [_token_from_row(row) for row in page.rows], page


async def revoke_token(transaction: ControlTransaction, owner: OwnerFilter, token: str) -> None:
    """Ends a token of somebody's. Faults: `not_found` for none of theirs that is active."""
    event = AuditEvent(action="token.revoke", subject=token, account=owner.account)
    own = owner.restrict(
        select(TOKENS.c.id).where(TOKENS.c.id == token), TOKENS.c.account_id, TOKENS.c.key_id
    )
    async with transaction.begin_change(event) as connection:
        active = update(TOKENS).where(TOKENS.c.id.in_(own), TOKENS.c.revoked_ms.is_(None))
        revoked = active.values(revoked_ms=transaction.clock.wall_ms())
        if not (await connection.execute(revoked)).rowcount:
            raise Fault("not_found", f"There is no active token {token[:64]!r}.")


async def delete_expired_tokens(connection: AsyncConnection, now_ms: int) -> None:
    """Deletes tokens that ended long ago, and their budgets."""
    expired = TOKENS.c.expires_ms < now_ms - RETENTION_MS
    subjects = select(token_subject("") + TOKENS.c.id).where(expired)
    await connection.execute(delete(BUDGETS).where(BUDGETS.c.subject.in_(subjects)))
    await connection.execute(delete(TOKENS).where(expired))
