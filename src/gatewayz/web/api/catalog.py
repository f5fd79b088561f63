"""`/admin/models`, `/admin/offers`, `/admin/prices`: what is sold.

What is set here holds over all lists, in every process within a second; what the configuration file
sets cannot be changed here.
"""

from typing import Annotated, Any

from fastapi import Query
from msgspec.json import decode

from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.operator_models import parse_price
from gatewayz.catalog.price_gate import (
    check_new_limits,
    check_new_price,
    price_from_quarantine,
    usual_call_cost,
)
from gatewayz.catalog.report import why_not_callable, why_not_sold
from gatewayz.catalog.settings import TierSettings
from gatewayz.catalog.sources import OfferKey, config_lock_path, price_config_lock_path
from gatewayz.control import overrides
from gatewayz.control.context import RequestContext
from gatewayz.control.overrides import MAX_ID, ModelOverride, OfferOverride, SqlCatalogOverrides
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price
from gatewayz.core.requests import Capability
from gatewayz.web.api.catalog_shapes import (
    BucketName,
    CreatePriceRequest,
    ModelView,
    OfferView,
    PriceEntry,
    PutModelRequest,
    PutOfferRequest,
    UnitPrice,
    price_view,
)
from gatewayz.web.api.shapes import (
    Ctx,
    DeleteResponse,
    ListResponse,
    PageCursor,
    full_list_response,
)

ModelId = Annotated[str, Query(min_length=1, max_length=MAX_ID, description="The model's id")]
ProviderId = Annotated[str, Query(min_length=1, max_length=MAX_ID)]
UpstreamId = Annotated[
    str, Query(min_length=1, max_length=MAX_ID, description="What the provider calls it")
]
ModelSearch = Annotated[
    str, Query(max_length=MAX_ID, description="Only models whose id contains this")
]


def offer_view(ctx: RequestContext, offer: Offer) -> OfferView:
    """An offer as it is shown."""
    offer_key = (offer.provider, offer.upstream_id)
    return OfferView(
        provider=offer.provider,
        upstream_id=offer.upstream_id,
        price=price_view(offer.price) if offer.price is not None else None,
        quarantine_reason=offer.quarantine_reason,
        context=offer.context,
        max_output=offer.max_output,
        why_not_callable=why_not_callable(offer, ctx.control.catalog),
        why_not_sold=why_not_sold(offer),
        price_set_in=price_config_lock_path(ctx.control.lists, offer_key),
    )


def model_view(ctx: RequestContext, model: Model, *, hidden: bool = False) -> ModelView:
    """A model as it is shown, with its offers."""
    return ModelView(
        id=model.id,
        name=model.name,
        aliases=list(model.aliases),
        hidden=hidden,
        set_in=config_lock_path(ctx.control.lists, model.id),
        offers=[offer_view(ctx, offer) for offer in model.offers],
    )


async def list_models(
    ctx: Ctx, cursor: PageCursor, find: ModelSearch = ""
) -> ListResponse[ModelView]:
    """All models, hidden ones too, with their offers, prices, and why an offer is not callable."""
    models = ctx.control.catalog.models
    hidden_ids = (await SqlCatalogOverrides(ctx.database).read(ctx.now_ms)).hidden_models
    hidden = {id: Model(id=id) for id in hidden_ids if id not in models}
    ids = sorted(id for id in (*models, *hidden) if id > cursor.after and find in id)
    page = ids[: cursor.limit]
    views = [model_view(ctx, models.get(id) or hidden[id], hidden=id in hidden) for id in page]
    more = len(ids) > len(page)
    return ListResponse(data=views, has_more=more, next=page[-1] if more else None)


def _check_not_locked(path: str) -> None:
    """Faults: `config_locked` for what the configuration file sets at this path."""
    if path:
        raise Fault("config_locked", f"{path} is set in the configuration file; change it there.")


def _check_provider(ctx: RequestContext, provider: str) -> None:
    if provider not in ctx.control.catalog.providers:
        raise Fault("bad_request", f"There is no provider {provider[:64]!r}.", param="provider")


async def put_model(ctx: Ctx, body: PutModelRequest) -> ModelView:
    """Name a model, give it aliases, or hide it."""
    _check_not_locked(config_lock_path(ctx.control.lists, body.id))
    override = ModelOverride(
        id=body.id, name=body.name, aliases=tuple(body.aliases), hidden=body.hidden
    )
    await overrides.put_model(ctx.transaction, override)
    return await _refresh_model(ctx, body.id)


