"""API keys as rows: created, listed, updated, revoked, rotated.

The key itself is shown once and never stored; what is stored is its digest.
"""

import secrets
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.control import budgets
from gatewayz.control.access import OwnerFilter
from gatewayz.control.accounts import check_caching
from gatewayz.control.audit import AuditEvent
from gatewayz.control.json_columns import json_text, parse_limits, parse_texts
from gatewayz.control.key_checks import check_addresses, check_owner, check_scopes
from gatewayz.control.transactions import ControlTransaction
from gatewayz.core.calls import new_ulid
from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, key_from_random, mask_key
from gatewayz.core.pagination import Cursor, Page
from gatewayz.limits.rules import KEY_LIMITS, validate_limits
from gatewayz.store.secret import Peppers
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.pagination import MAX_LISTED, paginate
from gatewayz.store.sql.tables import API_KEYS

MAX_ADDRESSES, MAX_MODELS = 100, 1_000
MAX_NAME_CHARS = 200
MAX_ACTIVE = 5_000
"""Keys of one account that are neither revoked nor expired."""


class KeySpec(Struct, frozen=True, kw_only=True):
    """What a new key shall be: whose, what for, and how far it reaches. Empty lists bound nothing.

    Example: KeySpec(account="acme", name="ci", limits={"key_rpm": 60}, models=("openai/gpt-4o",))
    """

    account: str
    user: str = ""
    name: str = ""
    scopes: tuple[str, ...] = ("inference",)
    models: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    limits: Mapping[str, int] = {}
    expires_ms: int | None = None
    bootstrap: bool = False
    caching: str = ""


class Key(Struct, frozen=True, kw_only=True):
    """A key as it is stored, without its digest. `shown` is what may be seen of it.

    Example: Key(id="01JE…", account="acme", shown="gw_live_4fGh…9sQz", scopes=("inference",))
    """

    id: str
    account: str
    user: str = ""
    shown: str
    name: str = ""
    scopes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    limits: dict[str, int] = {}
    expires_ms: int | None = None
    created_ms: int = 0
    revoked_ms: int | None = None
    bootstrap: bool = False
    pepper: str = ""
    caching: str = ""

    def state(self, now_ms: int) -> str:
        """Active, revoked or expired."""
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms is not None and self.expires_ms <= now_ms else "active"


class KeyUpdate(Struct, frozen=True, kw_only=True):
    """What of a key shall change; what is `None` stays.

    `expires` says that its end changes too, to `expires_ms` or to none; an empty `caching` is the
    account's.
    Example: KeyUpdate(name="ci", expires=True)
    """

    name: str | None = None
    models: tuple[str, ...] | None = None
    addresses: tuple[str, ...] | None = None
    limits: Mapping[str, int] | None = None
    expires_ms: int | None = None
    expires: bool = False
    caching: str | None = None


def key_from_row(row: Mapping[str, Any]) -> Key:
    """A row of `api_keys` by column name."""
    return Key(
        id=row["id"],
        account=row["account_id"],
        user=row["user_id"],
        shown=row["shown"],
        name=row["name"],
        scopes=parse_texts(row["scopes"]),
        models=parse_texts(row["models"]),
        addresses=parse_texts(row["addresses"]),
        limits=parse_limits(row["limits"]),
        expires_ms=row["expires_ms"],
        created_ms=row["created_ms"],
        revoked_ms=row["revoked_ms"],
        bootstrap=row["bootstrap"],
        pepper=row["pepper_id"],
        caching=row["caching"],
    )


async def create_key(transaction: ControlTransaction, spec: KeySpec) -> tuple[str, Key]:
    """A new key: its text, which is shown now and never again, and what is stored of it.

    Faults: `bad_request`, `forbidden`, `not_found` for no such account or person.
    """
    text, key = generate_key(transaction, spec)
    async with transaction.begin_change(key_event("key.make", key)) as connection:
        await check_owner(connection, key.account, key.user, key.scopes)
        await insert_key(connection, key, transaction.peppers.current.digest(text))
    return text, key


async def list_account_keys(database: Database, account: str) -> list[Key]:
    """All keys of an account, oldest first. Faults: `unavailable`."""
    return await _fetch_keys(database, select(*API_KEYS.c).where(API_KEYS.c.account_id == account))


async def list_keys(
    database: Database, owner: OwnerFilter, cursor: Cursor
) -> tuple[list[Key], Page]:
    """A page of somebody's keys, oldest first. Faults: `bad_request`, `unavailable`."""
    own = owner.restrict(select(*API_KEYS.c), API_KEYS.c.account_id, API_KEYS.c.id)
    page = await paginate(database, own, (API_KEYS.c.id,), cursor)
    return [key_from_row(row) for row in page.rows], page


