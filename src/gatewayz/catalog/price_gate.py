"""The price gate: what every price that people set must pass, by command, by API or in the file, and
what limits of an offer must, which decide how much is held.

A price names what it asks for: tokens in and out both, or none; nothing is free by omission. A
price far from what is known is mostly a wrong unit, and must be meant. A price without effect is
refused.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.fact_checks import why_odd_context, why_odd_output
from gatewayz.catalog.offers import Offer
from gatewayz.catalog.price_checks import (
    BASE_BUCKETS,
    FLAT_BUCKETS,
    MAX_MEDIAN_RATIO,
    rates_from_price,
    why_changed,
    why_outlier,
)
from gatewayz.catalog.seed import SeedFile
from gatewayz.catalog.settings import ModelSettings, OfferSettings
from gatewayz.catalog.sources import Listing, OfferKey
from gatewayz.core.faults import Fault
from gatewayz.core.money import (
    FALLBACKS,
    BucketRates,
    Price,
    cost,
    price_from_pico,
    rates_from_usd,
    usd_text,
)
from gatewayz.core.requests import Surface
from gatewayz.core.usage import BUCKETS, Usage

MAX_FILE_RATIO = 100
"""How far a price of the file may be from the package's without `sure`: a wrong unit is further.

It is wider than for a price that is set now: no start may fail because a price has fallen since.
"""
REPLACED_BY: Mapping[str, tuple[str, ...]] = {
    "searches": (),
    "images": ("pixels", "image_output"),
    "pixels": ("images", "image_output"),
}
"""Known bucket → those of which a new price may name one instead of it.

A request that uses searches is not sold where the price names none: they cost nothing nowhere.
"""
PAYING_BUCKETS: Mapping[Surface, tuple[str, ...]] = {
    "chat": ("output", "requests", "seconds"),
    "image": ("images", "pixels", "image_output", "requests"),
    "embedding": ("input", "requests"),
}
"""Surface → what an answer there is paid by: a price that names none of these holds for nothing."""
USUAL_CALLS: Mapping[str, Usage] = {
    "1,000 tokens of an image": Usage(image_output=1_000, requests=1),
    "1,000 tokens in and 1,000 out": Usage(input=1_000, output=1_000, requests=1),
    "an image": Usage(images=1, requests=1),
    "a megapixel": Usage(pixels=10**6, requests=1),
    "a second": Usage(seconds=1, requests=1),
    "a request": Usage(requests=1),
}


def offer_by_key(catalog: Catalog, key: OfferKey) -> Offer:
    """The offer whose price is to be set. Faults: `bad_request` where no call would ever pay it."""
    provider, upstream_id = key
    if provider not in catalog.providers:
        near = get_close_matches(provider, catalog.providers, 1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise Fault(
            "bad_request", f"There is no provider {provider[:64]!r}{hint}", param="provider"
        )
    offer = catalog.index.offers_by_key.get(key)
    if offer is None:
        ids = [known for owner, known in catalog.index.offers_by_key if owner == provider]
        near = get_close_matches(upstream_id, ids, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise Fault(
            "bad_request",
            f"{provider} offers no {upstream_id[:200]!r} here, so this price would hold for "
            f"nothing.{hint} Name the offer first, under models in the file or by"
            " PUT /admin/offers.",
            param="upstream_id",
        )
    return offer


def check_new_price(catalog: Catalog, key: OfferKey, price: Price, *, sure: bool) -> None:
    """Faults: `bad_request` for a price that holds for nothing, or that nobody can mean.

    `sure`: it is meant, though it is far from what is known.
    """
    offer = offer_by_key(catalog, key)
    why = _why_nobody_pays(offer, price)
    if why:
        raise Fault("bad_request", f"{'/'.join(key)} {why}", param="price")
    if sure or price.free:
        return
    model = catalog.index.models.get(offer.model)
    others = [
        rates_from_price(other.price)
        for other in (model.offers if model is not None else ())
        if (other.provider, other.upstream_id) != key and other.price and not other.price.free
    ]
    known = offer.price
    before = rates_from_price(known) if known is not None and not known.free else {}
    why = _why_unusual(price, before, others, MAX_MEDIAN_RATIO)
    if why:
        raise Fault(
            "bad_request",
            f"{why}; if it is meant, say so: --sure, or sure: true by API.",
            param="price",
        )


def check_new_limits(
    catalog: Catalog,
    model: str,
    key: OfferKey,
    *,
    context: int | None,
    max_output: int | None,
    sure: bool,
) -> None:
    """Faults: `bad_request` for a limit of an offer, in tokens, that no model has, or that is far from
    what is known: too small a one shuts it, too large a one holds too much money.

    `sure`: it is meant.
    """
    if sure:
        return
    known, owner = catalog.index.offers_by_key.get(key), catalog.index.models.get(model)
    before = (known.context, known.max_output) if known is not None else (None, None)
    longest = owner.context if owner is not None else None
    whys = {
        "context": context and why_odd_context(context, before[0], longest),
        "max_output": max_output and why_odd_output(max_output, before[1], context or before[0]),
    }
    for name, why in whys.items():
        if why:
            raise Fault(
                "bad_request", f"{name}: {why}; if it is meant, say so: sure: true.", param=name
            )


def _why_nobody_pays(offer: Offer, price: Price) -> str:
    """Why no call would ever pay this price; empty when one would."""
    if offer.unserved_reason:
        return (
            f"{offer.unserved_reason}, which is not served here, so this price would hold for"
            " nothing. If it does something else, say so under models in the file (serves)."
        )
    return "" if price.free else _why_unpayable(offer.serves, price)


def _why_unpayable(serves: tuple[Surface, ...], price: Price) -> str:
    """Which unit a price lacks that answers are paid by; empty when it has one."""
    surface: Surface = serves[0] if serves else "chat"
    units, named = PAYING_BUCKETS.get(surface, ()), rates_from_price(price)
    # Zeros are another mistake, or are meant.
    if not units or not named or any(bucket in named for bucket in units):
        return ""
    if surface == "chat" and any(bucket in named for bucket in BASE_BUCKETS):
        return ""
    return (
        f"answers {surface} requests, and this price names none of {', '.join(units)}:"
        " it would hold for nothing."
    )


def _why_unusual(
    price: Price, before: BucketRates, others: Iterable[BucketRates], max_ratio: int
) -> str:
    """Which rate is far from what is known of the offer, or of the model's others."""
    whole = {bucket: getattr(price, bucket) for bucket in BUCKETS}
    named = rates_from_price(price)
    # What is not named costs its fallback, or is not sold: that is nobody's slip.
    compared = {
        bucket: pico
        for bucket, pico in before.items()
        if bucket in named or not (bucket in FALLBACKS or _is_replaced(bucket, whole))
    }
    why = why_changed(whole, compared, max_ratio)
    if why:
        return why.replace("is listed at zero, and was not before", "would cost nothing")
    if max_ratio == MAX_MEDIAN_RATIO:
        why = why_outlier(named, others, BUCKETS)
    if why or not before:
        return why
    new = [bucket for bucket in FLAT_BUCKETS if whole[bucket] and not before.get(bucket)]
    usual = 1_000 * (whole["input"] + whole["output"])
    if "requests" in new and usual and whole["requests"] > max_ratio * usual:
        ratio = whole["requests"] / usual
        return f"the fee of a request is {ratio:.1f} times what 1,000 tokens each way cost"
    return ""


