"""`/admin/models`, `/admin/offers`, `/admin/prices`, `/admin/providers`: what is sold, under which name, for how much.

What is set here holds over all lists and in every process within a second; what the configuration file sets stays.
"""

from typing import Annotated, Any

from fastapi import Query
from msgspec.json import decode

from gatewayz.catalog.gates import why_far
from gatewayz.catalog.merge import Listing, Place, priced_in_file, set_in_file
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.own import TierSettings, priced
from gatewayz.catalog.report import why_not_callable, why_not_sold
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price
from gatewayz.core.requests import Capability
from gatewayz.core.usage import BUCKETS
from gatewayz.providers.spec import Provider
from gatewayz.store.sql import catalog
from gatewayz.store.sql.catalog import MAX_ID, ModelWish, OfferWish, SqlCatalog
from gatewayz.web.api.catalog_shapes import (
    Bucket,
    Figure,
    ListingShown,
    ModelGiven,
    ModelShown,
    OfferGiven,
    OfferShown,
    PriceGiven,
    PriceSet,
    ProviderShown,
    price_shown,
)
from gatewayz.web.api.shapes import Done, Here, Listed, Sliced, whole
from gatewayz.web.api.visit import Visit

ModelId = Annotated[str, Query(min_length=1, max_length=MAX_ID, description="The model's id")]
ProviderId = Annotated[str, Query(min_length=1, max_length=MAX_ID)]
UpstreamId = Annotated[
    str, Query(min_length=1, max_length=MAX_ID, description="What the provider calls it")
]
Find = Annotated[str, Query(max_length=MAX_ID, description="Only models whose id contains this")]


def _offer(here: Visit, offer: Offer) -> OfferShown:
    return OfferShown(
        provider=offer.provider,
        upstream_id=offer.upstream_id,
        price=price_shown(offer.price) if offer.price is not None else None,
        held=offer.held,
        context=offer.context,
        max_output=offer.max_output,
        why_not_callable=why_not_callable(offer, here.office.shelf),
        why_not_sold=why_not_sold(offer),
        price_set_in=priced_in_file(here.office.lists, (offer.provider, offer.upstream_id)),
    )


def _model(here: Visit, model: Model, *, hidden: bool = False) -> ModelShown:
    return ModelShown(
        id=model.id,
        name=model.name,
        aliases=list(model.aliases),
        hidden=hidden,
        set_in=set_in_file(here.office.lists, model.id),
        offers=[_offer(here, offer) for offer in model.offers],
    )


async def several(here: Here, cut: Sliced, find: Find = "") -> Listed[ModelShown]:
    """All models with their offers, prices, and why what is not callable is not; those that are hidden too."""
    shelf = here.office.shelf.models
    overrides = await SqlCatalog(here.database).read(here.now_ms)
    taken = {name: Model(id=name) for name in overrides.hidden_models if name not in shelf}
    names = sorted(name for name in (*shelf, *taken) if name > cut.after and find in name)
    chosen = names[: cut.limit]
    rows = [_model(here, shelf.get(name) or taken[name], hidden=name in taken) for name in chosen]
    more = len(names) > len(chosen)
    return Listed(data=rows, has_more=more, next=chosen[-1] if more else None)


def _unless_in_file(where: str) -> None:
    if where:
        raise Fault("set_in_file", f"{where} is set in the configuration file; change it there.")


def _known(here: Visit, provider: str) -> None:
    if provider not in here.office.shelf.providers:
        raise Fault("bad_request", f"There is no provider {provider[:64]!r}.", param="provider")


async def put_model(here: Here, given: ModelGiven) -> ModelShown:
    """Name a model, give it aliases, or hide it."""
    _unless_in_file(set_in_file(here.office.lists, given.id))
    wish = ModelWish(
        id=given.id, name=given.name, aliases=tuple(given.aliases), hidden=given.hidden
    )
    await catalog.put_model(here.desk, wish)
    return await _after(here, given.id)


async def _after(here: Visit, model: str) -> ModelShown:
    """A model as it stands after a change."""
    await here.office.look()
    found = here.office.shelf.models.get(model)
    return _model(here, found or Model(id=model), hidden=found is None)


async def remove_model(here: Here, id: ModelId) -> Done:
    """Take back what was set of a model and its offers; the lists hold again."""
    await catalog.remove_model(here.desk, id)
    await here.office.look()
    return Done(id=id, object="model")