async def _refresh_model(ctx: RequestContext, model_id: str) -> ModelView:
    """A model as it is after a change."""
    await ctx.control.refresh_catalog()
    model = ctx.control.catalog.models.get(model_id)
    return model_view(ctx, model or Model(id=model_id), hidden=model is None)


async def delete_model(ctx: Ctx, id: ModelId) -> DeleteResponse:
    """Remove what was set of a model and its offers; the lists hold again."""
    await overrides.delete_model(ctx.transaction, id)
    await ctx.control.refresh_catalog()
    return DeleteResponse(id=id, object="model")


async def put_offer(ctx: Ctx, body: PutOfferRequest) -> ModelView:
    """Add an offer to a model, change it, or hide it."""
    offer_key = (body.provider, body.upstream_id)
    _check_provider(ctx, body.provider)
    _check_not_locked(config_lock_path(ctx.control.lists, body.model, offer_key))
    check_new_limits(
        ctx.control.catalog,
        body.model,
        offer_key,
        context=body.context,
        max_output=body.max_output,
        sure=body.sure,
    )
    can = None if body.can is None else tuple(Capability(word) for word in body.can)
    override = OfferOverride(
        model=body.model,
        provider=body.provider,
        upstream_id=body.upstream_id,
        context=body.context,
        max_output=body.max_output,
        can=can,
        free=body.free,
        hidden=body.hidden,
    )
    await overrides.put_offer(ctx.transaction, override)
    return await _refresh_model(ctx, body.model)


def _price_entry(offer_key: OfferKey, row: Any) -> PriceEntry:
    price = decode(row.price, type=Price | None)
    return PriceEntry(
        id=row.id,
        provider=offer_key[0],
        upstream_id=offer_key[1],
        price=price_view(price) if price is not None else None,
        source=row.source,
        valid_from_ms=row.valid_from_ms,
        created_ms=row.created_ms,
    )


async def list_prices(
    ctx: Ctx, provider: ProviderId, upstream_id: UpstreamId
) -> ListResponse[PriceEntry]:
    """Every price that was ever set for an offer, the latest first."""
    offer_key = (provider, upstream_id)
    rows = await overrides.price_history(ctx.database, offer_key)
    return full_list_response([_price_entry(offer_key, row) for row in rows])


async def set_price(ctx: Ctx, body: CreatePriceRequest) -> PriceEntry:
    """Set the price of an offer, from now on or later. Calls that were admitted keep theirs."""
    offer_key = (body.provider, body.upstream_id)
    _check_not_locked(price_config_lock_path(ctx.control.lists, offer_key))
    price = _price_from_body(ctx, body)
    sure = body.sure or body.as_listed
    check_new_price(ctx.control.catalog, offer_key, price, sure=sure)
    await overrides.set_price(ctx.transaction, offer_key, price, body.valid_from_ms)
    return await _latest_price(ctx, offer_key)


def _price_from_body(ctx: RequestContext, body: CreatePriceRequest) -> Price:
    """The price that is meant. Faults: `bad_request`."""
    tiers = tuple(
        TierSettings(above=tier.above, service=tier.service, price=_plain_prices(tier.price))
        for tier in body.tiers
    )
    if not body.as_listed:
        return parse_price(_plain_prices(body.price), tiers, free=body.free)
    if body.price or tiers or body.free:
        raise Fault("bad_request", "as_listed takes the provider's own figures, and no others.")
    listing = ctx.control.listings().get(body.provider)
    return price_from_quarantine(listing, (body.provider, body.upstream_id))


async def delete_price(ctx: Ctx, provider: ProviderId, upstream_id: UpstreamId) -> PriceEntry:
    """Give the offer back to the price of the lists, from now on."""
    offer_key = (provider, upstream_id)
    _check_not_locked(price_config_lock_path(ctx.control.lists, offer_key))
    await overrides.clear_price(ctx.transaction, offer_key)
    return await _latest_price(ctx, offer_key)


async def _latest_price(ctx: RequestContext, offer_key: OfferKey) -> PriceEntry:
    """The price that was set last, which need not hold yet."""
    await ctx.control.refresh_catalog()
    rows = await overrides.price_history(ctx.database, offer_key)
    entry = _price_entry(offer_key, max(rows, key=lambda row: (row.created_ms, row.id)))
    now = usual_call_cost(ctx.control.catalog.index.offers_by_key.get(offer_key))
    return entry.model_copy(update={"usual_call": now})


def _plain_prices(prices: dict[BucketName, UnitPrice]) -> dict[str, str]:
    return {str(bucket): text for bucket, text in prices.items()}
