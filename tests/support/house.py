"""The assembled gateway on real sockets, beside a simulator that plays its providers."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai

from gatewayz.assemble import Built, assembled
from gatewayz.core.keys import RANDOM_BYTES, key_from
from gatewayz.settings import loaded
from gatewayz.simulator.server import Simulator
from gatewayz.web.listening import bound

BASES = {"openai_chat": "/v1", "gemini": "/v1beta", "anthropic_messages": ""}
"""Where each dialect's paths begin."""
PRICE = {"input": "1.00", "output": "2.00", "cache_read": "0.50"}


class House:
    """A running gateway: `client()` is the official SDK pointed at it."""

    def __init__(self, built: Built, upstream: Simulator, url: str, key: str) -> None:
        self.built = built
        self.upstream = upstream
        self.url = url
        self.key = key
        self.clients: list[openai.AsyncOpenAI | anthropic.AsyncAnthropic] = []

    def client(self, **options: Any) -> openai.AsyncOpenAI:
        given = {"base_url": f"{self.url}/v1", "api_key": self.key, "max_retries": 0, **options}
        client = openai.AsyncOpenAI(**given)
        self.clients.append(client)
        return client

    def claude(self, **options: Any) -> anthropic.AsyncAnthropic:
        """The official Anthropic SDK pointed at it."""
        client = anthropic.AsyncAnthropic(
            **{"base_url": self.url, "api_key": self.key, "max_retries": 0, **options}
        )
        self.clients.append(client)
        return client

    @property
    def last(self) -> Any:
        """The outcome of the last call that was booked."""
        return self.built.books.records[-1].outcome

    @property
    def sent(self) -> dict[str, Any]:
        """What the upstream was last asked."""
        return self.upstream.requests[-1].content

    async def settled(self) -> None:
        """Waits until nothing is under way any more, here and upstream."""
        for _ in range(500):
            running = self.built.app.inference.running
            if not running and not self.upstream.open_streams and not self.built.books.open:
                return
            await asyncio.sleep(0.01)
        message = (
            f"still running: {len(running)} calls, {self.upstream.open_streams} streams upstream"
        )
        raise AssertionError(message)


def offers(*rows: tuple[str, str], model: str = "test/model", **more: Any) -> dict[str, Any]:
    """A model with an offer at each (provider, upstream id)."""
    listed = [
        {"provider": provider, "upstream_id": upstream, "price": PRICE, **more}
        for provider, upstream in rows
    ]
    return {"id": model, "aliases": ["alias"], "offers": listed}


def _at(url: str, value: Any) -> Any:
    """Settings in which `SIM` stands for where the simulator is."""
    if isinstance(value, dict):
        return {name: _at(url, inner) for name, inner in value.items()}
    return value.replace("SIM", url) if isinstance(value, str) else value


def _spoken(dialect: str, url: str) -> dict[str, Any]:
    """How a provider of this dialect is reached."""
    auth = {"auth": "x_api_key"} if dialect == "anthropic_messages" else {}
    return {"dialect": dialect, "base_url": url + BASES[dialect], **auth}


@asynccontextmanager
async def house(
    tmp_path: Path,
    *,
    providers: tuple[str, ...] = ("first", "second", "third"),
    quirks: dict[str, Any] | None = None,
    keys: list[dict[str, Any]] | None = None,
    more: dict[str, Any] | None = None,
    dialect: str = "openai_chat",
    dialects: dict[str, str] | None = None,
    **own: Any,
) -> AsyncIterator[House]:
    """A gateway whose own providers are all played by one simulator, in the order given, and `more` under their rows.

    `dialects` says who speaks something else than `dialect`.
    """
    key = key_from(secrets.token_bytes(RANDOM_BYTES))
    async with Simulator() as upstream:
        rows = {
            name: {
                **_spoken((dialects or {}).get(name, dialect), f"{upstream.url}/{name}"),
                "priority": number,
                "key": f"sk-{name}-canary",
                "quirks": {"cancel_stops_billing": True, **(quirks or {})},
                **({"credentials": keys} if keys else {}),
            }
            for number, name in enumerate(providers, 1)
        }
        given = {
            "data_dir": str(tmp_path / "data"),
            "database": {"url": "memory:"},
            "observe": {"log": str(tmp_path / "log.jsonl")},
            "bootstrap_key": key,
            "limits": {
                "key_rpm": 10_000_000,
                "account_rpm": 10_000_000,
                "system_rpm": 100_000_000,
                "burst": 1_000_000,
                "key_per_day": 100_000_000,
                "key_concurrency": 20_000,
                "account_concurrency": 20_000,
            },
            **own,
        }
        given["providers"] = rows | _at(upstream.url, more or {})
        async with assembled(loaded("", given)) as built:
            listening = bound("127.0.0.1", 0)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            serving = asyncio.get_running_loop().create_task(
                built.server.serve(sockets=[listening])
            )
            await built.server.listening.wait()
            here = House(built, upstream, url, key)
            yield here
            for client in here.clients:
                await client.close()
            built.server.should_exit = True
            await serving
