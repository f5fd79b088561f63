"""The prices of one list, judged: each is believed, or quarantined while the last good one is sold.

A price is judged by what the offer cost before, by the model's other offers, by what the package says
of them, and by itself; when most of a list's prices are far off, its unit is in doubt and none is
believed. Lists that agree with each other prove nothing against the package.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.catalog.canonical_ids import grouping_key
from gatewayz.catalog.kinds import why_understated
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.price_checks import (
    BASE_BUCKETS,
    FLAT_BUCKETS,
    MAX_MEDIAN_RATIO,
    PriceBand,
    price_band,
    rates_from_price,
    why_changed,
    why_implausible,
    why_incomplete,
    why_odd,
    why_outlier,
)
from gatewayz.catalog.price_memory import (
    MAX_FIRST_RATIO,
    OfferMemory,
    RememberedPrice,
    forget_newest,
)
from gatewayz.catalog.sources import Listing, OfferKey, QuarantinedPrice
from gatewayz.core.money import BucketRates, Price, price_from_pico, reprice
from gatewayz.core.usage import BUCKETS

MAX_QUARANTINED = 500
"""Quarantined prices that are remembered, to be shown."""
DOUBTED_SHARE = 0.5
DOUBTED_ROWS = 3
"""When this share of the comparable prices is far off, and so many, the unit is in doubt."""


class ListingBaseline(Struct, frozen=True):
    """What is known before the list is read. `prices` are a model's, by provider.

    `trusted` are prices of the package and of operators: a list that says the same is believed.
    """

    canonical_ids: dict[str, str]
    """Grouping key → canonical id."""
    prices: dict[str, dict[str, Price]]
    offers: dict[OfferKey, Offer]
    band: PriceBand = PriceBand()
    trusted: dict[OfferKey, tuple[Price, ...]] = {}
    contexts: dict[str, int] = {}
    """The longest context of each model, in tokens."""
    package: dict[OfferKey, Offer] = {}
    """What is known without any list: it is what a list takes nothing away from."""
    anchors: dict[str, BucketRates] = {}
    """The median rates of each model's offers that are known without any list."""


def baseline_from_models(
    models: Mapping[str, Model],
    package: Mapping[str, Model] | None = None,
    confirmed: Mapping[OfferKey, Price] | None = None,
) -> ListingBaseline:
    """What these models say. Prices of free offers compare with nothing.

    `package` are the models without any list, which judge what nobody else offers; `confirmed` are
    the prices that operators set.
    """
    prices: dict[str, dict[str, Price]] = {}
    offers: dict[OfferKey, Offer] = {}
    for offer in _all_offers(models):
        offers[offer.provider, offer.upstream_id] = offer
        if offer.price is not None and not offer.price.free:
            prices.setdefault(offer.model, {})[offer.provider] = offer.price

    trusted: dict[OfferKey, tuple[Price, ...]] = {
        key: (price,) for key, price in (confirmed or {}).items() if not price.free
    }
    known: list[BucketRates] = []
    rates_by_model: dict[str, list[BucketRates]] = {}
    # A list that was believed must not widen the band by which the next ones are judged.
    known_without_lists = models if package is None else package
    for offer in _all_offers(known_without_lists):
        if offer.price is not None and not offer.price.free:
            known.append(rates := rates_from_price(offer.price))
            rates_by_model.setdefault(offer.model, []).append(rates)
            if package is not None:
                key = (offer.provider, offer.upstream_id)
                trusted[key] = (*trusted.get(key, ()), offer.price)
    return ListingBaseline(
        {grouping_key(name): name for name in models},
        prices,
        offers,
        price_band(known),
        trusted,
        {name: model.context for name, model in models.items() if model.context},
        {(offer.provider, offer.upstream_id): offer for offer in _all_offers(known_without_lists)},
        {model: _median_rates(rates) for model, rates in rates_by_model.items()},
    )


def _median_rates(prices: Sequence[BucketRates]) -> BucketRates:
    buckets = {bucket for rates in prices for bucket in rates}
    return {
        bucket: round(median(rates[bucket] for rates in prices if bucket in rates))
        for bucket in buckets
    }


def _all_offers(models: Mapping[str, Model]) -> Iterable[Offer]:
    for model in models.values():
        yield from model.offers
        yield from model.pinned_only_offers


