"""A gateway with the providers that make images, each under its own row and played by the simulator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.house import House, house

PER_IMAGE = {"images": "0.04"}
ROWS = {
    "deepinfra": {"base_url": "SIM/deepinfra/v1/openai", "key": "k-deepinfra"},
    "openai": {"base_url": "SIM/openai/v1", "key": "k-openai"},
    "together": {"base_url": "SIM/together/v1", "key": "k-together"},
    "fal": {
        "base_url": "SIM/fal",
        "key": "k-fal",
        "quirks": {"queue_url": "SIM/fal-queue", "direct_models": "direct|schnell"},
    },
    "google-ai-studio": {"base_url": "SIM/gemini/v1beta", "key": "k-gemini"},
    "vertex": {
        "base_url": "SIM/vertex/v1/projects/p/locations/l",
        "key": "k-vertex",
        "dialect": "vertex_predict",
    },
}

MAKERS = {name: {**row, "priority": number} for number, (name, row) in enumerate(ROWS.items(), 1)}
"""In this order of preference."""


def made_by(*rows: tuple[str, str, dict[str, str]], model: str = "test/picture") -> dict[str, Any]:
    """A model of images with an offer at each (provider, upstream id, price), in this order of preference."""
    offers = [
        {"provider": provider, "upstream_id": upstream, "price": price, "serves": ["image"]}
        for provider, upstream, price in rows
    ]
    return {"id": model, "offers": offers, "known_offers": False}


@asynccontextmanager
async def gallery(tmp_path: Path, **own: Any) -> AsyncIterator[House]:
    async with house(tmp_path, providers=(), more=MAKERS, **own) as one:
        yield one
