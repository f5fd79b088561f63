"""Figures: what one source says of one native id, in our units."""

import re
from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal
from typing import Any

from msgspec import Struct

from gatewayz.core.requests import Surface

EMBEDDING = re.compile(r"embed|(^|/)(bge|gte|e5|m2-bert|voyage)-")
TALKING = re.compile(r"^gemini|^nano-banana")
"""Image models that answer in a chat too."""
Listed = dict[str, int]
"""Pico-dollars per unit, by bucket."""


class Figures(Struct, kw_only=True):
    """A row before it is grouped. `tiers` are keyed as in the seed: `>200000`, `priority`, `priority>200000`."""

    id: str
    source: str
    serves: tuple[Surface, ...] = ("chat",)
    price: Listed = {}
    tiers: dict[str, Listed] = {}
    context: int | None = None
    max_output: int | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    since: str = ""


def pico(usd: Any, per: int) -> int:
    """US dollars for `per` units as pico-dollars for one; what is finer is rounded up."""
    return int((Decimal(str(usd)) * 10**12 / per).to_integral_value(ROUND_CEILING))


def useful(tiers: dict[str, Listed], price: Listed) -> dict[str, Listed]:
    """The tiers that say anything else than the price itself."""
    return {
        key: listed
        for key, listed in sorted(tiers.items())
        if any(price.get(name) != rate for name, rate in listed.items())
    }


def serves(native: str, said: Surface) -> tuple[Surface, ...]:
    """What the model serves: as the list says, unless its name says more."""
    if EMBEDDING.search(native.lower()):
        return ("embedding",)
    return ("chat", "image") if said == "image" and TALKING.search(native.lower()) else (said,)


def words(flags: Iterable[tuple[str, Any]]) -> tuple[str, ...]:
    """The words whose flag is set."""
    return tuple(word for word, flag in flags if flag)
