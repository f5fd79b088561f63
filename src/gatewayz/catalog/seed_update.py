"""Seed update: prices of newer versions of the public lists, over the package's.

The rows that an update speaks of are those that the package took from the same list, and ids that it
did not know. Every price passes the checks that a provider's own list passes; what differs is kept,
nothing else. A price that the package took from elsewhere, holds, or changes by the day or hour is
left to it.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import NamedTuple

from gatewayz.catalog.canonical_ids import canonical_id
from gatewayz.catalog.kinds import kind_from_id
from gatewayz.catalog.listing_prices import ListingBaseline, ListingPrices
from gatewayz.catalog.offers import Offer
from gatewayz.catalog.price_checks import without_implied_zeros
from gatewayz.catalog.price_lists import ListedRates, Rows
from gatewayz.catalog.seed import SeedFile, SeedRow
from gatewayz.catalog.sources import Listing, OfferKey, SeedUpdate
from gatewayz.core.money import Price

DAY_S = 86_400


class ReadList(NamedTuple):
    """One list as it was read: its name, its version, its rows."""

    name: str
    version: str
    rows: Rows


class PriceChange(NamedTuple):
    """What an update changes; `before` is `None` for an offer that is new.

    Example: `PriceChange(("openai", "gpt-9"), "openai/gpt-9", None, price)`
    """

    key: OfferKey
    model: str
    before: Price | None
    after: Price


def seed_update(
    seed: Mapping[str, SeedFile],
    lists: Iterable[ReadList],
    baseline: ListingBaseline,
    now_s: int,
) -> SeedUpdate:
    """What these lists say that the package does not, checked."""
    lists = list(lists)
    listings: dict[str, Listing] = {}
    for provider, file in seed.items():
        reader = _ProviderUpdate(provider, file, baseline, now_s)
        for one in lists:
            reader.read(one)
        listing = reader.listing()
        if listing.offers or listing.quarantined:
            listings[provider] = listing
    return SeedUpdate(
        read_s=now_s, sources={one.name: one.version for one in lists}, listings=listings
    )


class _ProviderUpdate:
    """Takes the rows of one provider; the prices are judged together at the end."""

    def __init__(
        self, provider: str, file: SeedFile, baseline: ListingBaseline, now_s: int
    ) -> None:
        self._provider = provider
        self._rows = {row.id: row for row in file.rows}
        self._baseline = baseline
        self._now_s = now_s
        self._judges: list[ListingPrices] = []
        self._taken: set[str] = set()

    def read(self, one: ReadList) -> None:
        """Takes what a list says; an id that an earlier list named is passed over."""
        source = f"{one.name} {one.version}"
        prices = ListingPrices(self._provider, self._baseline, None, self._now_s, source)
        for listed in one.rows.get(self._provider, ()):
            row = self._rows.get(listed.native)
            rates = _rates_to_take(one.name, listed, row)
            offer = self._offer(listed.native, row) if rates else None
            if offer is not None and listed.native not in self._taken:
                self._taken.add(listed.native)
                prices.add(offer, rates, marked_free=False)
        self._judges.append(prices)

    def _offer(self, native: str, row: SeedRow | None) -> Offer | None:
        if row is not None:
            return Offer(model=row.model, provider=self._provider, upstream_id=native)
        kind = kind_from_id(self._provider, native)
        if kind is not None and not kind.serves:
            return None
        return Offer(
            model=canonical_id(self._provider, native, self._baseline.canonical_ids),
            provider=self._provider,
            upstream_id=native,
            serves=kind.serves if kind is not None and "chat" not in kind.serves else (),
        )

    def listing(self) -> Listing:
        """What is believed and differs, and what is not believed."""
        reasons = [reason for judge in self._judges if (reason := judge.judge())]
        offers = [
            offer
            for judge in self._judges
            for offer in judge.offers.values()
            if offer.price is not None and self._differs(offer)
        ]
        return Listing(
            provider=self._provider,
            read_s=self._now_s,
            offers=tuple(offers),
            quarantined=tuple(price for judge in self._judges for price in judge.quarantined),
            doubt_reason="; ".join(reasons),
        )

    def _differs(self, offer: Offer) -> bool:
        known = self._baseline.offers.get((self._provider, offer.upstream_id))
        return known is None or known.price is None or not _is_same(known.price, offer.price)


def _rates_to_take(name: str, listed: ListedRates, row: SeedRow | None) -> dict[str, int]:
    """The rates that this list may tell of a row; none where the package knows better."""
    if row is None:
        return without_implied_zeros(listed.rates) if listed.is_native else {}
    if row.source != name or row.held or row.free or row.later or row.windows:
        return {}
    return {
        bucket: pico
        for bucket, pico in without_implied_zeros(listed.rates).items()
        if bucket not in row.filled and (bucket in row.price or not row.price)
    }


def _is_same(known: Price, new: Price | None) -> bool:
    return new is not None and (new is known or new.version == known.version)


def price_changes(update: SeedUpdate, offers: Mapping[OfferKey, Offer]) -> Iterator[PriceChange]:
    """What the update changes of these offers."""
    for listing in update.listings.values():
        for offer in listing.offers:
            known = offers.get((offer.provider, offer.upstream_id))
            if offer.price is not None:
                yield PriceChange(
                    (offer.provider, offer.upstream_id),
                    known.model if known is not None else offer.model,
                    known.price if known is not None else None,
                    offer.price,
                )


def newer_than_package(update: SeedUpdate, seed: Mapping[str, SeedFile]) -> SeedUpdate:
    """The update without providers whose prices the package has read since.

    A new version of the package is newer than what was read under the old one.
    """
    day = datetime.fromtimestamp(update.read_s, UTC).date()
    listings = {
        provider: listing
        for provider, listing in update.listings.items()
        if provider in seed and _read_on(seed[provider]) <= day
    }
    return SeedUpdate(read_s=update.read_s, sources=update.sources, listings=listings)


def _read_on(file: SeedFile) -> date:
    return max((date.fromisoformat(one.read) for one in file.sources.values()), default=date.min)


def seed_read_s(seed: Mapping[str, SeedFile], update: SeedUpdate | None) -> int:
    """When the prices that are known before anybody asked a provider were read: Unix time, 0 where
    there are none.
    """
    days = [_read_on(file) for file in seed.values()]
    newest = max(days, default=date.min)
    midnight = datetime(newest.year, newest.month, newest.day, tzinfo=UTC) if days else None
    package_s = int(midnight.timestamp()) if midnight is not None else 0
    return max(package_s, update.read_s if update is not None else 0)
