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
from typing import Any

import httpx2
import openai
import yaml

from gatewayz.simulator.recorder import Invoice
from gatewayz.simulator.server import Simulator
from gatewayz.store.sql.database import Location
from tests.support.databases import url_of

READY_S = 120.0
"""Of a machine that does much else as well."""
CLIENTS = 8
MIN_ANSWERS = 5
SERVING_SHARE = 0.8
"""Of the lives of the gateway: they answer so many calls before they end; the others end when it may be."""
SETTLE_S = 10.0
"""Of a machine that does much else as well; a call that was left shortly before a kill proves nothing."""
PRICE = {"input": "10.00", "output": "30.00"}
PICO = {"input": 10_000_000, "output": 30_000_000}
MODELS = {
    "kill/fast": "echo",
    "kill/long": "long",
    "kill/slow": "slow",
    "kill/story": "story",
    "kill/unseen": "hello",
}
"""The model → the simulator's scene. Clients that leave ask the slow one, so that there is a middle to leave in; the hold of a
story grows with it, and that of an unseen answer is a share of what is free.
"""
SHOWN = {"shown_by_model": {"^(echo|long|slow|story)": "always"}}
STORY_SHARE = 0.05


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@dataclass
class ObservedCall:
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
class KillRun:
    """One run: a simulator that goes on, a gateway that does not, and clients that try again."""

    folder: Path
    location: Location
    key: str
    command: tuple[str, ...] = ("-m", "gatewayz", "serve")
    seed: int = 1
    abort_share: float = 0.1
    quiet_s: float = 0.0
    calls: list[ObservedCall] = field(default_factory=list)
    killed_at: list[float] = field(default_factory=list)
    stopping: bool = False

    async def run(self, kills: int, least_s: float = 0.05, most_s: float = 0.5) -> None:
        """Kills the gateway so many times, each at a random moment after it is ready, then lets it end in peace."""
        rng = random.Random(self.seed)
        self.port = free_port()
        clients: list[asyncio.Task] = []
        async with Simulator() as upstream:
            self.upstream = upstream
            self._write_config(upstream.url)
            gateway = await self._start_gateway()
            try:
                clients = [
                    asyncio.create_task(self._run_client(number)) for number in range(CLIENTS)
                ]
                for _ in range(kills):
                    if rng.random() < SERVING_SHARE:
                        await self._wait_for_answers()
                    await asyncio.sleep(rng.uniform(least_s, most_s))
                    gateway.send_signal(signal.SIGKILL)
                    await gateway.wait()
                    self.killed_at.append(time.monotonic())
                    gateway = await self._start_gateway()
                await asyncio.sleep(self.quiet_s)
                self.stopping = True
                await asyncio.wait_for(asyncio.gather(*clients), READY_S)
                gateway.terminate()
                assert await asyncio.wait_for(gateway.wait(), READY_S) == 0
            finally:
                self.stopping = True
                for client in clients:
                    client.cancel()
                if gateway.returncode is None:
                    gateway.kill()
                    await gateway.wait()

    async def _wait_for_answers(self) -> None:
        """Until this life of the gateway has answered some calls, however slow the machine is."""
        before = sum(one.ended for one in self.calls)
        async with asyncio.timeout(READY_S):
            while sum(one.ended for one in self.calls) < before + MIN_ANSWERS:
                await asyncio.sleep(0.01)

    def has_time_to_settle(self, one: ObservedCall) -> bool:
        """Whether the client went away and the gateway lived on long enough to settle what it had delivered."""
        return one.left_at is not None and not any(
            one.left_at - 1 < at < one.left_at + SETTLE_S for at in self.killed_at
        )

    def invoices_by_text(self) -> dict[str, Invoice]:
        """What the simulator would bill for each text that a client sent."""
        texts = (fields.content["messages"][-1]["content"] for fields in self.upstream.requests)
        return dict(zip(texts, self.upstream.invoices, strict=True))

    def _write_config(self, upstream: str) -> None:
        settings = {
            "data_dir": str(self.folder),
            "database": {"url": url_of(self.location)},
            "observe": {"log": "off"},
            "catalog": {"seed": False},
            "web": {"port": self.port, "grace_s": 10},
            "providers": {
                "upstream": {
                    "dialect": "openai_chat",
                    "base_url": f"{upstream}/v1",
                    "quirks": SHOWN,
                }
            },
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
        (self.folder / "kill.yaml").write_text(yaml.safe_dump(settings))

    async def _start_process(self, *command: str) -> asyncio.subprocess.Process:
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

    async def _start_gateway(self) -> asyncio.subprocess.Process:
        gateway = await self._start_process(
            *self.command, "--config", str(self.folder / "kill.yaml")
        )
        await _wait_until_ready(f"http://127.0.0.1:{self.port}/health/ready", gateway)
        return gateway

    async def _run_client(self, number: int) -> None:
        rng = random.Random(self.seed * 1_000 + number)
        client = openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{self.port}/v1", api_key=self.key, max_retries=0, timeout=20
        )
        async with client:
            turn = 0
            while not self.stopping:
                turn += 1
                one = ObservedCall(
                    f"client {number} turn {turn} " + "word " * rng.randrange(1, 40),
                    streamed=rng.random() < 0.5,
                )
                self.calls.append(one)
                with suppress(openai.APIError, httpx2.HTTPError):
                    await self._send_call(client, one, rng)
                if not one.ended:
                    await asyncio.sleep(0.1)

    async def _send_call(
        self, client: openai.AsyncOpenAI, one: ObservedCall, rng: random.Random
    ) -> None:
        leaves = one.streamed and rng.random() < self.abort_share
        model = rng.choice(("kill/fast", "kill/long", "kill/unseen"))
        if one.streamed and rng.random() < STORY_SHARE:
            model = "kill/story"
        model = "kill/slow" if leaves else model
        fields: Any = {"model": model, "messages": [{"role": "user", "content": one.text}]}
        if not one.streamed:
            reply = await client.chat.completions.create(**fields)
            one.call, one.ended = reply.id.removeprefix("chatcmpl-"), True
            one.usage = (reply.usage.prompt_tokens, reply.usage.completion_tokens)
            return
        streaming = client.chat.completions.with_streaming_response.create(
            **fields, stream=True, stream_options={"include_usage": True}
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


async def _wait_until_ready(url: str, process: asyncio.subprocess.Process | None = None) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        if process is not None and process.returncode is not None:
            message = f"the gateway ended with {process.returncode}"
            raise AssertionError(message)
        try:
            await asyncio.to_thread(urllib.request.urlopen, url, None, 1)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            return
    message = f"{url} did not answer"
    raise AssertionError(message)
