"""Price checks: what no price may be, whoever lists it.

A price that does not pass is quarantined and shown, never used. Rates are pico-dollars by bucket.

Every bucket that is named is checked: against the same bucket of the same offer before and of the
model's other offers where anybody has one, else by its ratio to the input or output of its own
price, else by the band in which nearly all known prices lie.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from statistics import median
from types import MappingProxyType

from msgspec import Struct

from gatewayz.core.money import (
    FALLBACKS,
    MAX_PICO_PER_TOKEN,
    MAX_PICO_PER_UNIT,
    BucketRates,
    Price,
)
from gatewayz.core.usage import BUCKETS, MILLION_BUCKETS

MAX_MEDIAN_RATIO = 5
"""How many times a price may be above or below the median of the model's other offers."""
COMPARED_BUCKETS = ("input", "output", "images")
"""The figures by which offers are compared; the others follow from them or are rarely listed."""
BASE_BUCKETS = ("input", "output")
"""The rates of every token that has no rate of its own."""
MAX_SIDE_RATIO = 10
"""As `MAX_MEDIAN_RATIO`, for buckets other than those of `COMPARED_BUCKETS`."""
FLAT_BUCKETS = ("requests", "images", "pixels", "seconds", "searches")
"""What is paid for as a whole; a list that says zero of one of them says nothing."""
OWN_RATIOS: Mapping[str, tuple[str, float, float]] = {
    "output": ("input", 0.25, 40.0),
    "cache_read": ("input", 0.004, 1.25),
    "cache_write": ("input", 0.025, 5.0),
    "cache_write_1h": ("input", 0.1, 5.0),
    "reasoning": ("output", 0.2, 8.0),
    "audio_input": ("input", 0.5, 100.0),
    "audio_output": ("output", 0.5, 50.0),
    "image_input": ("input", 0.2, 10.0),
    "image_output": ("output", 0.5, 50.0),
}
"""Bucket → the bucket of the same price that it follows, and its least and greatest multiple of it.

About half and twice what is found among the two thousand prices of the package.
"""
MAX_REQUEST_FEE_RATIO = 10
"""The greatest fee of a request, as a multiple of 1,000 tokens in and 1,000 out."""
MAX_LONE_FEE_RATIO = 1
"""The same where the model has other offers, and none of them asks such a fee."""
USUAL_TOKENS = 1_000
MIN_BAND_SAMPLES = 20
BAND_SHARE = 0.01
"""The share of known prices that is left out at either end of a band."""
BAND_MARGIN = 2
"""How far beyond the known prices a band goes, as a factor."""
DEFAULT_BAND: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "input": (5_000, 60_000_000),
        "output": (10_000, 300_000_000),
        "audio_input": (50_000, 100_000_000),
        "audio_output": (500_000, 200_000_000),
        "image_input": (50_000, 100_000_000),
        "image_output": (500_000, 300_000_000),
        "images": (10**9, 10**12),
        "pixels": (1_000, 500_000),
        "requests": (10**8, 10**11),
        "seconds": (10**6, 10**12),
        "searches": (10**9, 10**11),
    }
)
"""The band of a bucket, in pico-dollars, of which too few prices are known."""
ANSWER_BUCKETS = ("output", "requests", "images", "pixels", "seconds")
"""What answers are paid by; a list that has none of these has left something out."""


class PriceBand(Struct, frozen=True):
    """Where nearly all known prices lie: least and greatest pico-dollars, by bucket."""

    limits: Mapping[str, tuple[int, int]] = DEFAULT_BAND

    def why_outside(self, bucket: str, pico: int) -> str:
        """What is odd about a rate; empty when it lies within, or the bucket has no band."""
        if bucket not in self.limits:
            return ""
        least, greatest = self.limits[bucket]
        if least <= pico <= greatest:
            return ""
        side = "below" if pico < least else "above"
        return f"{bucket} is {side} what nearly all models cost, and nobody else offers this one"


