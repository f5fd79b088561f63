"""The assembled gateway on real sockets, beside a simulator that plays its providers."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai

from gatewayz.assemble import Assembly, assemble
from gatewayz.core.keys import RANDOM_BYTES, key_from_random
from gatewayz.observe.worker_group import WorkerGroup
from gatewayz.routing.rules import Deadlines
from gatewayz.settings import load_settings
from gatewayz.simulator.server import Simulator
from gatewayz.web.listener import bind_socket

BASE_PATHS = {"openai_chat": "/v1", "gemini": "/v1beta", "anthropic_messages": ""}
"""Where each dialect's paths begin."""
PRICE = {"input": "1.00", "output": "2.00", "cache_read": "0.50"}


CONNECT = {"connect_s": 60.0, "tls_s": 60.0}
"""Deadlines of a machine so busy that its own sockets are slow to connect."""
PATIENT = Deadlines(**CONNECT)

WAIT_S = 60
"""For what takes a moment on a machine that has nothing else to do: a test fails then, it does not hang."""


async def wait_until(is_true: Callable[[], object], wait_s: float = WAIT_S) -> None:
    """Waits for what happens by itself."""
    async with asyncio.timeout(wait_s):
        while not is_true():
            await asyncio.sleep(0.005)


class RunningGateway:
    """A running gateway: `client()` is the official SDK pointed at it.

    `model` and `dialect` are for a fixture that says what its tests are about.
    """

    model: str
    dialect: str

    def __init__(self, built: Assembly, upstream: Simulator, url: str, key: str) -> None:
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

    def anthropic_client(self, **options: Any) -> anthropic.AsyncAnthropic:
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

    async def refresh_keys(self) -> None:
        """What was changed in the store is known now: by itself the gateway looks about once a second."""
        keys: Any = self.built.gateway._authenticator._keys
        await keys.poll()

    async def wait_until_idle(self) -> None:
        """Waits until nothing is under way any more, here and upstream."""
        await wait_until(lambda: not self._is_busy())

    def _is_busy(self) -> bool:
        running = self.built.app.inference.running or self.upstream.open_streams
        return bool(running or self.built.books.open)


def model_with_offers(
    *rows: tuple[str, str], model: str = "test/model", **more: Any
) -> dict[str, Any]:
    """A model with an offer at each (provider, upstream id)."""
    listed = [
        {"provider": provider, "upstream_id": upstream, "price": PRICE, **more}
        for provider, upstream in rows
    ]
    return {"id": model, "offers": listed}


def _with_simulator_url(url: str, value: Any) -> Any:
    """Settings in which `SIM` stands for where the simulator is."""
    if isinstance(value, dict):
        return {name: _with_simulator_url(url, inner) for name, inner in value.items()}
    return value.replace("SIM", url) if isinstance(value, str) else value


def _provider_row(dialect: str, url: str) -> dict[str, Any]:
    """How a provider of this dialect is reached."""
    auth = {"auth": "x_api_key"} if dialect == "anthropic_messages" else {}
    return {"dialect": dialect, "base_url": url + BASE_PATHS[dialect], **auth}


@asynccontextmanager
async def run_gateway(
    tmp_path: Path,
    *,
    providers: tuple[str, ...] = ("first", "second", "third"),
    quirks: dict[str, Any] | None = None,
    keys: list[dict[str, Any]] | None = None,
    more: dict[str, Any] | None = None,
    dialect: str = "openai_chat",
    dialects: dict[str, str] | None = None,
    group: WorkerGroup | None = None,
    **more_settings: Any,
) -> AsyncIterator[RunningGateway]:
    """A gateway whose own providers are all played by one simulator, in the order given, and `more` under their rows.

    `dialects` says who speaks something else than `dialect`.
    """
    key = key_from_random(secrets.token_bytes(RANDOM_BYTES))
    async with Simulator() as upstream:
        rows = {
            name: {
                **_provider_row((dialects or {}).get(name, dialect), f"{upstream.url}/{name}"),
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
            # A test that is about the package's own rows says so; reading them takes longer than most tests.
            "catalog": {"seed": False, "sync_every_s": 0},
            "limits": {
                "key_rpm": 10_000_000,
                "account_rpm": 10_000_000,
                "system_rpm": 100_000_000,
                "burst": 1_000_000,
                "key_per_day": 100_000_000,
                "key_concurrency": 20_000,
                "account_concurrency": 20_000,
            },
            **more_settings,
        }
        given["routing"] = {**given.get("routing", {})}
        given["routing"]["deadlines"] = CONNECT | given["routing"].get("deadlines", {})
        given["providers"] = rows | _with_simulator_url(upstream.url, more or {})
        async with assemble(load_settings("", given), group) as built:
            listening = bind_socket("127.0.0.1", 0)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            serving = asyncio.get_running_loop().create_task(
                built.server.serve(sockets=[listening])
            )
            await built.server.listening.wait()
            gateway = RunningGateway(built, upstream, url, key)
            try:
                yield gateway
            finally:
                # Of a test that fails, too: what it leaves open would fail one that comes later.
                for client in gateway.clients:
                    await client.close()
                await _stop(gateway, serving)


async def _stop(gateway: RunningGateway, serving: asyncio.Task[None]) -> None:
    """As a signal would; where nothing runs, without uvicorn's two waits of a tenth of a second."""
    server = gateway.built.server
    if gateway.built.app.inference.running:
        server.should_exit = True
        await serving
        return
    for listener in server.servers:
        listener.close()
    for connection in list(server.server_state.connections):
        connection.transport.close()
    serving.cancel()
    await asyncio.wait([serving])
