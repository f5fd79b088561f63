"""API keys as rows: made, listed, revoked, rotated. A key itself is shown once and never kept."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gatewayz.core.access import HOUSE, SCOPES, scopes_of
from gatewayz.core.calls import new_ulid
from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, key_from, masked
from gatewayz.limits.rules import KEY_LIMITS, checked_limits
from gatewayz.store.secret import Peppers
from gatewayz.store.sql import budgets
from gatewayz.store.sql.audit import Deed
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.desk import Desk
from gatewayz.store.sql.slices import Cut, Slice, sliced
from gatewayz.store.sql.tables import ACCOUNTS, API_KEYS, USERS

MAX_LISTED = 10_000
MAX_ADDRESSES, MAX_MODELS = 100, 1_000


class Wish(Struct, frozen=True, kw_only=True):
    """What a new key shall be: whose, what for, and how far it reaches. Empty lists restrict nothing."""

    account: str
    user: str = ""
    name: str = ""
    scopes: tuple[str, ...] = ("inference",)
    models: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    limits: Mapping[str, int] = {}
    expires_ms: int | None = None
    bootstrap: bool = False


class Key(Struct, frozen=True, kw_only=True):
    """A key as it is kept, without its digest. `shown` is what may be seen of it."""

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

    def state(self, now_ms: int) -> str:
        """Active, revoked or expired."""
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms is not None and self.expires_ms <= now_ms else "active"


class Change(Struct, frozen=True, kw_only=True):
    """What of a key shall be another; what is `None` stays. `expires` says that its end is another, or none."""

    name: str | None = None
    models: tuple[str, ...] | None = None
    addresses: tuple[str, ...] | None = None
    limits: Mapping[str, int] | None = None
    expires_ms: int | None = None
    expires: bool = False


class Owner(Struct, frozen=True):
    """Whose keys: an account's (everybody's if it is empty), of these a person's, or one key alone."""

    account: str
    user: str = ""
    key: str = ""


COLUMNS = tuple(
    API_KEYS.c[name]
    for name in (
        *(
            "id",
            "account_id",
            "user_id",
            "shown",
            "name",
            "scopes",
            "models",
            "addresses",
            "limits",
        ),
        *("expires_ms", "created_ms", "revoked_ms", "bootstrap", "pepper_id"),
    )
)


def _key(row: Sequence[Any]) -> Key:
    given = dict(zip(Key.__struct_fields__, row, strict=True))
    lists = {name: _texts(given[name]) for name in ("scopes", "models", "addresses")}
    limits = msgspec.json.decode(given["limits"], type=dict[str, int])
    return Key(**{**given, **lists, "limits": limits})


def _texts(listed: str) -> tuple[str, ...]:
    return msgspec.json.decode(listed, type=tuple[str, ...])


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


async def make(desk: Desk, wish: Wish) -> tuple[str, Key]:
    """A new key, which is shown now and never again. Faults: `bad_request`, `unknown_route` for no such account."""
    key, record = _new(desk, wish)
    async with desk.changing(_deed("key.make", record)) as connection:
        await _may_be_made(connection, record)
        await _inserted(connection, record, desk.peppers.current.digest(key))
    return key, record


async def make_bootstrap(desk: Desk, *, only_first: bool) -> str:
    """A new operator's key, in the place of the bootstrap key before it.

    `only_first`: when no operator's key works yet; of several processes that start at once, one makes it. Otherwise
    nothing is made and the answer is empty.
    """
    key, record = _new(desk, Wish(account=HOUSE, name="bootstrap", scopes=SCOPES, bootstrap=True))
    async with desk.locked() as connection:
        if only_first and await _an_operator_has_a_key(connection, desk):
            return ""
        old = update(API_KEYS).where(
            API_KEYS.c.bootstrap.is_(True), API_KEYS.c.revoked_ms.is_(None)
        )
        await connection.execute(old.values(revoked_ms=desk.clock.wall_ms()))
        await _inserted(connection, record, desk.peppers.current.digest(key))
        await desk.record(connection, _deed("key.make", record))
    return key


async def _an_operator_has_a_key(connection: AsyncConnection, desk: Desk) -> bool:
    known = [pepper.id for pepper in desk.peppers.all]
    kept = select(*COLUMNS).where(API_KEYS.c.account_id == HOUSE, API_KEYS.c.pepper_id.in_(known))
    now = desk.clock.wall_ms()
    keys = [_key(row) for row in (await connection.execute(kept.limit(MAX_LISTED))).all()]
    return any("operator" in key.scopes and key.state(now) == "active" for key in keys)


async def listed(database: Database, account: str) -> list[Key]:
    """All keys of an account, oldest first. Faults: `unavailable`."""
    return await _selected(database, select(*COLUMNS).where(API_KEYS.c.account_id == account))


