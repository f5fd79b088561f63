"""What can be called and what cannot, and why: the questions of operators, answered from the shelf."""

from collections.abc import Iterable

from msgspec import Struct

from gatewayz.catalog.naming import Shelf
from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.money import Price, rates_of
from gatewayz.providers.asking import dialect_for


class Report(Struct, frozen=True, kw_only=True):
    """Numbers of a catalogue; `reasons` count the offers that cannot be called or sold, by why."""

    models: int
    offers: int
    callable_models: int
    priced_models: int
    failover_models: int
    """Models with priced offers at two providers or more."""
    callable_failover_models: int
    reasons: dict[str, int]
    quarantined: tuple[Offer, ...]


def why_not_callable(offer: Offer, shelf: Shelf) -> str:
    """Why a call by the model's name cannot go to this offer now; empty when it can."""
    provider = shelf.providers[offer.provider]
    locked = shelf.shut_out(offer.model, provider)
    if provider.off or locked:
        return (
            f"off: {provider.off}"
            if provider.off
            else f"{locked}, unless {provider.id} is asked for by name"
        )
    surfaces = offer.serves or ("chat",)
    if not any(dialect_for(provider, offer.upstream_id, surface) for surface in surfaces):
        return f"{provider.id} serves no {' or '.join(surfaces)} requests"
    return ""


def why_not_sold(offer: Offer) -> str:
    """Why nobody but the house may call this offer; empty when it has a price, or is free."""
    if offer.held:
        return f"unpriced: its listed price is quarantined ({offer.held})"
    if offer.price is None:
        return "unpriced: nobody lists a price; set models[].offers[].price"
    sold = offer.price.free or any(rates_of(offer.price, 0))
    return "" if sold else "unpriced: its price is zero, and it is not free"


def callable_offers(model: Model, shelf: Shelf) -> tuple[Offer, ...]:
    return tuple(offer for offer in model.offers if not why_not_callable(offer, shelf))


def callable_models(shelf: Shelf) -> list[Model]:
    """The models that somebody serves now."""
    return [model for model in shelf.models.values() if callable_offers(model, shelf)]


def report(shelf: Shelf) -> Report:
    """The numbers of this shelf."""
    models = list(shelf.models.values())
    reasons: dict[str, int] = {}
    held: list[Offer] = []
    for model in models:
        for offer in model.offers:
            why = why_not_callable(offer, shelf) or why_not_sold(offer).partition(" (")[0]
            if why:
                reasons[why] = reasons.get(why, 0) + 1
            if offer.held:
                held.append(offer)
    usable = [callable_offers(model, shelf) for model in models]
    return Report(
        models=len(models),
        offers=sum(len(model.offers) for model in models),
        callable_models=sum(1 for offers in usable if offers),
        priced_models=sum(1 for model in models if _sellers(model.offers)),
        failover_models=sum(1 for model in models if len(_sellers(model.offers)) > 1),
        callable_failover_models=sum(1 for offers in usable if len(_sellers(offers)) > 1),
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        quarantined=tuple(held),
    )


def _sellers(offers: Iterable[Offer]) -> set[str]:
    return {offer.provider for offer in offers if not why_not_sold(offer)}


def shown_price(price: Price | None) -> str:
    """A price for people: USD per million tokens in and out, or each image, megapixel or request."""
    if price is None:
        return "unpriced"
    if price.free:
        return "free"
    told = (
        [f"{price.input / 1e6:g} / {price.output / 1e6:g}"] if price.input or price.output else []
    )
    told += [f"{pico / scale:g} {unit}" for pico, scale, unit in _flat(price) if pico]
    return ", ".join(told) or "zero"


def _flat(price: Price) -> tuple[tuple[int, float, str], ...]:
    return (
        (price.images, 1e12, "an image"),
        (price.pixels, 1e6, "a megapixel"),
        (price.requests, 1e12, "a request"),
        (price.seconds, 1e12, "a second"),
    )