async def update_key(
    transaction: ControlTransaction, account: str, key_id: str, changes: KeyUpdate
) -> Key:
    """A key with other bounds; its scopes and its owner stay.

    Faults: `bad_request`, `not_found` for none that is active.
    """
    old = await get_key(transaction.database, account, key_id)
    changed = _changed_fields(changes)
    new = replace(old, **changed)
    # A key that has expired may be renamed: its old end is not checked again.
    _check_key(new, transaction.clock.wall_ms() if changes.expires else 0)

    row = {"name": new.name, "expires_ms": new.expires_ms, "caching": new.caching}
    row |= {name: json_text(getattr(new, name)) for name in ("models", "addresses", "limits")}
    event = AuditEvent(action="key.change", subject=key_id, account=account, detail=changed)
    async with transaction.begin_change(event) as connection:
        await _update_row(connection, account, key_id, row)
    return new


def apply_update(key: Key, changes: KeyUpdate) -> Key:
    """The key as it would be after these changes."""
    return replace(key, **_changed_fields(changes))


def _changed_fields(changes: KeyUpdate) -> dict[str, Any]:
    fields = ("name", "models", "addresses", "limits", "caching")
    named = {name: getattr(changes, name) for name in fields}
    changed = {name: value for name, value in named.items() if value is not None}
    if changes.expires:
        changed["expires_ms"] = changes.expires_ms
    return changed


async def list_all_keys(database: Database) -> list[Key]:
    """The keys of every account, for the operator. Faults: `unavailable`."""
    return await _fetch_keys(database, select(*API_KEYS.c))


async def _fetch_keys(database: Database, statement: Select[Any]) -> list[Key]:
    oldest_first = statement.order_by(API_KEYS.c.id).limit(MAX_LISTED)
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(oldest_first)).mappings().all()
    return [key_from_row(dict(row)) for row in rows]


async def get_key(database: Database, account: str, key_id: str) -> Key:
    """A key of an account; another's is as one that does not exist. Faults: `not_found`."""
    key = await find_key(database, account, key_id)
    if key is None:
        raise key_not_found(key_id)
    return key


async def find_key(database: Database, account: str, key_id: str) -> Key | None:
    """A key of an account, if it has it: one that is only in the settings is in no account."""
    own = select(*API_KEYS.c).where(API_KEYS.c.account_id == account, API_KEYS.c.id == key_id)
    return next(iter(await _fetch_keys(database, own)), None)


async def account_of_key(database: Database, key_id: str) -> str:
    """The account of a key, for the operator. Faults: `not_found`."""
    keys = await _fetch_keys(database, select(*API_KEYS.c).where(API_KEYS.c.id == key_id))
    if not keys:
        raise key_not_found(key_id)
    return keys[0].account


async def revoke_key(transaction: ControlTransaction, account: str, key_id: str) -> None:
    """Ends a key for good. Faults: `not_found` for none that is active."""
    event = AuditEvent(action="key.revoke", subject=key_id, account=account)
    async with transaction.begin_change(event) as connection:
        await _update_row(connection, account, key_id, {"revoked_ms": transaction.clock.wall_ms()})


async def rotate_key(
    transaction: ControlTransaction,
    account: str,
    key_id: str,
    keep_ms: int = 0,
    inherited: Mapping[str, Any] | None = None,
) -> tuple[str, Key]:
    """A new key in the place of one, with all that it may do and has spent.

    The old one works for `keep_ms` more. `inherited` is what the operator set of the old one, for
    the entry of the new one. Faults: `not_found` for none that is active.
    """
    old = await get_key(transaction.database, account, key_id)
    now_ms = transaction.clock.wall_ms()
    text, new = _generate_key_like(transaction, replace(old, bootstrap=False))
    event = AuditEvent(
        action="key.rotate",
        subject=key_id,
        account=account,
        detail={"by": new.id, "keep_ms": keep_ms},
    )
    async with transaction.begin_change(event) as connection:
        if keep_ms:
            end_ms = now_ms + keep_ms
            if old.expires_ms is not None:
                end_ms = min(end_ms, old.expires_ms)
            await _update_row(connection, account, key_id, {"expires_ms": end_ms})
        else:
            await _update_row(connection, account, key_id, {"revoked_ms": now_ms})
        await insert_key(connection, new, transaction.peppers.current.digest(text))
        old_budget, new_budget = budgets.key_subject(key_id), budgets.key_subject(new.id)
        await budgets.copy_budget(connection, account, old_budget, new_budget)
        if inherited is not None:
            made = key_event("key.make", new)
            made = replace(made, detail={**made.detail, "like": key_id, **inherited})
            await transaction.append_event(connection, made)
    return text, new


async def _update_row(
    connection: AsyncConnection, account: str, key_id: str, values: Mapping[str, Any]
) -> None:
    """Changes the row of a key that is not revoked. Faults: `not_found`."""
    active = update(API_KEYS).where(
        API_KEYS.c.account_id == account,
        API_KEYS.c.id == key_id,
        API_KEYS.c.revoked_ms.is_(None),
    )
    if not (await connection.execute(active.values(**values))).rowcount:
        raise key_not_found(key_id)