def _is_replaced(bucket: str, whole: BucketRates) -> bool:
    others = REPLACED_BY.get(bucket, (bucket,))
    return not others or any(whole[other] for other in others)


def check_file_prices(models: Iterable[ModelSettings], seed: Mapping[str, SeedFile]) -> None:
    """Faults: `bad_request` for a price of the file that is in another unit than the package's."""
    priced = [
        (model, offer)
        for model in models
        for offer in model.offers
        if offer.price and not (offer.sure or offer.free)
    ]
    for model, offer in priced:
        before = _seed_rates(seed, offer)
        price = price_from_pico(rates_from_usd(offer.price))
        unpayable = _why_unpayable(offer.serves, price) if offer.serves else ""
        if unpayable:
            raise Fault("bad_request", f"models.{model.id}.offers.{offer.provider}: it {unpayable}")
        why = _why_unusual(price, before, (), MAX_FILE_RATIO)
        if why:
            raise Fault(
                "bad_request",
                f"models.{model.id}.offers.{offer.provider}: {why}; if it is meant,"
                " write sure: true.",
            )


def _seed_rates(seed: Mapping[str, SeedFile], offer: OfferSettings) -> BucketRates:
    file = seed.get(offer.provider)
    wanted = offer.price_id or offer.upstream_id
    rows = file.rows if file is not None else ()
    return next((row.price for row in rows if row.id == wanted and not row.held), {})


def price_from_quarantine(listing: Listing | None, key: OfferKey) -> Price:
    """The quarantined price of an offer, as its provider lists it. Faults: `bad_request`."""
    for price in listing.quarantined if listing is not None else ():
        if price.upstream_id == key[1]:
            rates = {bucket: pico for bucket, pico in price.prices.items() if pico}
            if all(pico > 0 for pico in rates.values()) and rates:
                return price_from_pico(rates)
    raise Fault(
        "bad_request",
        f"No listed price of {'/'.join(key)} is quarantined;"
        " `gatewayz models report` shows which are.",
    )


def usual_call_cost(offer: Offer | None) -> str:
    """What a usual call of an offer costs at its price, for people.

    Example: `1,000 tokens in and 1,000 out cost $0.0125`
    """
    price = offer.price if offer is not None else None
    makes_images = offer is not None and offer.serves[:1] == ("image",)
    if price is None:
        return "it has no price, and is served to the house only"
    if price.free:
        return "a call costs nothing"
    for unit, usage in USUAL_CALLS.items():
        if usage.image_output and (not makes_images or "image_output" in price.unpriced_buckets):
            continue
        buckets = [bucket for bucket in BUCKETS if bucket != "requests" and getattr(usage, bucket)]
        if any(getattr(price, bucket) for bucket in buckets or ("requests",)):
            verb = "cost" if "tokens" in unit else "costs"
            return f"{unit} {verb} ${usd_text(cost(usage, price))}"
    return "it has a price for none of what a usual call uses"
