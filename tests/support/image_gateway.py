"""A gateway with the providers that make images, each under its own row and played by the simulator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.running_gateway import RunningGateway, run_gateway

PER_IMAGE = {"images": "0.04"}
IMAGE_PROVIDER_ROWS: dict[str, dict[str, Any]] = {
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

IMAGE_PROVIDERS = {
    name: {**row, "priority": number}
    for number, (name, row) in enumerate(IMAGE_PROVIDER_ROWS.items(), 1)
}
"""In this order of preference."""


def image_model(
    *rows: tuple[str, str, dict[str, str]], model: str = "test/picture"
) -> dict[str, Any]:
    """A model of images with an offer at each (provider, upstream id, price), in this order of preference."""
    offers = [
        {"provider": provider, "upstream_id": upstream, "price": price, "serves": ["image"]}
        for provider, upstream, price in rows
    ]
    return {"id": model, "offers": offers, "known_offers": False}


@asynccontextmanager
async def run_image_gateway(tmp_path: Path, **own: Any) -> AsyncIterator[RunningGateway]:
    async with run_gateway(tmp_path, providers=(), more=IMAGE_PROVIDERS, **own) as one:
        yield one
