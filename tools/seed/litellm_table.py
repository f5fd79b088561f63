"""litellm's price table (MIT), read from its wheel, which is unzipped and never installed."""

import json
import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from tools.seed.figures import (
    LITELLM,
    Figures,
    Rates,
    UnknownFieldError,
    distinct_tiers,
    pico_from_usd,
    surfaces_from_id,
    words_from_flags,
)

from gatewayz.catalog.price_lists import LIST_FILES, LITELLM_COSTS
from gatewayz.catalog.seed import PriceWindow
from gatewayz.core.requests import Surface

TABLE = LIST_FILES[LITELLM]
SURFACES: dict[str, Surface] = {
    "chat": "chat",
    "responses": "chat",
    "completion": "chat",
    "embedding": "embedding",
    "image_generation": "image",
}
"""Modes that the gateway can serve; the others are left out."""
COSTS = LITELLM_COSTS
TIER = re.compile(
    r"(?P<field>.+?)(?:_above_(?P<above>\d+)k_tokens)?(?:_(?P<service>flex|priority))?$"
)
READ_ELSEWHERE = {
    "tiered_pricing",
    "off_peak_pricing",
    "search_context_cost_per_query",
    "output_cost_per_image",
    "output_cost_per_pixel",
    "input_cost_per_image",
}
COST_FIELD = re.compile(r"cost|pricing|multiplier")
UNREAD = re.compile(
    r"_batches$|_ultrafast$|_decisions$"  # ways of asking that the gateway does not know
    r"|_per_(character|second|video|audio_per_second)|_per_(query|session|page)|video_token"
    r"|uplift_multiplier"  # endpoints of one region, which have a base URL of their own
    r"|cache_read_input_(audio|image)_token_cost"  # counted with the cached text
    r"|_above_12hr|citation_cost|explicit_cache_read"  # no usage reports them apart
    r"|_per_image_(above|0|\d|1K|2K|4K)|input_cost_per_pixel"  # one size of a model that is listed as itself
)
"""Fields that have no bucket."""
FEATURES = (
    ("tools", "supports_function_calling"),
    ("parallel_tools", "supports_parallel_function_calling"),
    ("json_schema", "supports_response_schema"),
    ("reasoning", "supports_reasoning"),
    ("caching", "supports_prompt_caching"),
)
INPUTS = (
    ("image", "supports_vision"),
    ("audio", "supports_audio_input"),
    ("file", "supports_pdf_input"),
    ("video", "supports_video_input"),
)
SIZED = re.compile(r"(^|/)((low|medium|high|standard|hd|auto)/)?\d+-x-\d+/")
"""Image rows for one size and quality: the same model once more."""
MEGAPIXEL = 1024 * 1024
MILLION = 10**6


def load_table(wheel: Path) -> dict[str, dict[str, Any]]:
    """Name → row, as litellm has it."""
    with ZipFile(wheel) as archive:
        found: dict[str, dict[str, Any]] = json.loads(archive.read(TABLE))
    return found


def figures(rows: dict[str, dict[str, Any]], plan: dict[str, Any], today: str) -> list[Figures]:
    """What the table says of the models of one provider."""
    found = []
    names, prefixes, told = (
        plan.get("litellm", []),
        plan.get("prefix", []),
        re.compile(plan.get("told", "")),
    )
    for name, row in rows.items():
        if not told.search(row.get("source") or ""):
            continue
        if (
            row.get("litellm_provider") not in names
            or row.get("mode") not in SURFACES
            or SIZED.search(name)
        ):
            continue
        if row.get("deprecation_date", "9999") <= today:
            continue
        found.append(_figures(_native(name, prefixes), row, searches=plan.get("searches", True)))
    return found


