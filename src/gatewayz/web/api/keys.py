"""`/v1/keys`: an account's API keys. A key is shown when it is made, and never again."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from gatewayz.core.access import Scope
from gatewayz.core.faults import Fault
from gatewayz.store.sql import keys
from gatewayz.store.sql.keys import Change, Key, Wish
from gatewayz.web.api.shapes import (
    Done,
    Given,
    Here,
    Id,
    Listed,
    Moment,
    Name,
    Shown,
    Sliced,
    sliced,
)
from gatewayz.web.api.visit import Visit

MAX_KEEP_S = 30 * 86_400
Models = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=keys.MAX_MODELS)
]
Addresses = Annotated[
    list[Annotated[str, Field(max_length=64)]], Field(max_length=keys.MAX_ADDRESSES)
]
Limits = Annotated[
    dict[
        Literal["key_rpm", "key_per_day", "key_concurrency"], Annotated[int, Field(ge=1, le=10**9)]
    ],
    Field(description="Calls a minute, a day, at once: below the account's"),
]


class KeyShown(Shown):
    """A key without its secret. Empty lists restrict nothing; `key` is what may be seen of it."""

    id: str
    object: Literal["key"] = "key"
    account: str
    user: str | None
    key: str
    name: str
    state: str
    scopes: list[str]
    models: list[str]
    addresses: list[str]
    limits: dict[str, int]
    expires_ms: int | None
    created_ms: int
    revoked_ms: int | None


class KeyMade(KeyShown):
    """A new key: `secret` is shown this once."""

    secret: str


class KeyGiven(Given):
    """What a new key shall be."""

    name: Name = ""
    user: Id | None = Field(None, description="The person of the account whose key it is")
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)] = ["inference"]
    models: Models = []
    addresses: Addresses = []
    limits: Limits = {}
    expires_ms: Moment | None = None


class KeyChanged(Given):
    """What shall be another; what is left out stays."""

    name: Name | None = None
    models: Models | None = None
    addresses: Addresses | None = None
    limits: Limits | None = None
    expires_ms: Moment | None = None


class Rotation(Given):
    """How long the old key goes on to work."""

    keep_s: Annotated[int, Field(ge=0, le=MAX_KEEP_S)] = 0


def key_shown(key: Key, now_ms: int) -> KeyShown:
    """A key as it is shown."""
    return KeyShown(**_fields(key, now_ms))


def key_made(secret: str, key: Key, now_ms: int) -> KeyMade:
    """A new key, with its secret."""
    return KeyMade(secret=secret, **_fields(key, now_ms))


def _fields(key: Key, now_ms: int) -> dict[str, Any]:
    names = ("id", "account", "name", "expires_ms", "created_ms", "revoked_ms")
    lists = {name: list(getattr(key, name)) for name in ("scopes", "models", "addresses")}
    own = {name: getattr(key, name) for name in names}
    return {
        **own,
        **lists,
        "user": key.user or None,
        "key": key.shown,
        "state": key.state(now_ms),
        "limits": key.limits,
    }


def plain(limits: Mapping[Any, int]) -> dict[str, int]:
    """Limits by their plain names."""
    return {str(name): number for name, number in limits.items()}


def within(here: Visit, scopes: set[str]) -> None:
    """Nobody gives more than they have. Faults: `forbidden`."""
    own = here.who.scopes
    beyond = [] if "operator" in own else sorted(scopes - own - {"inference"})
    if beyond:
        raise Fault("forbidden", f"The scope {', '.join(beyond)} is more than this key has itself.")


async def _mine(here: Visit, key_id: str) -> Key:
    """A key that may be seen: the account's, the person's, or the one that asks. Faults: `unknown_route`."""
    found = await keys.one(here.database, here.who.account, key_id)
    who = here.who
    if here.keeps_account or found.id == who.key or (who.user and found.user == who.user):
        return found
    raise keys.unknown(key_id)


async def _changeable(here: Visit, key_id: str) -> Key:
    """A key that may be changed: none that can do more than the one that asks."""
    found = await _mine(here, key_id)
    within(here, set(found.scopes))
    return found


async def several(here: Here, cut: Sliced) -> Listed[KeyShown]:
    """The keys of the account, or those of this person; the oldest first."""
    who = here.who
    whose = (
        keys.Owner(who.account)
        if here.keeps_account
        else keys.Owner(who.account, who.user, who.key)
    )
    found, more = await keys.several(here.database, whose, cut)
    return sliced(more, [key_shown(one, here.now_ms) for one in found])


async def create(here: Here, given: KeyGiven) -> KeyMade:
    """Make a key; its secret is shown in this answer and never again."""
    within(here, set(given.scopes))
    wish = Wish(
        account=here.who.account,
        user=given.user or "",
        name=given.name,
        scopes=tuple(given.scopes),
        models=tuple(given.models),
        addresses=tuple(given.addresses),
        limits=plain(given.limits),
        expires_ms=given.expires_ms,
    )
    secret, made = await keys.make(here.desk, wish)
    return key_made(secret, made, here.now_ms)


async def show(here: Here, id: Id) -> KeyShown:
    """A key, without its secret."""
    return key_shown(await _mine(here, id), here.now_ms)


def change_of(given: KeyChanged) -> Change:
    """What of a key shall be another."""
    said = given.model_fields_set
    return Change(
        name=given.name,
        models=None if given.models is None else tuple(given.models),
        addresses=None if given.addresses is None else tuple(given.addresses),
        limits=None if given.limits is None else plain(given.limits),
        expires_ms=given.expires_ms,
        expires="expires_ms" in said,
    )


async def change(here: Here, id: Id, given: KeyChanged) -> KeyShown:
    """Change a key's name, models, addresses, limits or end."""
    await _changeable(here, id)
    return key_shown(
        await keys.change(here.desk, here.who.account, id, change_of(given)), here.now_ms
    )


async def revoke(here: Here, id: Id) -> Done:
    """End a key for good; it is refused everywhere within two seconds."""
    await _changeable(here, id)
    await keys.revoke(here.desk, here.who.account, id)
    return Done(id=id, object="key")


async def rotate(here: Here, id: Id, given: Rotation | None = None) -> KeyMade:
    """Make a key in the place of this one, which may do the same; the old one ends, at once or later."""
    await _changeable(here, id)
    keep_ms = (given.keep_s if given is not None else 0) * 1000
    secret, made = await keys.rotate(here.desk, here.who.account, id, keep_ms)
    return key_made(secret, made, here.now_ms)
