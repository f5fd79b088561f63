"""A gateway of several processes over a real database, and clients that load it."""

import asyncio
import json
import secrets
import signal
import time
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import openai
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select

from gatewayz.core.clock import SystemClock
from gatewayz.core.keys import RANDOM_BYTES, key_from_random
from gatewayz.simulator.server import Simulator
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.ledger.reconcile import violations
from gatewayz.store.sql.tables import CALLS, TRANSFERS
from tests.support.databases import url_of
from tests.support.gateway_process import WAIT_S, GatewayProcess

KEY = key_from_random(secrets.token_bytes(RANDOM_BYTES))
PRICE = {"input": "1.00", "output": "2.00"}
WIDE_LIMITS = {
    "key_rpm": 10_000_000,
    "account_rpm": 10_000_000,
    "system_rpm": 100_000_000,
    "burst": 1_000_000,
    "key_per_day": 100_000_000,
    "key_concurrency": 20_000,
    "account_concurrency": 20_000,
    "api_rpm": 10_000_000,
}
SCENES = ("echo", "slow", "hello", "fault-hang-2")
MESSAGES = [{"role": "user", "content": "Hello"}]


class WorkerGroup:
    """A gateway with workers, its upstream and its database."""

    def __init__(self, gateway_process, upstream, location):
        self.gateway_process = gateway_process
        self.upstream = upstream
        self.location = location
        self.url = f"http://127.0.0.1:{gateway_process.port}"

    def client(self, **overrides):
        options: dict[str, Any] = {"api_key": KEY, "max_retries": 0, **overrides}
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", **options)

    async def get_text(self, path):
        """A page over a connection of its own, so that any worker may answer."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url + path, headers={"Authorization": f"Bearer {KEY}"}) as answer,
        ):
            assert answer.status == 200 or path != "/metrics", await answer.text()
            return await answer.text()

    async def metrics(self):
        families = text_string_to_metric_families(await self.get_text("/metrics"))
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    async def calls_total(self):
        return sum(
            value
            for (name, *_), value in (await self.metrics()).items()
            if name == "gatewayz_calls_total"
        )

    async def wait_until(self, true, wait_s=WAIT_S):
        end = time.monotonic() + wait_s
        while not await true():
            assert time.monotonic() < end, self.gateway_process.stderr + self.gateway_process.log
            await asyncio.sleep(0.05)

    async def wait_for_workers(self, count):
        async def are_up():
            try:
                seen = await self.metrics()
            except (aiohttp.ClientError, OSError):
                return False
            return (
                sum(value for (name, *_), value in seen.items() if name == "gatewayz_worker_up")
                == count
            )

        await self.wait_until(are_up)

    async def book_totals(self):
        """The calls in the books and how many usage transfers they have; every check of the books has passed."""
        database = Database(self.location)
        try:
            assert await violations(database, SystemClock().wall_ms()) == []
            async with database.begin(reading=True) as connection:
                calls = (
                    await connection.execute(select(func.count()).select_from(CALLS))
                ).scalar_one()
                usage = (
                    select(func.count()).select_from(TRANSFERS).where(TRANSFERS.c.kind == "usage")
                )
                most = (
                    select(func.count())
                    .where(TRANSFERS.c.kind == "usage")
                    .group_by(TRANSFERS.c.call_id)
                )
                per_call = [count for (count,) in (await connection.execute(most)).all()]
                return (
                    calls,
                    (await connection.execute(usage)).scalar_one(),
                    max(per_call, default=0),
                )
        finally:
            await database.close()

    def log(self):
        return [json.loads(line) for line in self.gateway_process.log.splitlines()]


@asynccontextmanager
async def run_worker_group(place, location, workers, **web):
    async with Simulator() as upstream:
        settings = {
            "web": {"workers": workers, **web},
            "database": {"url": url_of(location)},
            "limits": WIDE_LIMITS,
            "catalog": {"seed": False},
            "providers": {
                "own": {
                    "dialect": "openai_chat",
                    "base_url": f"{upstream.url}/own/v1",
                    "key": "sk-own",
                    # A call whose client has left is over at once, not after the rest of a drain.
                    "quirks": {"cancel_stops_billing": True},
                }
            },
            "models": [
                {
                    "id": f"test/{scene}",
                    "offers": [{"provider": "own", "upstream_id": scene, "price": PRICE}],
                }
                for scene in SCENES
            ],
        }
        place.mkdir(exist_ok=True)
        (place / "gatewayz.yaml").write_text(yaml.safe_dump(settings))
        server = GatewayProcess(place, env={"GATEWAYZ_BOOTSTRAP_KEY": KEY})
        group = WorkerGroup(server, upstream, location)
        try:
            await asyncio.to_thread(server.wait_for, "asked:")
            await group.wait_for_workers(workers)
            yield group
        finally:
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(server.process.wait, WAIT_S)
            finally:
                server.process.kill()


async def run_load(group, clients, each, **overrides):
    """Many clients, each with connections of its own, half of the calls streamed. The faults they saw."""
    faults = []

    async def run_client(number):
        async with group.client(**overrides) as client:
            for turn in range(each):
                try:
                    if (number + turn) % 2:
                        reply = await client.chat.completions.create(
                            model="test/echo", messages=MESSAGES
                        )
                        assert reply.choices[0].message.content == "Hello"
                        continue
                    stream = await client.chat.completions.create(
                        model="test/echo", messages=MESSAGES, stream=True
                    )
                    assert (
                        "".join(
                            [
                                chunk.choices[0].delta.content or ""
                                async for chunk in stream
                                if chunk.choices
                            ]
                        )
                        == "Hello"
                    )
                except openai.APIError as fault:
                    faults.append(fault)

    await asyncio.gather(*(run_client(number) for number in range(clients)))
    return faults