async def several(database: Database, owner: Owner, cut: Cut) -> tuple[list[Key], Slice]:
    """A slice of somebody's keys, oldest first. Faults: `bad_request`, `unavailable`."""
    wanted = select(*COLUMNS)
    if owner.account:
        wanted = wanted.where(API_KEYS.c.account_id == owner.account)
    if owner.user or owner.key:
        own = API_KEYS.c.user_id == owner.user if owner.user else API_KEYS.c.id == owner.key
        wanted = wanted.where(own)
    found = await sliced(database, wanted, (API_KEYS.c.id,), cut)
    return [_key(tuple(row.values())) for row in found.rows], found


async def change(desk: Desk, account: str, key_id: str, wish: Change) -> Key:
    """A key with other bounds; what it may do stays. Faults: `bad_request`, `unknown_route` for none that is active."""
    old = await one(desk.database, account, key_id)
    said = {name: getattr(wish, name) for name in ("name", "models", "addresses", "limits")}
    given = {name: value for name, value in said.items() if value is not None}
    if wish.expires:
        given["expires_ms"] = wish.expires_ms
    new = replace(old, **given)
    _check(new, desk.clock.wall_ms() if wish.expires else 0)
    row = {"name": new.name, "expires_ms": new.expires_ms}
    row |= {name: _json(getattr(new, name)) for name in ("models", "addresses", "limits")}
    async with desk.changing(
        Deed(action="key.change", subject=key_id, account=account, detail=given)
    ) as connection:
        await _changed(connection, account, key_id, row)
    return new


async def all_listed(database: Database) -> list[Key]:
    """The keys of every account, for the operator."""
    return await _selected(database, select(*COLUMNS))


async def _selected(database: Database, wanted: Select[Any]) -> list[Key]:
    async with database.begin(reading=True) as connection:
        rows = (await connection.execute(wanted.order_by(API_KEYS.c.id).limit(MAX_LISTED))).all()
    return [_key(row) for row in rows]


async def one(database: Database, account: str, key_id: str) -> Key:
    """A key of an account; another's is as one that does not exist. Faults: `unknown_route`."""
    found = await find(database, account, key_id)
    if found is None:
        raise unknown(key_id)
    return found


async def find(database: Database, account: str, key_id: str) -> Key | None:
    """A key of an account, if it has it: one that is only in the settings is in no account."""
    own = select(*COLUMNS).where(API_KEYS.c.account_id == account, API_KEYS.c.id == key_id)
    return next(iter(await _selected(database, own)), None)


async def owner(database: Database, key_id: str) -> str:
    """Whose a key is, for the operator. Faults: `unknown_route`."""
    found = await _selected(database, select(*COLUMNS).where(API_KEYS.c.id == key_id))
    if not found:
        raise unknown(key_id)
    return found[0].account


async def revoke(desk: Desk, account: str, key_id: str) -> None:
    """Ends a key for good. Faults: `unknown_route` for none that is active."""
    async with desk.changing(
        Deed(action="key.revoke", subject=key_id, account=account)
    ) as connection:
        await _ended(connection, account, key_id, desk.clock.wall_ms())


async def rotate(desk: Desk, account: str, key_id: str, keep_ms: int = 0) -> tuple[str, Key]:
    """A new key in the place of one, with all that it may do and has spent; the old one works for `keep_ms` more.

    Faults: `unknown_route` for none that is active.
    """
    old = await one(desk.database, account, key_id)
    now = desk.clock.wall_ms()
    key, record = _shaped(desk, replace(old, bootstrap=False))
    deed = Deed(
        action="key.rotate",
        subject=key_id,
        account=account,
        detail={"by": record.id, "keep_ms": keep_ms},
    )
    async with desk.changing(deed) as connection:
        if keep_ms:
            last = now + keep_ms if old.expires_ms is None else min(old.expires_ms, now + keep_ms)
            await _changed(connection, account, key_id, {"expires_ms": last})
        else:
            await _ended(connection, account, key_id, now)
        await _inserted(connection, record, desk.peppers.current.digest(key))
        await budgets.carried_over(
            connection, account, budgets.of_key(key_id), budgets.of_key(record.id)
        )
    return key, record


async def _ended(connection: AsyncConnection, account: str, key_id: str, now_ms: int) -> None:
    await _changed(connection, account, key_id, {"revoked_ms": now_ms})


async def _changed(
    connection: AsyncConnection, account: str, key_id: str, values: Mapping[str, Any]
) -> None:
    own = update(API_KEYS).where(API_KEYS.c.account_id == account, API_KEYS.c.id == key_id)
    done = await connection.execute(own.where(API_KEYS.c.revoked_ms.is_(None)).values(**values))
    if not done.rowcount:
        raise unknown(key_id)


