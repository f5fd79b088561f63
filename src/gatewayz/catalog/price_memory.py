"""Price memory: what an offer has cost at its provider, as far as its list was believed.

A listed price is compared with the last good one, with all that held within `WINDOW_S`, so that
many small steps are as suspicious as a large one, and with the first. Where the package has no price
of the model, nothing but lists vouches for it, and the first bounds it as closely as the last. A
price that was not believed is no part of it: a list that is wrong twice is still wrong. Each memory is bounded.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from gatewayz.catalog.price_checks import MAX_MEDIAN_RATIO, why_changed
from gatewayz.core.money import BucketRates

WINDOW_S = 14 * 86_400
"""How long a price that was replaced is still compared with."""
MAX_FIRST_RATIO = 10
"""How many times a price may be above or below the first one, however slowly it went there."""
MAX_PRICES = 6
"""Prices of one offer that are remembered."""
MAX_REMEMBERED = 20_000
"""Offers of one provider that are remembered, those that are no longer listed among them."""


class RememberedPrice(Struct, frozen=True):
    """Rates as they were listed, and when they were read first (Unix time).

    Example: `RememberedPrice(1_800_000_000, {"input": 400_000, "output": 1_600_000})`
    """

    read_s: int
    rates: dict[str, int]


class OfferMemory(Struct, frozen=True, omit_defaults=True):
    """Since when an offer is listed (Unix time), and what it cost: the oldest price first.

    Example: `OfferMemory(1_800_000_000, (RememberedPrice(1_800_000_000, {"input": 400_000}),))`
    """

    first_s: int
    prices: tuple[RememberedPrice, ...] = ()

    @property
    def last_good(self) -> BucketRates:
        """The rates that were believed last; empty when none were."""
        return self.prices[-1].rates if self.prices else {}

    def why_changed(
        self, listed: BucketRates, now_s: int, max_first_ratio: int = MAX_FIRST_RATIO
    ) -> str:
        """How these rates are too far from a remembered price; empty when they are not.

        `max_first_ratio` is how far they may ever be from those before the window.
        """
        for number, price in enumerate(self.prices):
            later = self.prices[number + 1 : number + 2]
            is_old = bool(later) and later[0].read_s <= now_s - WINDOW_S
            why = why_changed(listed, price.rates, max_first_ratio if is_old else MAX_MEDIAN_RATIO)
            if why:
                return why
        return ""

    def with_price(self, rates: BucketRates, now_s: int) -> "OfferMemory":
        """The memory after a price was believed."""
        if dict(rates) == self.last_good:
            return self
        prices = (*self.prices, RememberedPrice(now_s, dict(rates)))
        # The first one stays, and the one that held when the window began.
        recent = [
            price
            for number, price in enumerate(prices[1:], 2)
            if number == len(prices) or prices[number].read_s > now_s - WINDOW_S
        ]
        if len(recent) >= MAX_PRICES:
            recent = [recent[0], *recent[-(MAX_PRICES - 2) :]]
        return OfferMemory(self.first_s, (prices[0], *recent))


def forget_newest(memories: Mapping[str, OfferMemory]) -> dict[str, OfferMemory]:
    """At most `MAX_REMEMBERED`: what has a price and is known for long is kept before the rest."""
    if len(memories) <= MAX_REMEMBERED:
        return dict(memories)
    kept: Iterable[tuple[str, OfferMemory]] = sorted(
        memories.items(), key=lambda item: (not item[1].prices, item[1].first_s, item[0])
    )
    return dict(list(kept)[:MAX_REMEMBERED])
