"""genai-prices' tables (MIT), read from the installed package."""

from datetime import date
from typing import Any

from genai_prices.data import providers
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from tools.seed.figures import Figures, Listed, pico, serves, useful

COSTS = {
    "input_mtok": ("input", 10**6),
    "output_mtok": ("output", 10**6),
    "cache_read_mtok": ("cache_read", 10**6),
    "cache_write_mtok": ("cache_write", 10**6),
    "cache_write_1h_mtok": ("cache_write_1h", 10**6),
    "output_reasoning_mtok": ("reasoning", 10**6),
    "input_audio_mtok": ("audio_input", 10**6),
    "output_audio_mtok": ("audio_output", 10**6),
    "input_image_mtok": ("image_input", 10**6),
    "output_image_mtok": ("image_output", 10**6),
    "requests_kcount": ("requests", 10**3),
}
SERVICES = {"flex", "priority"}


class Genai:
    """The providers' tables, asked by provider and native id."""

    def __init__(self, today: date) -> None:
        self._today = today
        self._providers = {provider.id: provider for provider in providers}

    def ids(self, provider: str) -> list[str]:
        return [
            model.id
            for model in self._providers[provider].models
            if not model.deprecated and model.prices
        ]

    def figures(self, provider: str, native: str) -> Figures | None:
        """What it says of this native id, which its own patterns must match."""
        models = self._providers[provider].models
        found = next((model for model in models if model.id == native), None)
        found = found or next((model for model in models if model.is_match(native)), None)
        if found is None or not found.prices:
            return None
        prices, since = self._now(found)
        price, tiers = _split(prices, "")
        if not price:
            return None
        for service, variant in self._services(found):
            base, above = _split(variant, service)
            tiers |= ({service: base} if base else {}) | above
        return Figures(
            id=native,
            source="genai-prices",
            serves=serves(native, "chat"),
            price=price,
            tiers=useful(tiers, price),
            context=found.context_window,
            since=since,
        )

    def _now(self, model: ModelInfo) -> tuple[ModelPrice, str]:
        """The price of today; of prices that change with the hour, the dearest."""
        if isinstance(model.prices, ModelPrice):
            return model.prices, ""
        by_hour = [one for one in model.prices if isinstance(one.constraint, TimeOfDateConstraint)]
        if by_hour:
            plain = [one for one in model.prices if one.constraint is None or self._begun(one)]
            return max([*by_hour, *plain[-1:]], key=_dearness).prices, ""
        begun = [one for one in model.prices if one.constraint is None or self._begun(one)]
        chosen = begun[-1] if begun else model.prices[0]
        started = chosen.constraint
        return chosen.prices, started.start_date.isoformat() if isinstance(
            started, StartDateConstraint
        ) else ""

    def _begun(self, one: ConditionalPrice) -> bool:
        return (
            isinstance(one.constraint, StartDateConstraint)
            and one.constraint.start_date <= self._today
        )

    def _services(self, model: ModelInfo) -> list[tuple[str, ModelPrice]]:
        return [
            (variant.when["service_tier"], variant.prices)
            for variant in model.price_variants or ()
            if variant.when.get("service_tier") in SERVICES
            and (
                variant.constraint is None
                or (
                    isinstance(variant.constraint, StartDateConstraint)
                    and variant.constraint.start_date <= self._today
                )
            )
        ]


def _dearness(one: ConditionalPrice) -> Any:
    value = one.prices.input_mtok
    return value.base if isinstance(value, TieredPrices) else value


def _split(prices: ModelPrice, service: str) -> tuple[Listed, dict[str, Listed]]:
    """The base prices, and those above thresholds."""
    base: Listed = {}
    above: dict[str, Listed] = {}
    for field, (bucket, per) in COSTS.items():
        value = getattr(prices, field)
        if isinstance(value, TieredPrices):
            base[bucket] = pico(value.base, per)
            for tier in value.tiers:
                # 199,999 is another spelling of 200,000: "from" instead of "above".
                start = tier.start + 1 if tier.start % 1000 == 999 else tier.start
                above.setdefault(f"{service}>{start}", {})[bucket] = pico(tier.price, per)
        elif value is not None:
            base[bucket] = pico(value, per)
    return base, above
