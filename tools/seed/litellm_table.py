"""litellm's price table (MIT), read from its wheel, which is unzipped and never installed."""

import json
import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from tools.seed.figures import Figures, Listed, pico, serves, useful, words

from gatewayz.core.requests import Surface

TABLE = "litellm/model_prices_and_context_window_backup.json"
SURFACES: dict[str, Surface] = {
    "chat": "chat",
    "responses": "chat",
    "completion": "chat",
    "embedding": "embedding",
    "image_generation": "image",
}
"""Modes that the gateway can serve; the others are left out."""
COSTS = {
    "input_cost_per_token": ("input", 1),
    "output_cost_per_token": ("output", 1),
    "cache_read_input_token_cost": ("cache_read", 1),
    "input_cost_per_token_cache_hit": ("cache_read", 1),
    "cache_creation_input_token_cost": ("cache_write", 1),
    "cache_creation_input_token_cost_above_1hr": ("cache_write_1h", 1),
    "output_cost_per_reasoning_token": ("reasoning", 1),
    "input_cost_per_audio_token": ("audio_input", 1),
    "output_cost_per_audio_token": ("audio_output", 1),
    "input_cost_per_image_token": ("image_input", 1),
    "output_cost_per_image_token": ("image_output", 1),
    "input_cost_per_request": ("requests", 1),
}
TIER = re.compile(
    r"(?P<field>.+?)(?:_above_(?P<above>\d+)k_tokens)?(?:_(?P<service>flex|priority))?$"
)
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


def table(wheel: Path) -> dict[str, dict[str, Any]]:
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
        found.append(_figures(_native(name, prefixes), row))
    return found


def _native(name: str, prefixes: list[str]) -> str:
    for prefix in prefixes:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def _figures(native: str, row: dict[str, Any]) -> Figures:
    surfaces = serves(native, SURFACES[row["mode"]])
    price, tiers = _prices(row, surfaces)
    inputs = ("text", *words((word, row.get(flag)) for word, flag in INPUTS))
    return Figures(
        id=native,
        source="litellm",
        serves=surfaces,
        price=price,
        tiers=useful(tiers, price),
        context=_count(row.get("max_input_tokens")),
        max_output=_count(row.get("max_output_tokens")) if "chat" in surfaces else None,
        inputs=inputs,
        outputs=(
            *words(
                [
                    ("text", "chat" in surfaces),
                    ("image", "image" in surfaces),
                    ("audio", row.get("supports_audio_output")),
                ]
            ),
        ),
        features=words((word, row.get(flag)) for word, flag in FEATURES),
    )


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and value > 0 else None


def _prices(row: dict[str, Any], surfaces: tuple[Surface, ...]) -> tuple[Listed, dict[str, Listed]]:
    price: Listed = {}
    tiers: dict[str, Listed] = {}
    for field, cost in row.items():
        match = TIER.fullmatch(field)
        known = COSTS.get(field) or (COSTS.get(match["field"]) if match else None)
        if known is None or not isinstance(cost, int | float):
            continue
        where = price
        if field not in COSTS and match:
            above = f">{int(match['above']) * 1000}" if match["above"] else ""
            where = tiers.setdefault((match["service"] or "") + above, {})
        where.setdefault(known[0], pico(cost, known[1]))
    _by_range(row.get("tiered_pricing") or [], price, tiers)
    if "image" in surfaces and not price.get("image_output") and not price.get("output"):
        per_pixel, per_image = (
            row.get("output_cost_per_pixel"),
            row.get("output_cost_per_image", row.get("input_cost_per_image")),
        )
        if per_pixel:
            return {"pixels": pico(per_pixel, 1)}, {}
        return ({"images": pico(per_image, 1)} if per_image else price), {}
    return price, tiers


def _by_range(ranges: list[dict[str, Any]], price: Listed, tiers: dict[str, Listed]) -> None:
    """Alibaba's form: a list of prices, each for a range of prompt tokens."""
    for one in ranges:
        if "range" not in one:
            continue
        start = int(one["range"][0])
        where = tiers.setdefault(f">{start}", {}) if start else price
        for field, cost in one.items():
            if field in COSTS:
                where[COSTS[field][0]] = pico(cost, COSTS[field][1])
