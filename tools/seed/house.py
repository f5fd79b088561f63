"""The house: what a provider's list leaves out of a price is the house's, where it sells at the
house's price.

Resellers pass on what the maker of a model charges. Their lists often name two figures only; the
buckets that are dearer than their fallback (sound, images that come out) and the fees follow the
house's, in the proportion in which both base prices stand. Cheaper buckets are never concluded:
whether a discount is passed on, nobody knows.
"""

from collections.abc import Container, Iterable, Iterator
from fractions import Fraction
from math import ceil

from msgspec.structs import replace
from tools.seed.figures import Figures, Rates
from tools.seed.grouping import GroupedRow

from gatewayz.catalog.seed import LaterPrice
from gatewayz.core.money import DEARER_BUCKETS, FALLBACKS

MULTIPLIERS = {"anthropic/": {"cache_write": (5, 4), "cache_write_1h": (2, 1)}}
"""Buckets that a house sells as a multiple of its input, at every model and at everybody who
resells it: "5-minute cache write tokens are 1.25 times the base input tokens price, 1-hour cache
write tokens are 2 times" (platform.claude.com, pricing).
"""
SAME = 0.01
"""Share by which two proportions may differ and still be one."""


def add_house_figures(rows: list[GroupedRow], unlisted: Container[str]) -> None:
    """Fills what each row lacks from its model's house; `unlisted` providers are no house."""
    houses = _house_rows(row for row in rows if row.provider not in unlisted)
    for row in rows:
        house = houses.get(row.model)
        if house is not None:
            one = row.figures
            row.figures = replace(
                one,
                inputs=one.inputs or house.figures.inputs,
                outputs=one.outputs or house.figures.outputs,
            )
            if row.is_sold and row.provider != house.provider:
                row.figures = _with_house_figures(row.figures, house)
        for family, multiples in MULTIPLIERS.items():
            if row.is_sold and row.model.startswith(family):
                row.figures = _with_multiples(row.figures, multiples, family.removesuffix("/"))


def _house_rows(rows: Iterable[GroupedRow]) -> dict[str, GroupedRow]:
    """Model → the row of its house that says most."""
    found: dict[str, GroupedRow] = {}
    for row in rows:
        if row.is_of_the_house and row.is_sold and not row.quantization:
            known = found.get(row.model)
            if known is None or len(row.figures.price) > len(known.figures.price):
                found[row.model] = row
    return found


def _with_house_figures(one: Figures, house: GroupedRow) -> Figures:
    theirs = house.figures
    share = _share(one.price, theirs.price)
    if share is None:
        return one
    more = {
        bucket: ceil(theirs.price[bucket] * share)
        for bucket in (*DEARER_BUCKETS, "requests")
        if theirs.price.get(bucket)
        and not one.price.get(bucket)
        and not bucket.startswith("cache_")
    }
    tiers = {
        key: {bucket: ceil(pico * share) for bucket, pico in rates.items()}
        for key, rates in theirs.tiers.items()
        if key.startswith(">") and not any(own.startswith(">") for own in one.tiers)
    }
    return replace(
        one,
        price=one.price | more,
        tiers=one.tiers | tiers,
        later=one.later or tuple(_later(one.price, theirs, share)),
        filled=one.filled | dict.fromkeys(more, house.provider),
    )


def _later(price: Rates, house: Figures, share: Fraction) -> Iterator[LaterPrice]:
    """What the house will charge, where that is more: whoever resells cannot go on as before."""
    for later in house.later:
        told = {
            bucket: ceil(later.price[bucket] * share)
            for bucket in ("input", "output")
            if later.price.get(bucket)
        }
        if any(pico > price[bucket] for bucket, pico in told.items()):
            yield LaterPrice(valid_from=later.valid_from, price=told)


def _with_multiples(one: Figures, multiples: dict[str, tuple[int, int]], house: str) -> Figures:
    more = {
        bucket: -(-one.price.get("input", 0) * times // parts)
        for bucket, (times, parts) in multiples.items()
        if not one.price.get(bucket)
    }
    return replace(one, price=one.price | more, filled=one.filled | dict.fromkeys(more, house))


def _share(mine: Rates, theirs: Rates) -> Fraction | None:
    """How many times the house's price this one is, where input and output agree on that."""
    if not all(rates.get(bucket) for rates in (mine, theirs) for bucket in ("input", "output")):
        return None
    inputs, outputs = (Fraction(mine[bucket], theirs[bucket]) for bucket in ("input", "output"))
    if abs(inputs - outputs) > SAME * inputs:
        return None
    return Fraction(1) if abs(inputs - 1) <= SAME else inputs


def name_fallbacks(one: Figures, buckets: Iterable[str]) -> Figures:
    """These buckets cost what they fall back on, in so many words."""
    named = {bucket: one.price.get(FALLBACKS[bucket], 0) for bucket in buckets}
    more = {bucket: pico for bucket, pico in named.items() if pico and not one.price.get(bucket)}
    return replace(
        one, price=one.price | more, filled=one.filled | dict.fromkeys(more, "as its fallback")
    )
