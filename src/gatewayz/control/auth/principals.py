"""Principals as the store knows them: one statement reads all that a key may do, for many keys."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Select, and_, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.control.accounts import parse_rules
from gatewayz.control.budgets import account_subject, end_user_subject, key_subject, token_subject
from gatewayz.control.json_columns import parse_limits, parse_texts
from gatewayz.core.access import BROWSER, effective_scopes
from gatewayz.core.calls import Principal
from gatewayz.store.sql.tables import ACCOUNTS, API_KEYS, BUDGETS, TOKENS, USERS

NO_MODEL = ("",)
"""The models of a key that its account's models leave nothing."""


class ActiveKey(NamedTuple):
    """A key or token that works, and until when if it ends.

    Example: ActiveKey("01JE…", digest, pepper_id, None, Principal(account="acme", key="01JE…"))
    """

    key_id: str
    digest: str
    pepper_id: str
    expires_ms: int | None
    principal: Principal


def _select_keys() -> Select[Any]:
    """Keys that are not revoked, of accounts not suspended and people not disabled."""
    user = and_(USERS.c.id == API_KEYS.c.user_id, USERS.c.account_id == API_KEYS.c.account_id)
    end_user_budget = and_(
        BUDGETS.c.account_id == API_KEYS.c.account_id, BUDGETS.c.subject.startswith("user:")
    )
    return (
        select(
            API_KEYS.c.id,
            API_KEYS.c.digest,
            API_KEYS.c.pepper_id,
            API_KEYS.c.expires_ms,
            API_KEYS.c.account_id,
            API_KEYS.c.user_id,
            API_KEYS.c.scopes,
            API_KEYS.c.models,
            API_KEYS.c.addresses,
            API_KEYS.c.limits,
            API_KEYS.c.caching,
            USERS.c.role,
            ACCOUNTS.c.billing,
            ACCOUNTS.c.markup_bp,
            ACCOUNTS.c.rules,
            ACCOUNTS.c.caching.label("account_caching"),
            _has_budget(key_subject("") + API_KEYS.c.id).label("key_budget"),
            _has_budget(account_subject("") + API_KEYS.c.account_id).label("account_budget"),
            exists().where(end_user_budget).label("end_user_budget"),
        )
        .select_from(API_KEYS)
        .join(ACCOUNTS, ACCOUNTS.c.id == API_KEYS.c.account_id)
        .outerjoin(USERS, user)
        .where(
            API_KEYS.c.revoked_ms.is_(None),
            ACCOUNTS.c.status == "active",
            USERS.c.disabled_ms.is_(None),
        )
    )


def _has_budget(subject: ColumnElement[str]) -> ColumnElement[bool]:
    return exists().where(BUDGETS.c.subject == subject)


def _select_tokens() -> Select[Any]:
    """Tokens that are not revoked, each with its key, which must work."""
    key = and_(TOKENS.c.key_id == API_KEYS.c.id, TOKENS.c.account_id == API_KEYS.c.account_id)
    return (
        _select_keys()
        .add_columns(
            TOKENS.c.id.label("token_id"),
            TOKENS.c.digest.label("token_digest"),
            TOKENS.c.pepper_id.label("token_pepper_id"),
            TOKENS.c.expires_ms.label("token_expires_ms"),
            TOKENS.c.models.label("token_models"),
            TOKENS.c.origins,
            _has_budget(token_subject("") + TOKENS.c.id).label("token_budget"),
        )
        .join(TOKENS, key)
        .where(TOKENS.c.revoked_ms.is_(None))
    )


async def active_keys_by_digest(
    connection: AsyncConnection, digests: Sequence[str]
) -> list[ActiveKey]:
    """The keys and tokens that have these digests and work."""
    rows = await connection.execute(_select_keys().where(API_KEYS.c.digest.in_(digests)))
    keys = _parse_rows(rows.all(), _key_from_row)
    if rest := set(digests) - {key.digest for key in keys}:
        rows = await connection.execute(_select_tokens().where(TOKENS.c.digest.in_(rest)))
        keys += _parse_rows(rows.all(), _token_from_row)
    return keys


async def active_keys_by_id(connection: AsyncConnection, ids: Sequence[str]) -> list[ActiveKey]:
    """The keys and tokens that have these ids and work."""
    rows = await connection.execute(_select_keys().where(API_KEYS.c.id.in_(ids)))
    keys = _parse_rows(rows.all(), _key_from_row)
    if rest := set(ids) - {key.key_id for key in keys}:
        rows = await connection.execute(_select_tokens().where(TOKENS.c.id.in_(rest)))
        keys += _parse_rows(rows.all(), _token_from_row)
    return keys


def _parse_rows(rows: Sequence[Any], parse: Callable[[Any], ActiveKey]) -> list[ActiveKey]:
    """A key whose row cannot be read does not work; it must not keep others from working."""
    keys = []
    for row in rows:
        with suppress(msgspec.DecodeError):
            keys.append(parse(row))
    return keys


def _token_from_row(row: Any) -> ActiveKey:
    """A token: its key, for calls alone, within the token's models, time, pages and budget."""
    key = _key_from_row(row)
    budgets = (token_subject(row.token_id),) if row.token_budget else ()
    principal = replace(
        key.principal,
        scopes=frozenset({BROWSER}) if "inference" in key.principal.scopes else frozenset(),
        models=_intersect_models(parse_texts(row.token_models), key.principal.models),
        budgets=budgets + key.principal.budgets,
        origins=parse_texts(row.origins),
    )
    expires_ms = row.token_expires_ms
    if key.expires_ms is not None:
        expires_ms = min(expires_ms, key.expires_ms)
    return ActiveKey(row.token_id, row.token_digest, row.token_pepper_id, expires_ms, principal)


def _key_from_row(row: Any) -> ActiveKey:
    rules = parse_rules(row.rules)
    budgets = (
        (key_subject(row.id), row.key_budget),
        (account_subject(row.account_id), row.account_budget),
        (end_user_subject(row.account_id, ""), row.end_user_budget),
    )
    # A key of somebody who is not there has no role, and so no scope.
    role = row.role or ("nobody" if row.user_id else "")
    principal = Principal(
        account=row.account_id,
        key=row.id,
        scopes=effective_scopes(row.account_id, role, parse_texts(row.scopes)),
        models=_intersect_models(parse_texts(row.models), rules.models),
        billing=row.billing,
        user=row.user_id,
        role=role,
        budgets=tuple(subject for subject, is_set in budgets if is_set),
        key_limits=tuple(sorted(parse_limits(row.limits).items())),
        account_limits=tuple(sorted(rules.limits.items())),
        addresses=parse_texts(row.addresses),
        markup_bp=row.markup_bp,
        caching=row.caching or row.account_caching,
    )
    return ActiveKey(row.id, row.digest, row.pepper_id, row.expires_ms, principal)


def _intersect_models(own: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Models that both lists allow; an empty list allows all."""
    if not own or not allowed:
        return own or allowed
    return tuple(model for model in own if model in allowed) or NO_MODEL
