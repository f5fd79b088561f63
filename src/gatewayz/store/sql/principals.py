"""Principals as the store knows them: one statement that reads all that a key may do, for many keys at once."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace
from sqlalchemy import Select, and_, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.access import BROWSER, scopes_of
from gatewayz.core.calls import Principal
from gatewayz.store.sql.accounts import AccountRules
from gatewayz.store.sql.budgets import of_account, of_end_user, of_key, of_token
from gatewayz.store.sql.tables import ACCOUNTS, API_KEYS, BUDGETS, TOKENS, USERS

NO_MODEL = ("",)
"""The models of a key that its account's models leave nothing."""


class Kept(NamedTuple):
    """A key or token that works, and until when if it ends."""

    key_id: str
    digest: str
    pepper_id: str
    expires_ms: int | None
    principal: Principal


def _wanted() -> Select[Any]:
    """Keys that are not revoked, of accounts that are not suspended and people who are not disabled."""
    key_budget = exists().where(BUDGETS.c.subject == "key:" + API_KEYS.c.id)
    account_budget = exists().where(BUDGETS.c.subject == "account:" + API_KEYS.c.account_id)
    end_user_budget = exists().where(
        and_(BUDGETS.c.account_id == API_KEYS.c.account_id, BUDGETS.c.subject.startswith("user:"))
    )
    return (
        select(
            API_KEYS.c.id,
            API_KEYS.c.digest,
            API_KEYS.c.pepper_id,
            API_KEYS.c.expires_ms,
            API_KEYS.c.account_id,
            API_KEYS.c.user_id,
            USERS.c.role,
            API_KEYS.c.scopes,
            API_KEYS.c.models,
            API_KEYS.c.addresses,
            API_KEYS.c.limits,
            ACCOUNTS.c.billing,
            ACCOUNTS.c.markup_bp,
            ACCOUNTS.c.rules,
            key_budget,
            account_budget,
            end_user_budget,
        )
        .select_from(API_KEYS)
        .join(ACCOUNTS, ACCOUNTS.c.id == API_KEYS.c.account_id)
        .outerjoin(
            USERS,
            and_(USERS.c.id == API_KEYS.c.user_id, USERS.c.account_id == API_KEYS.c.account_id),
        )
        .where(
            API_KEYS.c.revoked_ms.is_(None),
            ACCOUNTS.c.status == "active",
            USERS.c.disabled_ms.is_(None),
        )
    )


TOKEN = (
    TOKENS.c.id,
    TOKENS.c.digest,
    TOKENS.c.pepper_id,
    TOKENS.c.expires_ms,
    TOKENS.c.models,
    TOKENS.c.origins,
    exists().where(BUDGETS.c.subject == "token:" + TOKENS.c.id),
)


def _wanted_tokens() -> Select[Any]:
    """Tokens that are not revoked, each with its key, which must work."""
    its_key = and_(TOKENS.c.key_id == API_KEYS.c.id, TOKENS.c.account_id == API_KEYS.c.account_id)
    return _wanted().add_columns(*TOKEN).join(TOKENS, its_key).where(TOKENS.c.revoked_ms.is_(None))


async def by_digest(connection: AsyncConnection, digests: Sequence[str]) -> list[Kept]:
    """The keys and tokens that have these digests and work."""
    keys = await connection.execute(_wanted().where(API_KEYS.c.digest.in_(digests)))
    found = _readable(keys.all(), _kept)
    if rest := set(digests) - {kept.digest for kept in found}:
        tokens = await connection.execute(_wanted_tokens().where(TOKENS.c.digest.in_(rest)))
        found += _readable(tokens.all(), _token)
    return found


async def by_id(connection: AsyncConnection, ids: Sequence[str]) -> list[Kept]:
    """The keys and tokens that have these ids and work."""
    keys = await connection.execute(_wanted().where(API_KEYS.c.id.in_(ids)))
    found = _readable(keys.all(), _kept)
    if rest := set(ids) - {kept.key_id for kept in found}:
        tokens = await connection.execute(_wanted_tokens().where(TOKENS.c.id.in_(rest)))
        found += _readable(tokens.all(), _token)
    return found


def _readable(rows: Sequence[Sequence[Any]], read: Callable[[Sequence[Any]], Kept]) -> list[Kept]:
    """A key whose row cannot be read does not work; it must not keep others from working."""
    found = []
    for row in rows:
        with suppress(msgspec.DecodeError):
            found.append(read(row))
    return found


def _token(row: Sequence[Any]) -> Kept:
    """A token: its key, for calls alone, within the token's models, time, pages and budget."""
    key = _kept(row[: -len(TOKEN)])
    id, digest, pepper_id, expires_ms, models, origins, budget = row[-len(TOKEN) :]
    principal = replace(
        key.principal,
        scopes=frozenset({BROWSER}) if "inference" in key.principal.scopes else frozenset(),
        models=_both(_texts(models), key.principal.models),
        budgets=((of_token(id),) if budget else ()) + key.principal.budgets,
        origins=_texts(origins),
    )
    ends_ms = expires_ms if key.expires_ms is None else min(expires_ms, key.expires_ms)
    return Kept(id, digest, pepper_id, ends_ms, principal)


def _kept(row: Sequence[Any]) -> Kept:
    (
        id,
        digest,
        pepper_id,
        expires_ms,
        account,
        user,
        role,
        scopes,
        models,
        addresses,
        limits,
        *rest,
    ) = row
    billing, markup_bp, rules_text, key_budget, account_budget, end_user_budget = rest
    rules = msgspec.json.decode(rules_text, type=AccountRules)
    budgets = (
        (of_key(id), key_budget),
        (of_account(account), account_budget),
        (of_end_user(account, ""), end_user_budget),
    )
    # A key of somebody who is not there has no role, and so no scope.
    role = role or ("nobody" if user else "")
    principal = Principal(
        account=account,
        key=id,
        scopes=scopes_of(account, role, _texts(scopes)),
        models=_both(_texts(models), rules.models),
        billing=billing,
        user=user,
        role=role,
        budgets=tuple(subject for subject, there in budgets if there),
        limits=tuple(sorted(msgspec.json.decode(limits, type=dict[str, int]).items())),
        granted=tuple(sorted(rules.limits.items())),
        addresses=_texts(addresses),
        markup_bp=markup_bp,
    )
    return Kept(id, digest, pepper_id, expires_ms, principal)


def _texts(listed: str) -> tuple[str, ...]:
    return msgspec.json.decode(listed, type=tuple[str, ...])


def _both(own: tuple[str, ...], accounts: tuple[str, ...]) -> tuple[str, ...]:
    """Models that both lists allow; an empty list allows all."""
    if not own or not accounts:
        return own or accounts
    return tuple(model for model in own if model in accounts) or NO_MODEL
