"""genai-prices' tables (MIT), read from the installed package: prices of today, and those that
begin later.

Prices that change with the hour are read at their dearest: this list knows no weekdays, and the
other one does.
"""

from collections.abc import Iterator
from datetime import date
from typing import Any

from genai_prices.data import providers
from genai_prices.types import (
    ClauseEquals,
    ClauseOr,
    ConditionalPrice,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)
from tools.seed.figures import (
    GENAI,
    Figures,
    Rates,
    UnknownFieldError,
    distinct_tiers,
    pico_from_usd,
    surfaces_from_id,
)

from gatewayz.catalog.price_lists import GENAI_COSTS
from gatewayz.catalog.seed import LaterPrice

COSTS = GENAI_COSTS
UNREAD = {
    "cache_audio_read_mtok": "cached sound is counted with the cached text",
    "cache_image_read_mtok": "cached images are counted with the cached text",
    "input_video_mtok": "video is counted as text",
    "output_video_mtok": "no video is made here",
    "output_citation_mtok": "no usage reports citations",
    "storage_searches_kcount": "no file store is searched here",
    "audio_hours": "no speech is asked for here",
    "input_audio_hours": "no speech is asked for here",
    "input_mchars": "no speech is asked for here",
    "input_text_messages_kcount": "no speech is asked for here",
    "input_document_kpages": "no documents are scanned here",
    "input_annotated_document_kpages": "no documents are scanned here",
}
"""Fields that have no bucket, and why."""
SERVICES = {"flex", "priority"}


class GenaiTable:
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
        """What it says of this native id: under its own name, or by a pattern that matches it."""
        models = [model for model in self._providers[provider].models if model.prices]
        found = next((model for model in models if model.id == native), None)
        found = found or next((model for model in models if native in _names(model.match)), None)
        exact = found is not None
        found = found or next((model for model in models if model.is_match(native)), None)
        if found is None:
            return None
        price, tiers, since = _prices_on(found, self._today)
        if not price:
            return None
        return Figures(
            id=native,
            source=GENAI,
            exact=exact,
            serves=surfaces_from_id(native, "chat"),
            price=price,
            tiers=tiers,
            later=tuple(self._later(found)),
            context=found.context_window,
            since=since,
        )

    def earlier_prices(self, provider: str, native: str) -> list[Rates]:
        """What it cost before, as far as this is told."""
        found = next((one for one in self._providers[provider].models if one.id == native), None)
        listed = found.prices if found is not None and isinstance(found.prices, list) else []
        return [_split(one.prices, "")[0] for one in listed]

    def _later(self, model: ModelInfo) -> Iterator[LaterPrice]:
        before = _prices_on(model, self._today)[:2]
        for day in sorted(day for day in _start_dates(model) if day > self._today):
            price, tiers, _ = _prices_on(model, day)
            if (price, tiers) != before:
                before = price, tiers
                yield LaterPrice(valid_from=day.isoformat(), price=price, tiers=tiers)


def _names(match: MatchLogic) -> set[str]:
    """The ids that a rule names in full."""
    if isinstance(match, ClauseEquals):
        return {match.equals}
    if isinstance(match, ClauseOr):
        return {name for one in match.or_ for name in _names(one)}
    return set()


def _start_dates(model: ModelInfo) -> set[date]:
    listed = model.prices if isinstance(model.prices, list) else []
    constraints = [one.constraint for one in (*listed, *(model.price_variants or ()))]
    return {one.start_date for one in constraints if isinstance(one, StartDateConstraint)}


def _prices_on(model: ModelInfo, day: date) -> tuple[Rates, dict[str, Rates], str]:
    """The price, its tiers and since when they hold, on a day."""
    prices, since = _base_on(model, day)
    price, tiers = _split(prices, "")
    for variant in model.price_variants or ():
        service = variant.when.get("service_tier")
        if service in SERVICES and _has_begun(variant, day):
            base, above = _split(variant.prices, service)
            tiers |= ({service: base} if base else {}) | above
    return price, distinct_tiers(tiers, price), since


def _base_on(model: ModelInfo, day: date) -> tuple[ModelPrice, str]:
    if isinstance(model.prices, ModelPrice):
        return model.prices, ""
    by_hour = [one for one in model.prices if isinstance(one.constraint, TimeOfDateConstraint)]
    dated = [one for one in model.prices if one not in by_hour]
    begun = [one for one in dated if _has_begun(one, day)]
    chosen = max([*by_hour, *begun[-1:]], key=_input_price) if by_hour else (begun[-1:] or dated)[0]
    started = begun[-1].constraint if begun else None
    since = started.start_date.isoformat() if isinstance(started, StartDateConstraint) else ""
    return chosen.prices, since


def _has_begun(one: ConditionalPrice | PriceVariant, day: date) -> bool:
    constraint = one.constraint
    return constraint is None or (
        isinstance(constraint, StartDateConstraint) and constraint.start_date <= day
    )


def _input_price(one: ConditionalPrice) -> Any:
    value = one.prices.input_mtok
    return value.base if isinstance(value, TieredPrices) else value


def _split(prices: ModelPrice, service: str) -> tuple[Rates, dict[str, Rates]]:
    """The base prices, and those above thresholds. A field that is neither read nor named as unread
    is an error.
    """
    base: Rates = {}
    above: dict[str, Rates] = {}
    for field, value in vars(prices).items():
        if value is None or field in UNREAD:
            continue
        if field not in COSTS:
            raise UnknownFieldError(f"genai-prices: {field}")
        bucket, per = COSTS[field]
        if isinstance(value, TieredPrices):
            base[bucket] = pico_from_usd(value.base, per)
            for tier in value.tiers:
                # 199,999 is another spelling of 200,000: "from" instead of "above".
                start = tier.start + 1 if tier.start % 1000 == 999 else tier.start
                above.setdefault(f"{service}>{start}", {})[bucket] = pico_from_usd(tier.price, per)
        else:
            base[bucket] = pico_from_usd(value, per)
    return base, above
