"""`/v1/keys`, `/admin/keys`: API keys. A key's secret is shown when it is made, and never again."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import to_builtins
from msgspec.structs import replace
from pydantic import Field

from gatewayz.control import budgets, delegation, keys
from gatewayz.control.access import OwnerFilter
from gatewayz.control.context import RequestContext
from gatewayz.control.keys import Key, KeySpec, KeyUpdate
from gatewayz.core.access import Scope
from gatewayz.core.faults import Fault
from gatewayz.web.api.shapes import (
    AccountFilter,
    Ctx,
    DeleteResponse,
    Id,
    ListResponse,
    Moment,
    Name,
    PageCursor,
    RequestModel,
    ResponseModel,
    list_response,
)

MAX_ROTATION_GRACE_S = 30 * 86_400
HAS_BUDGET = (
    "This key has a budget, and another key would spend beyond it; "
    "ask with a key that has none, or the operator."
)
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

Caching = Annotated[
    Literal["auto", "off"],
    Field(description="Whether prompts are marked for caching; null: as the account says"),
]


class KeyView(ResponseModel):
    """A key without its secret, of which `key` shows a part. Empty lists restrict nothing."""

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
    caching: Caching | None
    expires_ms: int | None
    created_ms: int
    revoked_ms: int | None


class KeyWithSecret(KeyView):
    """A new key: `secret` is shown this once."""

    secret: str


class CreateKeyRequest(RequestModel):
    """What a new key shall be."""

    name: Name = ""
    user: Id | None = Field(None, description="The person of the account whose key it is")
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)] = ["inference"]
    models: Models = []
    addresses: Addresses = []
    limits: Limits = {}
    caching: Caching | None = None
    expires_ms: Moment | None = None


class UpdateKeyRequest(RequestModel):
    """What to change; a field that is left out stays."""

    name: Name | None = None
    models: Models | None = None
    addresses: Addresses | None = None
    limits: Limits | None = None
    caching: Caching | None = None
    expires_ms: Moment | None = None


class RotateKeyRequest(RequestModel):
    """How many seconds longer the old key works."""

    keep_s: Annotated[int, Field(ge=0, le=MAX_ROTATION_GRACE_S)] = 0


class CreateAnyKeyRequest(CreateKeyRequest):
    """What a new key shall be, and whose."""

    account: Id


def key_view(key: Key, now_ms: int) -> KeyView:
    """A key as it is shown."""
    return KeyView(**_key_fields(key, now_ms))


def key_with_secret(secret: str, key: Key, now_ms: int) -> KeyWithSecret:
    """A new key, with its secret."""
    return KeyWithSecret(secret=secret, **_key_fields(key, now_ms))


def _key_fields(key: Key, now_ms: int) -> dict[str, Any]:
    same = ("id", "account", "name", "expires_ms", "created_ms", "revoked_ms")
    lists = ("scopes", "models", "addresses")
    return {
        **{name: getattr(key, name) for name in same},
        **{name: list(getattr(key, name)) for name in lists},
        "user": key.user or None,
        "key": key.shown,
        "state": key.state(now_ms),
        "limits": key.limits,
        "caching": key.caching or None,
    }


def key_spec(account: str, body: CreateKeyRequest) -> KeySpec:
    """The key of an account that a body asks for."""
    return KeySpec(
        account=account,
        user=body.user or "",
        name=body.name,
        scopes=tuple(body.scopes),
        models=tuple(body.models),
        addresses=tuple(body.addresses),
        limits=_plain_limits(body.limits),
        expires_ms=body.expires_ms,
        caching=body.caching or "",
    )


def key_update(body: UpdateKeyRequest) -> KeyUpdate:
    """The change of a key that a body asks for."""
    return KeyUpdate(
        name=body.name,
        models=None if body.models is None else tuple(body.models),
        addresses=None if body.addresses is None else tuple(body.addresses),
        limits=None if body.limits is None else _plain_limits(body.limits),
        expires_ms=body.expires_ms,
        # Null is a value here: the key shall never expire.
        expires="expires_ms" in body.model_fields_set,
        # So it is here: the key shall do as its account does.
        caching=(body.caching or "") if "caching" in body.model_fields_set else None,
    )


def _plain_limits(limits: Mapping[Any, int]) -> dict[str, int]:
    return {str(name): number for name, number in limits.items()}


def _keep_ms(body: RotateKeyRequest | None) -> int:
    return 0 if body is None else body.keep_s * 1000


def _check_scopes(ctx: RequestContext, scopes: set[str]) -> None:
    """Nobody gives more than they have. Faults: `forbidden`."""
    own = ctx.principal.scopes
    beyond = [] if "operator" in own else sorted(scopes - own - {"inference"})
    if beyond:
        raise Fault("forbidden", f"This key does not have the scope {', '.join(beyond)} itself.")


async def _get_visible_key(ctx: RequestContext, key_id: str) -> Key:
    """A key that may be seen: the account's, the person's, or the caller's. Faults: `not_found`."""
    key = await keys.get_key(ctx.database, ctx.account, key_id)
    principal = ctx.principal
    is_own = key.id == principal.key or (principal.user and key.user == principal.user)
    if ctx.has_account_scope or is_own:
        return key
    raise keys.key_not_found(key_id)