def price_band(known: Iterable[BucketRates]) -> PriceBand:
    """The band of these prices: between their outer percentiles, with a margin."""
    rates: dict[str, list[int]] = {}
    for listed in known:
        for bucket, pico in listed.items():
            if pico and bucket in DEFAULT_BAND:
                rates.setdefault(bucket, []).append(pico)

    limits = dict(DEFAULT_BAND)
    for bucket, values in rates.items():
        if len(values) >= MIN_BAND_SAMPLES:
            values.sort()
            cut = int(len(values) * BAND_SHARE)
            limits[bucket] = (values[cut] // BAND_MARGIN, values[-1 - cut] * BAND_MARGIN)
    return PriceBand(limits)


def rates_from_price(price: Price) -> dict[str, int]:
    """The rates that a price names: what only repeats its fallback is left out."""
    rates: dict[str, int] = {}
    for bucket in BUCKETS:
        pico, fallback = getattr(price, bucket), FALLBACKS.get(bucket)
        repeats = fallback is not None and pico == getattr(price, fallback)
        if pico and not repeats and bucket not in price.unpriced_buckets:
            rates[bucket] = pico
    return rates


def without_implied_zeros(listed: BucketRates) -> dict[str, int]:
    """The rates without zeros that mean "no charge of its own": it costs its fallback."""
    return {
        bucket: pico
        for bucket, pico in listed.items()
        if pico or not listed.get(FALLBACKS.get(bucket, ""), 0)
    }


def why_implausible(listed: BucketRates, serves: Container[str], *, free: bool) -> str:
    """What is wrong with a price in itself; empty when nothing is."""
    for bucket, pico in listed.items():
        limit = MAX_PICO_PER_TOKEN if bucket in MILLION_BUCKETS else MAX_PICO_PER_UNIT
        if not 0 <= pico <= limit:
            return f"{bucket} is {'below zero' if pico < 0 else 'above any price there is'}"
    if free:
        return ""
    if not any(listed.values()):
        return "listed at zero, and not known to be free"
    if "chat" in serves and not any(listed.get(bucket) for bucket in ANSWER_BUCKETS):
        return "output is listed at zero"
    return ""


def why_outlier(
    listed: BucketRates,
    others: Iterable[BucketRates],
    buckets: Iterable[str] = COMPARED_BUCKETS,
) -> str:
    """Which rate is too far from the median of the others'; empty when none is or can be compared."""
    known = [other for other in others if any(other.values())]
    for bucket in buckets:
        max_ratio = MAX_MEDIAN_RATIO if bucket in COMPARED_BUCKETS else MAX_SIDE_RATIO
        theirs = [other[bucket] for other in known if other.get(bucket)]
        own = listed.get(bucket, 0)
        if not theirs or not own:
            continue
        middle = median(theirs)
        if own > middle * max_ratio:
            return f"{bucket} is {own / middle:.1f} times above the model's other offers"
        if own * max_ratio < middle:
            return f"{bucket} is {middle / own:.1f} times below the model's other offers"
    return ""


def why_changed(listed: BucketRates, before: BucketRates, max_ratio: int) -> str:
    """Which rate is too far from what the same offer cost before; empty when none is."""
    for bucket, earlier in before.items():
        now = listed.get(bucket)
        if now is None or not earlier:
            continue
        if not now:
            return f"{bucket} is listed at zero, and was not before"
        if now > earlier * max_ratio:
            return f"{bucket} is {now / earlier:.1f} times above what it was"
        if now * max_ratio < earlier:
            return f"{bucket} is {earlier / now:.1f} times below what it was"
    return ""


def why_incomplete(listed: BucketRates, others: Sequence[BucketRates]) -> str:
    """Which rate a list leaves out that a price of this model must have; empty when none."""
    if any(listed.get(bucket) for bucket in FLAT_BUCKETS) and not any(
        listed.get(bucket) for bucket in BASE_BUCKETS
    ):
        return ""
    for bucket, other in (("input", "output"), ("output", "input")):
        charged = sum(1 for rates in others if rates.get(bucket))
        # Models that nobody else offers are taken for chat models, which have both.
        wanted = 2 * charged > len(others) if others else bool(listed.get(other))
        if wanted and not listed.get(bucket):
            return f"{bucket} is {'listed at zero' if bucket in listed else 'not listed'}"
    if others and 2 * sum(1 for rates in others if rates.get("requests")) > len(others):
        return "" if listed.get("requests") else "it leaves out the fee that every request pays"
    return ""


def why_odd(
    listed: BucketRates,
    before: Iterable[BucketRates],
    others: Sequence[BucketRates],
    band: PriceBand,
) -> str:
    """Which rate is odd beside the others of its own price; empty when none is.

    Rates that the same offer had `before`, or that the model's `others` have, are compared with
    those instead, by `why_changed` and `why_outlier`.
    """
    known = {bucket for rates in (*before, *others) for bucket, pico in rates.items() if pico}
    for bucket, pico in listed.items():
        if not pico or bucket in known:
            continue
        why = _why_odd_bucket(bucket, listed, band, lonely=not others)
        if why:
            return why
    return ""


def _why_odd_bucket(bucket: str, listed: BucketRates, band: PriceBand, *, lonely: bool) -> str:
    pico = listed[bucket]
    source, least, greatest = OWN_RATIOS.get(bucket, ("", 0.0, 0.0))
    base = listed.get(source, 0)
    if base and not least * base <= pico <= greatest * base:
        return f"{bucket} is {pico / base:.4g} times its {source}"
    usual = USUAL_TOKENS * sum(listed.get(each, 0) for each in BASE_BUCKETS)
    if bucket == "requests" and usual:
        ratio = MAX_REQUEST_FEE_RATIO if lonely else MAX_LONE_FEE_RATIO
        if pico > ratio * usual:
            return (
                f"the fee of a request is {pico / usual:.1f} times what 1,000 tokens each way cost"
            )
    # What follows from a base of its own price needs no band; the base itself has one.
    return "" if base and bucket not in BASE_BUCKETS else band.why_outside(bucket, pico)
