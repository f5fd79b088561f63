"""Line items: what a call used, bucket by bucket, at the rates that are charged.

They sum to what `money.cost` says.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, convert

from gatewayz.core.money import Price, rates_of, usd_from_pico
from gatewayz.core.usage import BUCKETS, MILLION_BUCKETS, Usage


class LineItem(Struct, frozen=True):
    """Units of a bucket, and pico-dollars for each; prices are written for `per` of them: one, or a
    million.

    Example: `LineItem("output", units=3, rate=10_000_000)` has `per` 10**6, `price_usd` "10",
    `pico` 30_000_000.
    """

    bucket: str
    units: int
    rate: int

    @property
    def per(self) -> int:
        return 10**6 if self.bucket in MILLION_BUCKETS else 1

    @property
    def price_usd(self) -> str:
        """What `per` units cost."""
        return usd_from_pico(self.rate * self.per)

    @property
    def pico(self) -> int:
        return self.units * self.rate


def line_items(usage: Usage, price: Price) -> tuple[LineItem, ...]:
    """The buckets that hold something."""
    rates = zip(BUCKETS, rates_of(price, usage.prompt, usage.service), strict=True)
    return tuple(
        LineItem(bucket, units, rate) for bucket, rate in rates if (units := getattr(usage, bucket))
    )


def usage_from_record(record: Mapping[str, Any]) -> Usage:
    """Usage from a call's record, which holds only what is not zero."""
    return convert(record, Usage)
