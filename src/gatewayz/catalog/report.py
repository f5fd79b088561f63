"""What can be called and what cannot, and why: operators' questions, answered by the catalogue."""

from collections.abc import Iterable

from msgspec import Struct

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.dear_buckets import missing_bucket
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.pricing import usual_cost
from gatewayz.core.money import FALLBACKS, Price, rates_of
from gatewayz.providers.model_ids import dialect_for


class CatalogReport(Struct, frozen=True, kw_only=True):
    """Counts of a catalogue; `reasons` has the offers that cannot be called or sold, by why."""

    models: int
    offers: int
    callable_models: int
    priced_models: int
    failover_models: int
    """Models with priced offers at two providers or more."""
    callable_failover_models: int
    reasons: dict[str, int]
    quarantined: tuple[Offer, ...]


def why_not_callable(offer: Offer, catalog: Catalog) -> str:
    """Why a call by the model's name cannot go to this offer now; empty when it can."""
    provider = catalog.providers[offer.provider]
    locked = catalog.why_excluded(offer.model, provider)
    if provider.off:
        return f"off: {provider.off}"
    if offer.unserved_reason:
        return f"it {offer.unserved_reason}, which is not served here"
    if locked:
        return f"{locked}, unless {provider.id} is asked for by name"
    surfaces = offer.serves or ("chat",)
    if not any(dialect_for(provider, offer.upstream_id, surface) for surface in surfaces):
        return f"{provider.id} serves no {' or '.join(surfaces)} requests"
    return ""


def why_not_sold(offer: Offer) -> str:
    """Why only the house may call this offer; empty when it has a price, or is free."""
    if offer.quarantine_reason:
        return f"unpriced: its listed price is quarantined ({offer.quarantine_reason})"
    if offer.price is None:
        return "unpriced: nobody lists a price; set models[].offers[].price"
    if not (offer.price.free or any(rates_of(offer.price, 0))):
        return "unpriced: its price is zero, and it is not free"
    # What every call of the model uses; what only some use is refused to those.
    missing = "" if offer.price.free else missing_bucket(offer, offer.price, frozenset())
    return f"unpriced: its price names no {missing}" if missing else ""


def callable_offers(model: Model, catalog: Catalog) -> tuple[Offer, ...]:
    """The offers to which a call may go, as a plan would take them when nobody prefers one."""

    def plan_order(offer: Offer) -> tuple[float, ...]:
        return (*catalog.rank(model.id, catalog.providers[offer.provider]), usual_cost(offer.price))

    found = [offer for offer in model.offers if not why_not_callable(offer, catalog)]
    return tuple(sorted(found, key=plan_order))


def callable_models(catalog: Catalog) -> list[Model]:
    """The models that a provider serves that is on."""
    return [model for model in catalog.models.values() if callable_offers(model, catalog)]


def build_report(catalog: Catalog) -> CatalogReport:
    """The counts of this catalogue."""
    models = list(catalog.models.values())
    reasons: dict[str, int] = {}
    quarantined: list[Offer] = []
    for model in models:
        for offer in model.offers:
            why = why_not_callable(offer, catalog) or why_not_sold(offer).partition(" (")[0]
            if why:
                reasons[why] = reasons.get(why, 0) + 1
            if offer.quarantine_reason:
                quarantined.append(offer)

    usable = [callable_offers(model, catalog) for model in models]
    return CatalogReport(
        models=len(models),
        offers=sum(len(model.offers) for model in models),
        callable_models=sum(1 for offers in usable if offers),
        priced_models=sum(1 for model in models if _sellers(model.offers)),
        failover_models=sum(1 for model in models if len(_sellers(model.offers)) > 1),
        callable_failover_models=sum(1 for offers in usable if len(_sellers(offers)) > 1),
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        quarantined=tuple(quarantined),
    )


def _sellers(offers: Iterable[Offer]) -> set[str]:
    return {offer.provider for offer in offers if not why_not_sold(offer)}


def format_price(price: Price | None) -> str:
    """A price for people: USD per million tokens in / out, or for an image, megapixel or request.

    Example: `2.5 / 10`, `0.04 an image`, `free`, `unpriced`
    """
    if price is None:
        return "unpriced"
    if price.free:
        return "free"
    parts = []
    if price.input or price.output:
        parts.append(f"{price.input / 1e6:g} / {price.output / 1e6:g}")
    parts += [f"{pico / scale:g} {unit}" for pico, scale, unit in _flat_rates(price) if pico]
    return ", ".join(parts) or "zero"


def _flat_rates(price: Price) -> tuple[tuple[int, float, str], ...]:
    """Pico-dollars, their scale, and what they buy."""
    return (
        (price.images, 1e12, "an image"),
        (price.pixels, 1e6, "a megapixel"),
        (price.requests, 1e12, "a request"),
        (price.seconds, 1e12, "a second"),
    )


def format_rates(price: Price | None) -> str:
    """The price, and what of it costs something else than what it falls back to.

    Example: `2.5 / 10, cache_read 1.25`
    """
    if price is None:
        return format_price(price)
    others = [
        f"{bucket} {getattr(price, bucket) / 1e6:g}"
        for bucket, source in FALLBACKS.items()
        if getattr(price, bucket) != getattr(price, source)
    ]
    searches = [f"{price.searches / 1e12:g} a search"] if price.searches else []
    return ", ".join([format_price(price), *searches, *others])