async def put_offer(here: Here, given: OfferGiven) -> ModelShown:
    """Add an offer to a model, change it, or hide it."""
    _known(here, given.provider)
    _unless_in_file(
        set_in_file(here.office.lists, given.model, (given.provider, given.upstream_id))
    )
    can = None if given.can is None else tuple(Capability(word) for word in given.can)
    wish = OfferWish(
        model=given.model,
        provider=given.provider,
        upstream_id=given.upstream_id,
        context=given.context,
        max_output=given.max_output,
        can=can,
        free=given.free,
        hidden=given.hidden,
    )
    await catalog.put_offer(here.desk, wish)
    return await _after(here, given.model)


def _price_set(place: Place, row: Any) -> PriceSet:
    price = decode(row.price, type=Price | None)
    return PriceSet(
        id=row.id,
        provider=place[0],
        upstream_id=place[1],
        price=price_shown(price) if price is not None else None,
        source=row.source,
        valid_from_ms=row.valid_from_ms,
        created_ms=row.created_ms,
    )


async def prices(here: Here, provider: ProviderId, upstream_id: UpstreamId) -> Listed[PriceSet]:
    """Every price that was ever set for an offer, the latest first."""
    place = (provider, upstream_id)
    return whole(
        [_price_set(place, row) for row in await catalog.price_history(here.database, place)]
    )


async def set_price(here: Here, given: PriceGiven) -> PriceSet:
    """Set the price of an offer, from now on or from a time to come. Calls that were admitted keep theirs."""
    place = (given.provider, given.upstream_id)
    _known(here, given.provider)
    _unless_in_file(priced_in_file(here.office.lists, place))
    tiers = tuple(
        TierSettings(above=one.above, service=one.service, price=_plain(one.price))
        for one in given.tiers
    )
    price = priced(_plain(given.price), tiers, free=given.free)
    if not given.sure:
        _check_near(here, place, price)
    await catalog.set_price(here.desk, place, price, given.valid_from_ms)
    return await _latest(here, place)


async def remove_price(here: Here, provider: ProviderId, upstream_id: UpstreamId) -> PriceSet:
    """Give the offer back to the price of the lists, from now on."""
    place = (provider, upstream_id)
    _unless_in_file(priced_in_file(here.office.lists, place))
    await catalog.set_price(here.desk, place, None)
    return await _latest(here, place)


async def _latest(here: Visit, place: Place) -> PriceSet:
    await here.office.look()
    rows = await catalog.price_history(here.database, place)
    return _price_set(place, max(rows, key=lambda row: (row.created_ms, row.id)))


def _plain(figures: dict[Bucket, Figure]) -> dict[str, str]:
    return {str(bucket): text for bucket, text in figures.items()}


def _check_near(here: Visit, place: Place, price: Price) -> None:
    """Faults: `bad_request` for a price that is far from the model's other offers: most often a wrong unit."""
    stock = here.office.shelf.stock
    offer = stock.places.get(place)
    if offer is None or offer.model not in stock.models:
        return
    others = [
        _listed(one.price)
        for one in stock.models[offer.model].offers
        if (one.provider, one.upstream_id) != place and one.price is not None and not one.price.free
    ]
    why = "" if price.free else why_far(_listed(price), others)
    if why:
        raise Fault("bad_request", f"{why}; send sure: true if it is meant.", param="price")


def _listed(price: Price) -> dict[str, int]:
    return {bucket: getattr(price, bucket) for bucket in BUCKETS}


async def providers(here: Here) -> Listed[ProviderShown]:
    """Every provider: whether it is on, why not, how its offers stand, and how its own list was last read."""
    counts: dict[str, int] = {}
    for model in here.office.shelf.models.values():
        for offer in model.offers:
            counts[offer.provider] = counts.get(offer.provider, 0) + 1
    found = here.office.shelf.providers.values()
    return whole([_provider(here, provider, counts.get(provider.id, 0)) for provider in found])


def _provider(here: Visit, provider: Provider, models: int) -> ProviderShown:
    listing = here.office.listings().get(provider.id)
    breakers = {
        place[1]: state
        for place, state in here.office.breakers().items()
        if place[0] == provider.id
    }
    return ProviderShown(
        id=provider.id,
        name=provider.name,
        state="off" if provider.off else "on",
        why=provider.off,
        dialect=provider.dialect,
        priority=provider.priority,
        free=provider.free,
        verified=provider.verified,
        credentials=len(provider.credentials),
        models=models,
        breakers=breakers,
        listing=_listing(listing) if listing is not None else None,
    )


def _listing(listing: Listing) -> ListingShown:
    return ListingShown(
        read_ms=listing.read_s * 1000,
        offers=len(listing.offers),
        quarantined=len(listing.held),
        doubted=listing.doubted,
    )
