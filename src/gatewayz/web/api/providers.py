"""`/admin/providers`, `/admin/provider-keys`: who is asked, with which keys, and who is not for now.

A change holds in every process within a second, without a restart. Keys go in and never come out.
"""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field

from gatewayz.catalog.sources import Listing, StoredKey
from gatewayz.control import provider_keys
from gatewayz.control.context import RequestContext
from gatewayz.control.provider_keys import MAX_KEY_CHARS, MAX_REASON_CHARS, MAX_WEIGHT
from gatewayz.providers.spec import Provider
from gatewayz.web.api.shapes import (
    Ctx,
    DeleteResponse,
    Id,
    ListResponse,
    RequestModel,
    ResponseModel,
    full_list_response,
)

ProviderFilter = Annotated[str, Query(max_length=128, description="Only this provider's")]


class ListingView(ResponseModel):
    """A provider's own list, as it was last read. `quarantined` prices are not believed."""

    read_ms: int
    offers: int
    quarantined: int
    doubt_reason: str


class ProviderView(ResponseModel):
    """A provider: whether it is on, and the circuit breakers of its offers in this process.

    Its keys are from the first of settings, store and environment that has one: `key_source` names
    the setting or the variable.
    """

    id: str
    object: Literal["provider"] = "provider"
    name: str
    state: Literal["on", "off"]
    why: str
    dialect: str
    priority: int
    free: bool
    verified: bool
    credentials: int
    keys_from: Literal["", "settings", "store", "environment"]
    key_source: str
    models: int
    breakers: dict[str, str]
    listing: ListingView | None


class ProviderKeyView(ResponseModel):
    """A key that is stored of a provider; `shown` is all that can be seen of it."""

    id: str
    object: Literal["provider_key"] = "provider_key"
    provider: str
    shown: str
    weight: int
    created_ms: int


class UpdateProviderRequest(RequestModel):
    """Whether a provider is asked; `reason` is what others see of why it is off."""

    enabled: bool
    reason: Annotated[str, Field(max_length=MAX_REASON_CHARS)] = ""


class CreateProviderKeyRequest(RequestModel):
    """A key of a provider, in place of the keys that are stored of it, or `beside` them.

    Among several keys each is used as often as its weight says.
    """

    provider: Id
    key: Annotated[str, Field(min_length=1, max_length=MAX_KEY_CHARS)]
    weight: Annotated[int, Field(ge=1, le=MAX_WEIGHT)] = 1
    beside: bool = False


async def list_providers(ctx: Ctx) -> ListResponse[ProviderView]:
    """Every provider: whether it is on, why not, its offers, and how its own list was last read."""
    counts = _offer_counts(ctx)
    return full_list_response(
        [
            provider_view(ctx, provider, counts.get(provider.id, 0))
            for provider in ctx.control.catalog.providers.values()
        ]
    )


async def get_provider(ctx: Ctx, id: str) -> ProviderView:
    """One provider."""
    provider = provider_keys.find_provider(ctx.control.catalog.providers, id)
    return provider_view(ctx, provider, _offer_counts(ctx).get(id, 0))


async def update_provider(ctx: Ctx, id: str, body: UpdateProviderRequest) -> ProviderView:
    """Switch a provider off or on, in every process, without a restart. Calls under way go on."""
    provider = provider_keys.find_provider(ctx.control.catalog.providers, id)
    await provider_keys.switch_provider(
        ctx.transaction, provider, on=body.enabled, reason=body.reason
    )
    await ctx.control.refresh_catalog()
    return await get_provider(ctx, id)


async def list_provider_keys(
    ctx: Ctx, provider: ProviderFilter = ""
) -> ListResponse[ProviderKeyView]:
    """The keys that are stored, masked; those of settings and environment are not among them."""
    keys = await provider_keys.list_provider_keys(ctx.database, provider)
    return full_list_response([_key_view(key) for key in keys])


async def create_provider_key(ctx: Ctx, body: CreateProviderKeyRequest) -> ProviderKeyView:
    """Store a key of a provider; it is used from now on, and shown to nobody again."""
    provider = provider_keys.find_provider(ctx.control.catalog.providers, body.provider)
    key = await provider_keys.put_provider_key(
        ctx.transaction, provider, body.key, weight=body.weight, beside=body.beside
    )
    await ctx.control.refresh_catalog()
    return _key_view(key)


async def delete_provider_key(ctx: Ctx, id: str) -> DeleteResponse:
    """Remove a stored key; what the environment has holds again if it was the last."""
    await provider_keys.delete_provider_key(ctx.transaction, id)
    await ctx.control.refresh_catalog()
    return DeleteResponse(id=id, object="provider_key")


def _key_view(key: StoredKey) -> ProviderKeyView:
    return ProviderKeyView(
        id=key.id,
        provider=key.provider,
        shown=key.shown,
        weight=key.weight,
        created_ms=key.created_ms,
    )


def _offer_counts(ctx: RequestContext) -> dict[str, int]:
    counts: dict[str, int] = {}
    for model in ctx.control.catalog.models.values():
        for offer in model.offers:
            counts[offer.provider] = counts.get(offer.provider, 0) + 1
    return counts


def provider_view(ctx: RequestContext, provider: Provider, models: int) -> ProviderView:
    """A provider with `models` offers, as it is shown."""
    listing = ctx.control.listings().get(provider.id)
    breakers = {
        subject[1]: state
        for subject, state in ctx.control.breakers().items()
        if subject[0] == provider.id
    }
    return ProviderView(
        id=provider.id,
        name=provider.name,
        state="off" if provider.off else "on",
        why=provider.off,
        dialect=provider.dialect,
        priority=provider.priority,
        free=provider.free,
        verified=provider.verified,
        credentials=len(provider.credentials),
        keys_from=provider.keys_from,
        key_source=provider.key_source,
        models=models,
        breakers=breakers,
        listing=_listing_view(listing) if listing is not None else None,
    )


def _listing_view(listing: Listing) -> ListingView:
    return ListingView(
        read_ms=listing.read_s * 1000,
        offers=len(listing.offers),
        quarantined=len(listing.quarantined),
        doubt_reason=listing.doubt_reason,
    )