def _native(name: str, prefixes: list[str]) -> str:
    for prefix in prefixes:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _figures(native: str, row: dict[str, Any], *, searches: bool) -> Figures:
    surfaces = surfaces_from_id(native, SURFACES[row["mode"]])
    price, tiers = _prices(row, surfaces, searches=searches)
    inputs = ("text", *words_from_flags((word, row.get(flag)) for word, flag in INPUTS))
    return Figures(
        id=native,
        source=LITELLM,
        serves=surfaces,
        price=price,
        tiers=distinct_tiers(tiers, price),
        windows=_windows(row),
        context=_count(row.get("max_input_tokens")),
        max_output=_count(row.get("max_output_tokens")) if "chat" in surfaces else None,
        inputs=inputs,
        outputs=(
            *words_from_flags(
                [
                    ("text", "chat" in surfaces),
                    ("image", "image" in surfaces),
                    ("audio", row.get("supports_audio_output")),
                ]
            ),
        ),
        features=words_from_flags((word, row.get(flag)) for word, flag in FEATURES),
    )


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and value > 0 else None


def _prices(
    row: dict[str, Any], surfaces: tuple[Surface, ...], *, searches: bool
) -> tuple[Rates, dict[str, Rates]]:
    price: Rates = {}
    tiers: dict[str, Rates] = {}
    for field, cost in row.items():
        match = TIER.fullmatch(field)
        bucket = COSTS.get(field) or (COSTS.get(match["field"]) if match else None)
        if bucket is None and COST_FIELD.search(field):
            _require_named_as_unread(field)
        if bucket is None or not isinstance(cost, int | float):
            continue
        where = price
        if field not in COSTS and match:
            above = f">{int(match['above']) * 1000}" if match["above"] else ""
            where = tiers.setdefault((match["service"] or "") + above, {})
        where.setdefault(bucket, pico_from_usd(cost, 1))
    _add_ranges(row.get("tiered_pricing") or [], price, tiers)
    if searches and isinstance(row.get("search_context_cost_per_query"), dict):
        # A search reads as much as the client says: the dearest of its sizes is what it may cost.
        costs = row["search_context_cost_per_query"].values()
        price["searches"] = pico_from_usd(max(costs, default=0), 1)
    if "image" in surfaces and not price.get("image_output") and not price.get("output"):
        return _flat_image_price(row, price), {}
    return price, tiers


def _flat_image_price(row: dict[str, Any], price: Rates) -> Rates:
    per_pixel = row.get("output_cost_per_pixel")
    per_image = row.get("output_cost_per_image", row.get("input_cost_per_image"))
    if per_pixel:
        # It divides the price of a megapixel by 1024 x 1024; ours is for a million pixels, as
        # providers write it.
        return {"pixels": pico_from_usd(per_pixel * MEGAPIXEL, MILLION)}
    return {"images": pico_from_usd(per_image, 1)} if per_image else price


def _require_named_as_unread(field: str) -> None:
    if field not in READ_ELSEWHERE and not UNREAD.search(field):
        raise UnknownFieldError(f"litellm: {field}")


def _add_ranges(ranges: list[dict[str, Any]], price: Rates, tiers: dict[str, Rates]) -> None:
    """Alibaba's form: a list of prices, each for a range of prompt tokens."""
    for one in ranges:
        if "range" not in one:
            continue
        start = int(one["range"][0])
        where = tiers.setdefault(f">{start}", {}) if start else price
        for field, cost in one.items():
            if field in COSTS:
                where[COSTS[field]] = pico_from_usd(cost, 1)


def _windows(row: dict[str, Any]) -> tuple[PriceWindow, ...]:
    """The hours in which it is cheaper."""
    off_peak = row.get("off_peak_pricing")
    if not off_peak:
        return ()
    price = {
        bucket: pico_from_usd(off_peak[field], 1)
        for field, bucket in COSTS.items()
        if isinstance(off_peak.get(field), int | float)
    }
    return tuple(
        PriceWindow(
            hours=tuple(_hours(window["hours_utc"])),
            weekdays=tuple(window.get("weekdays", range(1, 8))),
            price=price,
        )
        for window in off_peak.get("windows", [off_peak])
    )


def _hours(told: str | list[str]) -> list[str]:
    """`10:00-00:00` ends at the end of the day; a window that wraps past midnight is two."""
    found: list[str] = []
    for text in [told] if isinstance(told, str) else told:
        start, _, end = text.partition("-")
        if end == "00:00":
            found.append(f"{start}-24:00")
        elif end > start:
            found.append(text)
        else:
            found += [f"{start}-24:00", f"00:00-{end}"]
    return found