def unknown(key_id: str) -> Fault:
    return Fault(
        "unknown_route", f"There is no active key {key_id[:64]!r}; `gatewayz keys list` shows them."
    )


def _new(desk: Desk, wish: Wish) -> tuple[str, Key]:
    record = Key(
        id="",
        account=wish.account,
        user=wish.user,
        shown="",
        name=wish.name,
        scopes=tuple(sorted(set(wish.scopes))),
        models=wish.models,
        addresses=wish.addresses,
        limits=dict(wish.limits),
        expires_ms=wish.expires_ms,
        bootstrap=wish.bootstrap,
    )
    _check(record, desk.clock.wall_ms())
    return _shaped(desk, record)


def _shaped(desk: Desk, like: Key) -> tuple[str, Key]:
    """A fresh key that may do what `like` may."""
    key = key_from(secrets.token_bytes(RANDOM_BYTES))
    now, pepper = desk.clock.wall_ms(), desk.peppers.current.id
    return key, replace(
        like, id=new_ulid(), shown=masked(key), created_ms=now, revoked_ms=None, pepper=pepper
    )


def _check(wish: Key, now_ms: int) -> None:
    _known_scopes(wish.scopes)
    checked_limits(wish.limits, KEY_LIMITS)
    if wish.expires_ms is not None and wish.expires_ms <= now_ms:
        raise Fault("bad_request", "A key cannot expire in the past.")
    if len(wish.models) > MAX_MODELS or len(wish.addresses) > MAX_ADDRESSES:
        raise Fault(
            "bad_request", f"A key has at most {MAX_MODELS} models and {MAX_ADDRESSES} addresses."
        )
    for address in wish.addresses:
        try:
            ip_network(address, strict=False)
        except ValueError:
            why = f"{address!r} is neither an address nor a network, such as 203.0.113.7 or 2001:db8::/32."
            raise Fault("bad_request", why) from None


def _known_scopes(scopes: Collection[str]) -> None:
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise Fault(
            "bad_request", f"Scopes are {', '.join(SCOPES)}, not {', '.join(unknown) or 'none'}."
        )


async def _may_be_made(connection: AsyncConnection, record: Key) -> None:
    """Whether account and person are there, and whether they may give this key all that it asks for."""
    account = select(func.count()).where(ACCOUNTS.c.id == record.account)
    if not (await connection.execute(account)).scalar():
        raise Fault("unknown_route", f"There is no account {record.account[:64]!r}.")
    role = ""
    if record.user:
        person = select(USERS.c.role).where(
            USERS.c.account_id == record.account, USERS.c.id == record.user
        )
        role = str(
            (await connection.execute(person.where(USERS.c.disabled_ms.is_(None)))).scalar() or ""
        )
        if not role:
            raise Fault("unknown_route", f"The account has no user {record.user[:64]!r}.")
    beyond = sorted(set(record.scopes) - scopes_of(record.account, role, record.scopes))
    if beyond:
        whose = f"a {role}'s key" if role else "a key outside the account house"
        raise Fault("forbidden", f"The scope {', '.join(beyond)} is more than {whose} can have.")


async def _inserted(connection: AsyncConnection, record: Key, digest: str) -> None:
    row = {
        "id": record.id,
        "account_id": record.account,
        "user_id": record.user,
        "digest": digest,
        "pepper_id": record.pepper,
        "shown": record.shown,
        "name": record.name,
        "scopes": _json(record.scopes),
        "models": _json(record.models),
        "addresses": _json(record.addresses),
        "limits": _json(record.limits),
        "expires_ms": record.expires_ms,
        "created_ms": record.created_ms,
        "bootstrap": record.bootstrap,
    }
    await connection.execute(insert(API_KEYS).values(row))


def _deed(action: str, record: Key) -> Deed:
    told = {
        "shown": record.shown,
        "name": record.name,
        "scopes": record.scopes,
        "user": record.user,
    }
    return Deed(action=action, subject=record.id, account=record.account, detail=told)


async def strangers(database: Database, peppers: Peppers) -> tuple[int, int]:
    """How many active keys were made with a secret that is not known here, and how many with an older one."""
    unknown = func.count().filter(
        API_KEYS.c.pepper_id.not_in([pepper.id for pepper in peppers.all])
    )
    older = func.count().filter(API_KEYS.c.pepper_id != peppers.current.id)
    async with database.begin(reading=True) as connection:
        counted = (
            select(unknown, older).where(API_KEYS.c.revoked_ms.is_(None)).select_from(API_KEYS)
        )
        none, old = (await connection.execute(counted)).one()
    return int(none), int(old) - int(none)
