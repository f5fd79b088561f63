"""CPU of `GET /v1/models` from memory, with 5,000 models: `python -m bench.models_page`."""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from gatewayz.assemble import assemble
from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.keys import RANDOM_BYTES, key_from_random
from gatewayz.core.money import Price, price_from_pico, rates_from_usd
from gatewayz.settings import load_settings

MODELS, ROUNDS = 5_000, 500
QUERIES = (
    "",
    "q=model-49",
    "supported_parameters=tools&limit=100",
    "provider=simulator&offset=4900",
    "free=true",
)


def sample_models() -> list[Model]:
    price = price_from_pico(
        rates_from_usd({"input": "1.25", "output": "10.00", "cache_read": "0.125"})
    )
    return [
        Model(
            id=f"family-{number % 50}/model-{number}",
            name=f"Model {number}",
            offers=tuple(
                sample_offer(
                    f"family-{number % 50}/model-{number}", f"native-{number}-{copy}", price
                )
                for copy in range(2)
            ),
        )
        for number in range(MODELS)
    ]


def sample_offer(model: str, upstream_id: str, price: Price) -> Offer:
    return Offer(
        model=model,
        provider="simulator",
        upstream_id=upstream_id,
        price=price,
        context=200_000,
        max_output=64_000,
        inputs=("text", "image"),
        features=("tools", "json_schema", "reasoning"),
    )


async def measure() -> dict[str, dict[str, float]]:
    key = key_from_random(b"\1" * RANDOM_BYTES)
    limits = {
        "key_rpm": 10**9,
        "account_rpm": 10**9,
        "system_rpm": 10**9,
        "burst": 10**6,
        "key_per_day": 10**9,
        "api_rpm": 10**9,
    }
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        given = {
            "data_dir": str(Path(folder)),
            "observe": {"log": "off"},
            "database": {"url": "memory:"},
            "bootstrap_key": key,
            "limits": limits,
            "catalog": {"sync_every_s": 0},
        }
        async with assemble(load_settings("", given)) as built:
            built.catalog.replace(sample_models())
            headers = [(b"host", b"localhost"), (b"authorization", b"Bearer " + key.encode())]
            sent: list[MutableMapping[str, Any]] = []

            async def send(message: MutableMapping[str, Any]) -> None:
                sent.append(message)

            async def receive() -> dict[str, object]:
                return {"type": "http.request", "body": b"", "more_body": False}

            async def get(query: str) -> None:
                scope = {
                    "type": "http",
                    "method": "GET",
                    "path": "/v1/models",
                    "raw_path": b"/v1/models",
                    "query_string": query.encode(),
                    "headers": headers,
                    "client": ("127.0.0.1", 1),
                }
                await built.app(scope, receive, send)

            await get("")
            assert sent[0]["status"] == 200, sent
            for query, anew in [(query, anew) for query in QUERIES for anew in (False, True)]:
                took = []
                for number in range(ROUNDS):
                    sent.clear()
                    asked = f"{query}&anew={number}" if anew else query
                    started = time.thread_time()
                    await get(asked)
                    took.append((time.thread_time() - started) * 1_000)
                assert sent[0]["status"] == 200, sent
                took.sort()
                size = len(sent[1]["body"])
                at = {"p50_ms": took[ROUNDS // 2], "p99_ms": took[ROUNDS * 99 // 100]}
                found[f"{query or 'everything'}{', anew' if anew else ''}"] = {**at, "bytes": size}
    return found


if __name__ == "__main__":
    result = asyncio.run(measure())
    rounded = {
        name: {key: round(value, 3) for key, value in row.items()} for name, row in result.items()
    }
    json.dump(rounded, sys.stdout, indent=1)
    print()