def memory_from_listing(listing: Listing | None) -> dict[str, OfferMemory]:
    """What the last list has remembered; of one that an earlier version saved, its prices."""
    if listing is None:
        return {}
    memory = {offer.upstream_id: OfferMemory(listing.read_s) for offer in listing.offers}
    for offer in listing.offers:
        if offer.price is not None and not offer.price.free:
            rates = rates_from_price(offer.price)
            memory[offer.upstream_id] = OfferMemory(
                listing.read_s, (RememberedPrice(listing.read_s, rates),)
            )
    return memory | listing.memory


class _PricedOffer(NamedTuple):
    """An offer whose rates are plausible; `doubt` says how they are odd, in the end."""

    offer: Offer
    rates: BucketRates
    doubt: str


class ListingPrices:
    """Takes the prices of a list one by one; they are judged together at the end."""

    def __init__(
        self,
        provider: str,
        baseline: ListingBaseline,
        previous: Listing | None,
        now_s: int,
        source: str = "",
    ) -> None:
        self._provider = provider
        self._source = source or f"{provider}'s own list"
        self._baseline = baseline
        self._now_s = now_s
        self._sold = {
            offer.upstream_id: offer.price
            for offer in (previous.offers if previous is not None else ())
            if offer.price is not None and not offer.price.free
        }
        self._others: dict[str, list[BucketRates]] = {}
        self._priced: list[_PricedOffer] = []
        self.memory = memory_from_listing(previous)
        self.quarantined: list[QuarantinedPrice] = []
        self.offers: dict[str, Offer] = {}

    def add(self, offer: Offer, rates: BucketRates, *, marked_free: bool) -> None:
        """Takes an offer as it is listed; `rates` are empty where the list names none.

        It is free where it is marked so and its tokens are listed at zero, both of them.
        """
        self.offers[offer.upstream_id] = offer
        if not rates:
            self._sell_on(offer, "")
            return
        is_zero = not any(rates.values())
        free = marked_free and is_zero and all(bucket in rates for bucket in BASE_BUCKETS)
        before = self._known(offer)
        serves = offer.serves or (before.serves if before is not None else ()) or ("chat",)
        reason = why_implausible(rates, serves, free=free)
        if reason:
            self._quarantine(offer, rates, reason)
        elif free:
            price = replace(price_from_pico({}), **self._price_origin(self._now_s), free=True)
            self.offers[offer.upstream_id] = replace(offer, price=price)
        else:
            charged = {
                bucket: pico for bucket, pico in rates.items() if pico or bucket not in FLAT_BUCKETS
            }
            self._priced.append(_PricedOffer(offer, charged, self._why_doubtful(offer, charged)))

    def judge(self) -> str:
        """Judges all prices; why none of them is believed, empty when most are."""
        doubt_reason = self._doubt_reason()
        for priced in self._priced:
            if self._is_trusted(priced.offer, priced.rates):
                self._believe(priced, anew=True)
            elif priced.doubt or doubt_reason:
                self._quarantine(priced.offer, priced.rates, priced.doubt or doubt_reason)
            else:
                self._believe(priced, anew=False)
        for native in self.offers:
            self.memory.setdefault(native, OfferMemory(self._now_s))
        self.memory = forget_newest(self.memory)
        return doubt_reason

    def _known(self, offer: Offer) -> Offer | None:
        return self._baseline.offers.get((self._provider, offer.upstream_id))

    def _known_price(self, offer: Offer) -> Price | None:
        known = self._known(offer)
        return known.price if known is not None and known.price and not known.price.free else None

    def _other_rates(self, model: str) -> list[BucketRates]:
        if model not in self._others:
            prices = self._baseline.prices.get(model, {}).values()
            self._others[model] = [rates_from_price(price) for price in prices]
        return self._others[model]

    def _is_trusted(self, offer: Offer, rates: BucketRates) -> bool:
        """Whether the package or an operator says the same of every rate that is listed."""
        trusted = self._baseline.trusted.get((self._provider, offer.upstream_id), ())
        return any(
            all(getattr(price, bucket) == pico for bucket, pico in rates.items())
            for price in trusted
        )

    def _why_doubtful(self, offer: Offer, rates: BucketRates) -> str:
        memory = self.memory.get(offer.upstream_id, OfferMemory(self._now_s))
        if memory.prices and dict(rates) == memory.last_good:
            return ""
        before = [price.rates for price in memory.prices]
        anchor = self._anchor(offer)
        max_first_ratio = MAX_FIRST_RATIO if anchor else MAX_MEDIAN_RATIO
        why = memory.why_changed(rates, self._now_s, max_first_ratio)
        known = self._known_price(offer)
        if not before and known is not None:
            before = [rates_from_price(known)]
            why = why_changed(rates, before[0], MAX_MEDIAN_RATIO)

        others = self._other_rates(offer.model)
        return (
            why_understated(offer.upstream_id)
            or why
            or _why_far_from_package(rates, anchor)
            or ("" if before else why_incomplete(rates, others))
            or why_outlier(rates, others, BUCKETS)
            or why_odd(rates, before, others, self._baseline.band)
        )

    def _anchor(self, offer: Offer) -> BucketRates:
        """What the package, or an operator, says of this offer, else of the model's; empty for
        nothing.
        """
        known = self._baseline.package.get((self._provider, offer.upstream_id))
        if known is not None and known.price is not None and not known.price.free:
            return rates_from_price(known.price)
        return self._baseline.anchors.get(offer.model, {})

    def _doubt_reason(self) -> str:
        """Why no price of this list is believed; empty when most are near what is known."""
        comparable = [
            priced
            for priced in self._priced
            if priced.offer.model in self._baseline.prices
            or priced.offer.upstream_id in self.memory
        ]
        far = sum(1 for priced in comparable if priced.doubt)
        if far < DOUBTED_ROWS or far < DOUBTED_SHARE * len(comparable):
            return ""
        return f"the unit of this list is in doubt: {far} of {len(comparable)} prices are far off"

    def _price_origin(self, read_s: int) -> dict[str, Any]:
        return {"version": f"listing-{read_s}", "source": self._source}

    def _quarantine(self, offer: Offer, rates: BucketRates, reason: str) -> None:
        if len(self.quarantined) < MAX_QUARANTINED:
            self.quarantined.append(
                QuarantinedPrice(offer.upstream_id, offer.model, reason, dict(rates))
            )
        self._sell_on(offer, reason)

    def _sell_on(self, offer: Offer, reason: str) -> None:
        """The last good price stays: the list's, else the package's; else it is unpriced."""
        native = offer.upstream_id
        memory = self.memory.get(native)
        if native in self._sold:
            self.offers[native] = replace(offer, price=self._sold[native])
        elif memory is not None and memory.prices:
            last = memory.prices[-1]
            self.offers[native] = replace(offer, price=self._price(offer, last.rates, last.read_s))
        elif self._known_price(offer) is None:
            self.offers[native] = replace(offer, quarantine_reason=reason)

    def _believe(self, priced: _PricedOffer, *, anew: bool) -> None:
        """The listed price holds; `anew` forgets those before it."""
        offer, rates = priced.offer, priced.rates
        native = offer.upstream_id
        price = self._price(offer, rates, self._now_s)
        self.offers[native] = replace(offer, price=price)
        memory = self.memory.get(native, OfferMemory(self._now_s))
        if anew and dict(rates) != memory.last_good:
            memory = OfferMemory(memory.first_s)
        self.memory[native] = memory.with_price(rates, self._now_s)

    def _price(self, offer: Offer, listed: BucketRates, read_s: int) -> Price:
        """The listed price; buckets that it does not name keep their proportion to the others.

        Some lists put a fee that every call pays elsewhere, or nowhere: it does not go away.
        """
        before = self._known_price(offer)
        if before is None:
            memory = self.memory.get(offer.upstream_id)
            remembered = memory.last_good if memory is not None else {}
            fees = {bucket: pico for bucket, pico in remembered.items() if bucket in FLAT_BUCKETS}
            return replace(price_from_pico(fees | dict(listed)), **self._price_origin(read_s))
        named = not any(bucket in before.unpriced_buckets for bucket in listed)
        if named and all(getattr(before, bucket) == pico for bucket, pico in listed.items()):
            return replace(before, markup_bp=0)
        return replace(reprice(before, listed), **self._price_origin(read_s), markup_bp=0)


def _why_far_from_package(rates: BucketRates, anchor: BucketRates) -> str:
    """Which rate is too far from what the package says, however slowly the lists went there."""
    named = {bucket: pico for bucket, pico in rates.items() if pico}
    return why_changed(named, anchor, MAX_FIRST_RATIO).replace(
        "what it was", "what the package says"
    )