def key_not_found(key_id: str) -> Fault:
    """The fault for an id that no key has, a key that is revoked, or one of another account."""
    return Fault(
        "not_found", f"There is no active key {key_id[:64]!r}; `gatewayz keys list` shows them."
    )


def generate_key(transaction: ControlTransaction, spec: KeySpec) -> tuple[str, Key]:
    """The text of a new key, and what is to be stored of it. Faults: `bad_request`."""
    unnamed = Key(
        id="",
        account=spec.account,
        user=spec.user,
        shown="",
        name=spec.name,
        scopes=tuple(sorted(set(spec.scopes))),
        models=spec.models,
        addresses=spec.addresses,
        limits=dict(spec.limits),
        expires_ms=spec.expires_ms,
        bootstrap=spec.bootstrap,
        caching=spec.caching,
    )
    _check_key(unnamed, transaction.clock.wall_ms())
    return _generate_key_like(transaction, unnamed)


def _check_key(key: Key, now_ms: int) -> None:
    """Whether a key makes sense by itself. Faults: `bad_request`."""
    check_scopes(key.scopes)
    if len(key.name) > MAX_NAME_CHARS:
        raise Fault("bad_request", f"A key's name has at most {MAX_NAME_CHARS} characters.")
    validate_limits(key.limits, KEY_LIMITS)
    if key.caching:
        check_caching(key.caching)
    if key.expires_ms is not None and key.expires_ms <= now_ms:
        raise Fault("bad_request", "A key cannot expire in the past.")
    if len(key.models) > MAX_MODELS or len(key.addresses) > MAX_ADDRESSES:
        raise Fault(
            "bad_request", f"A key has at most {MAX_MODELS} models and {MAX_ADDRESSES} addresses."
        )
    check_addresses(key.addresses)


def _generate_key_like(transaction: ControlTransaction, like: Key) -> tuple[str, Key]:
    """A fresh key that may do what `like` may."""
    text = key_from_random(secrets.token_bytes(RANDOM_BYTES))
    key = replace(
        like,
        id=new_ulid(),
        shown=mask_key(text),
        created_ms=transaction.clock.wall_ms(),
        revoked_ms=None,
        pepper=transaction.peppers.current.id,
    )
    return text, key


async def _check_room(connection: AsyncConnection, key: Key) -> None:
    """Whether an account may have one more key. Faults: `bad_request`."""
    active = select(func.count()).where(
        API_KEYS.c.account_id == key.account,
        API_KEYS.c.revoked_ms.is_(None),
        API_KEYS.c.expires_ms.is_(None) | (API_KEYS.c.expires_ms > key.created_ms),
    )
    if int((await connection.execute(active)).scalar_one()) >= MAX_ACTIVE:
        raise Fault(
            "bad_request", f"This account has {MAX_ACTIVE} active keys; revoke some of them first."
        )


async def insert_key(connection: AsyncConnection, key: Key, digest: str) -> None:
    """Stores a key within a transaction that is open. Faults: `bad_request` for too many."""
    await _check_room(connection, key)
    row = {
        "id": key.id,
        "account_id": key.account,
        "user_id": key.user,
        "digest": digest,
        "pepper_id": key.pepper,
        "shown": key.shown,
        "name": key.name,
        "scopes": json_text(key.scopes),
        "models": json_text(key.models),
        "addresses": json_text(key.addresses),
        "limits": json_text(key.limits),
        "expires_ms": key.expires_ms,
        "created_ms": key.created_ms,
        "bootstrap": key.bootstrap,
        "caching": key.caching,
    }
    await connection.execute(insert(API_KEYS).values(row))


def key_event(action: str, key: Key) -> AuditEvent:
    """The audit entry of a new key: what may be seen of it, and what it may do."""
    named = ("shown", "name", "scopes", "user", "models", "addresses", "limits", "expires_ms")
    detail = {name: getattr(key, name) for name in named}
    if key.caching:
        detail["caching"] = key.caching
    return AuditEvent(action=action, subject=key.id, account=key.account, detail=detail)


async def pepper_ids_in_use(connection: AsyncConnection) -> set[str]:
    """The ids of the secrets that keys were made with which are not revoked."""
    made_with = select(API_KEYS.c.pepper_id).where(API_KEYS.c.revoked_ms.is_(None)).distinct()
    return set((await connection.execute(made_with)).scalars())


async def count_keys_of_old_secrets(database: Database, peppers: Peppers) -> tuple[int, int]:
    """How many active keys were made with an unknown secret, and how many with an older one."""
    known = [pepper.id for pepper in peppers.all]
    counts = select(
        func.count().filter(API_KEYS.c.pepper_id.not_in(known)),
        func.count().filter(API_KEYS.c.pepper_id != peppers.current.id),
    )
    async with database.begin(reading=True) as connection:
        active = counts.where(API_KEYS.c.revoked_ms.is_(None)).select_from(API_KEYS)
        unknown, not_current = (await connection.execute(active)).one()
    return int(unknown), int(not_current) - int(unknown)