async def _get_manageable_key(ctx: RequestContext, key_id: str) -> Key:
    """Faults: `not_found`; `forbidden` for a key that can do more than the caller's."""
    key = await _get_visible_key(ctx, key_id)
    _check_scopes(ctx, set(key.scopes))
    return key


async def _find_own_key(ctx: RequestContext) -> Key | None:
    """The key that bounds what the caller may give; none for an operator."""
    if "operator" in ctx.principal.scopes:
        return None
    return await keys.find_key(ctx.database, ctx.account, ctx.principal.key)


async def _check_rotation(ctx: RequestContext, key: Key, keep_ms: int) -> dict[str, Any] | None:
    """What the operator set of a key that a customer replaces, for the entry of the new one.

    Faults: `forbidden` for a key that reaches further than the caller's, or whose budget would be
    there twice.
    """
    if "operator" in ctx.principal.scopes:
        return None
    own = await _find_own_key(ctx)
    subject = budgets.key_subject(key.id)
    budget = await budgets.find_budget(ctx.database, ctx.account, subject, ctx.now_ms)
    if own is not None and own.id != key.id:
        delegation.check_bounds(delegation.bounds_of(key), delegation.bounds_of(own))
        _check_no_budget(ctx)
    limit = await delegation.operator_budget(ctx.database, ctx.account, subject)
    is_own = own is not None and own.id == key.id
    if keep_ms and budget is not None and (limit is not None or is_own):
        message = "Both keys could spend this key's budget; replace it with keep_s 0."
        raise Fault("forbidden", message, param="keep_s")
    bounds = await delegation.operator_bounds(ctx.database, key)
    inherited: dict[str, Any] = {"operator_bounds": to_builtins(bounds)}
    if limit is not None:
        inherited["operator_budget"] = {"limit_nanos": limit.amount, "period": limit.period}
    return inherited


async def list_keys(ctx: Ctx, cursor: PageCursor) -> ListResponse[KeyView]:
    """The keys of the account, or those of this person; the oldest first."""
    rows, page = await keys.list_keys(ctx.database, ctx.owner, cursor)
    return list_response(page, [key_view(key, ctx.now_ms) for key in rows])


async def create_key(ctx: Ctx, body: CreateKeyRequest) -> KeyWithSecret:
    """Make a key; its secret is shown in this answer and never again."""
    _check_scopes(ctx, set(body.scopes))
    spec = key_spec(ctx.account, body)
    own = await _find_own_key(ctx)
    if own is not None:
        spec = _spec_within(ctx, spec, own, body.model_fields_set)
    secret, key = await keys.create_key(ctx.transaction, spec)
    return key_with_secret(secret, key, ctx.now_ms)


def _check_no_budget(ctx: RequestContext) -> None:
    """Faults: `forbidden` for a key with a budget, which another key would spend beyond."""
    if budgets.key_subject(ctx.principal.key) in ctx.principal.budgets:
        raise Fault("forbidden", HAS_BUDGET)


