"""The reckoning of a call: what was used, line by line, at the rates that are charged. It sums to what `cost` does."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, convert

from gatewayz.core.money import Price, rates_of
from gatewayz.core.usage import BUCKETS, MILLION_BUCKETS, Usage

PICO_PER_USD = 10**12


class Line(Struct, frozen=True):
    """Units of a bucket, and pico-dollars for each; prices are written for `per` of them: one, or a million."""

    bucket: str
    units: int
    rate: int

    @property
    def per(self) -> int:
        return 10**6 if self.bucket in MILLION_BUCKETS else 1

    @property
    def price_usd(self) -> str:
        """What `per` units cost."""
        return usd_of_pico(self.rate * self.per)

    @property
    def pico(self) -> int:
        return self.units * self.rate


def lines_of(usage: Usage, price: Price) -> tuple[Line, ...]:
    """The buckets that hold something."""
    rates = zip(BUCKETS, rates_of(price, usage.prompt, usage.service), strict=True)
    return tuple(
        Line(bucket, units, rate) for bucket, rate in rates if (units := getattr(usage, bucket))
    )


def usage_from(kept: Mapping[str, Any]) -> Usage:
    """Usage as a record keeps it: the buckets that hold something, the service tier, what was repaired."""
    return convert(kept, Usage)


def usd_of_pico(pico: int) -> str:
    """Pico-dollars as decimal text, whole."""
    dollars, rest = divmod(pico, PICO_PER_USD)
    return f"{dollars}.{rest:012d}".rstrip("0").rstrip(".")
