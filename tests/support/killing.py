"""The real gateway, killed again and again under clients with the official SDK; afterwards three books are compared:
the ledger's, the simulator's invoice, and what the clients saw.
"""

import asyncio
import json
import os
import random
import signal
import socket
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import openai
import yaml

from gatewayz.simulator.oracle import Invoice
from gatewayz.simulator.server import Simulator
from gatewayz.store.sql.database import Location
from tests.support.databases import url_of

READY_S = 120.0
"""Of a machine that does much else as well."""
CLIENTS = 12
SETTLED_S = 2.0
PRICE = {"input": "10.00", "output": "30.00"}
PICO = {"input": 10_000_000, "output": 30_000_000}
MODELS = {"kill/fast": "echo", "kill/long": "long", "kill/slow": "slow"}
"""The model → the simulator's scene. Clients that leave ask the slow one, so that there is a middle to leave in."""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@dataclass
class Seen:
    """What a client knows of one of its calls. `ended`: the marker of a stream, or a whole body, arrived; `left_at`: when
    it went away by itself in the middle of an answer.
    """

    text: str
    call: str = ""
    ended: bool = False
    left_at: float | None = None
    usage: tuple[int, int] | None = None
    streamed: bool = False


@dataclass
class Killing:
    """One run: a simulator that goes on, a gateway that does not, and clients that try again."""

    folder: Path
    location: Location
    key: str
    command: tuple[str, ...] = ("-m", "gatewayz", "serve")
    seed: int = 1
    leaving: float = 0.1
    quiet_s: float = 0.0
    seen: list[Seen] = field(default_factory=list)
    killed_at: list[float] = field(default_factory=list)
    over: bool = False

    async def run(self, kills: int, least_s: float = 0.05, most_s: float = 0.5) -> None:
        """Kills the gateway so many times, each at a random moment after it is ready, then lets it end in peace."""
        dice = random.Random(self.seed)
        self.port = free_port()
        clients: list[asyncio.Task] = []
        async with Simulator() as upstream:
            self.upstream = upstream
            self._config(upstream.url)
            gateway = await self._serving()
            try:
                clients = [asyncio.create_task(self._client(number)) for number in range(CLIENTS)]
                for _ in range(kills):
                    await asyncio.sleep(dice.uniform(least_s, most_s))
                    gateway.send_signal(signal.SIGKILL)
                    await gateway.wait()
                    self.killed_at.append(time.monotonic())
                    gateway = await self._serving()
                await asyncio.sleep(self.quiet_s)
                self.over = True
                await asyncio.wait_for(asyncio.gather(*clients), 30)
                gateway.terminate()
                assert await asyncio.wait_for(gateway.wait(), 30) == 0
            finally:
                self.over = True
                for client in clients:
                    client.cancel()
                if gateway.returncode is None:
                    gateway.kill()
                    await gateway.wait()

    def left_alone(self, one: Seen) -> bool:
        """Whether the client went away and the gateway lived on long enough to settle what it had delivered."""
        return one.left_at is not None and not any(
            one.left_at - 1 < at < one.left_at + SETTLED_S for at in self.killed_at
        )

    def billed(self) -> dict[str, Invoice]:
        """What the simulator would bill for each text that a client sent."""
        texts = (asked.content["messages"][-1]["content"] for asked in self.upstream.requests)
        return dict(zip(texts, self.upstream.invoices, strict=True))

    def _config(self, upstream: str) -> None:
        given = {
            "data_dir": str(self.folder),
            "database": {"url": url_of(self.location)},
            "observe": {"log": "off"},
            "web": {"port": self.port, "grace_s": 10},
            "providers": {"upstream": {"dialect": "openai_chat", "base_url": f"{upstream}/v1"}},
            "limits": {
                "key_rpm": 10_000_000,
                "account_rpm": 10_000_000,
                "system_rpm": 100_000_000,
                "burst": 1_000_000,
                "key_per_day": 100_000_000,
                "key_concurrency": 20_000,
                "account_concurrency": 20_000,
            },
            "models": [
                {
                    "id": model,
                    "offers": [{"provider": "upstream", "upstream_id": scene, "price": PRICE}],
                }
                for model, scene in MODELS.items()
            ],
        }
        (self.folder / "kill.yaml").write_text(yaml.safe_dump(given))

    async def _started(self, *command: str) -> asyncio.subprocess.Process:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        with (self.folder / "output.txt").open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=environment,
            )

    async def _serving(self) -> asyncio.subprocess.Process:
        gateway = await self._started(*self.command, "--config", str(self.folder / "kill.yaml"))
        await _ready(f"http://127.0.0.1:{self.port}/health/ready", gateway)
        return gateway

    async def _client(self, number: int) -> None:
        dice = random.Random(self.seed * 1_000 + number)
        client = openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{self.port}/v1", api_key=self.key, max_retries=0, timeout=20
        )
        async with client:
            turn = 0
            while not self.over:
                turn += 1
                one = Seen(
                    f"client {number} turn {turn} " + "word " * dice.randrange(1, 40),
                    streamed=dice.random() < 0.5,
                )
                self.seen.append(one)
                with suppress(openai.APIError, httpx2.HTTPError):
                    await self._ask(client, one, dice)
                if not one.ended:
                    await asyncio.sleep(0.1)

    async def _ask(self, client: openai.AsyncOpenAI, one: Seen, dice: random.Random) -> None:
        leaves = one.streamed and dice.random() < self.leaving
        model = "kill/slow" if leaves else dice.choice(("kill/fast", "kill/long"))
        asked = {"model": model, "messages": [{"role": "user", "content": one.text}]}
        if not one.streamed:
            reply = await client.chat.completions.create(**asked)
            one.call, one.ended = reply.id.removeprefix("chatcmpl-"), True
            one.usage = (reply.usage.prompt_tokens, reply.usage.completion_tokens)
            return
        streaming = client.chat.completions.with_streaming_response.create(
            **asked, stream=True, stream_options={"include_usage": True}
        )
        async with streaming as raw:
            one.call = raw.headers["x-request-id"]
            # The marker itself, as it stands on the wire: an SDK takes a cut stream for a whole one.
            async for line in raw.iter_lines():
                if leaves and '"content":' in line:
                    one.left_at = time.monotonic()
                    return
                if line == "data: [DONE]":
                    one.ended = True
                elif '"usage":{' in line:
                    usage = json.loads(line[6:])["usage"]
                    one.usage = (usage["prompt_tokens"], usage["completion_tokens"])


async def _ready(url: str, process: asyncio.subprocess.Process | None = None) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        if process is not None and process.returncode is not None:
            message = f"the gateway ended with {process.returncode}"
            raise AssertionError(message)
        try:
            await asyncio.to_thread(urllib.request.urlopen, url, None, 1)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            return
    message = f"{url} did not answer"
    raise AssertionError(message)