def _spec_within(ctx: RequestContext, spec: KeySpec, own: Key, named: set[str]) -> KeySpec:
    """The key within the bounds of the one that makes it, which are its own where it names none.

    Faults: `forbidden`.
    """
    _check_no_budget(ctx)
    limit = delegation.bounds_of(own)
    asked = delegation.KeyBounds(
        models=spec.models,
        addresses=spec.addresses,
        limits=dict(spec.limits),
        expires_ms=spec.expires_ms,
    )
    bounds = delegation.bounds_within(asked, limit, named)
    delegation.check_bounds(bounds, limit)
    return replace(
        spec,
        models=bounds.models,
        addresses=bounds.addresses,
        limits=bounds.limits,
        expires_ms=bounds.expires_ms,
    )


async def get_key(ctx: Ctx, id: Id) -> KeyView:
    """A key, without its secret."""
    return key_view(await _get_visible_key(ctx, id), ctx.now_ms)


async def update_key(ctx: Ctx, id: Id, body: UpdateKeyRequest) -> KeyView:
    """Change a key's name, models, addresses, limits, caching or end."""
    old, changes = await _get_manageable_key(ctx, id), key_update(body)
    if "operator" not in ctx.principal.scopes:
        bounds = delegation.bounds_of(keys.apply_update(old, changes))
        await delegation.check_change(ctx.database, old, bounds, await _find_own_key(ctx))
    key = await keys.update_key(ctx.transaction, ctx.account, id, changes)
    return key_view(key, ctx.now_ms)


async def revoke_key(ctx: Ctx, id: Id) -> DeleteResponse:
    """Revoke a key for good; it is refused everywhere within two seconds."""
    await _get_manageable_key(ctx, id)
    await keys.revoke_key(ctx.transaction, ctx.account, id)
    return DeleteResponse(id=id, object="key")


async def rotate_key(ctx: Ctx, id: Id, body: RotateKeyRequest | None = None) -> KeyWithSecret:
    """Replace a key by one that may do the same; the old one is revoked, at once or later."""
    old = await _get_manageable_key(ctx, id)
    inherited = await _check_rotation(ctx, old, _keep_ms(body))
    secret, key = await keys.rotate_key(ctx.transaction, ctx.account, id, _keep_ms(body), inherited)
    return key_with_secret(secret, key, ctx.now_ms)


async def list_any_keys(
    ctx: Ctx, cursor: PageCursor, account: AccountFilter = ""
) -> ListResponse[KeyView]:
    """The keys of an account, or of all; the oldest first."""
    rows, page = await keys.list_keys(ctx.database, OwnerFilter(account), cursor)
    return list_response(page, [key_view(key, ctx.now_ms) for key in rows])


async def create_any_key(ctx: Ctx, body: CreateAnyKeyRequest) -> KeyWithSecret:
    """Make a key for an account; its secret is shown in this answer and never again."""
    secret, key = await keys.create_key(ctx.transaction, key_spec(body.account, body))
    return key_with_secret(secret, key, ctx.now_ms)


async def get_any_key(ctx: Ctx, id: Id) -> KeyView:
    """A key of any account, without its secret."""
    account = await keys.account_of_key(ctx.database, id)
    return key_view(await keys.get_key(ctx.database, account, id), ctx.now_ms)


async def update_any_key(ctx: Ctx, id: Id, body: UpdateKeyRequest) -> KeyView:
    """Change the name, models, addresses, limits, caching or end of a key of any account."""
    account = await keys.account_of_key(ctx.database, id)
    key = await keys.update_key(ctx.transaction, account, id, key_update(body))
    return key_view(key, ctx.now_ms)


async def revoke_any_key(ctx: Ctx, id: Id) -> DeleteResponse:
    """Revoke a key of any account for good; it is refused everywhere within two seconds."""
    account = await keys.account_of_key(ctx.database, id)
    await keys.revoke_key(ctx.transaction, account, id)
    return DeleteResponse(id=id, object="key")


async def rotate_any_key(ctx: Ctx, id: Id, body: RotateKeyRequest | None = None) -> KeyWithSecret:
    """Replace a key of any account by one that may do the same; the old one is revoked."""
    account = await keys.account_of_key(ctx.database, id)
    secret, key = await keys.rotate_key(ctx.transaction, account, id, _keep_ms(body))
    return key_with_secret(secret, key, ctx.now_ms)
