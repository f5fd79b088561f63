"""A gateway of several processes over a real database, and clients that load it."""

import asyncio
import json
import secrets
import signal
import time
from contextlib import asynccontextmanager

import aiohttp
import openai
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select

from gatewayz.core.clock import SystemClock
from gatewayz.core.keys import RANDOM_BYTES, key_from
from gatewayz.simulator.server import Simulator
from gatewayz.store.sql.checking import violations
from gatewayz.store.sql.database import Database
from gatewayz.store.sql.tables import CALLS, TRANSFERS
from tests.support.databases import url_of
from tests.support.served import Served

KEY = key_from(secrets.token_bytes(RANDOM_BYTES))
PRICE = {"input": "1.00", "output": "2.00"}
WIDE = {
    "key_rpm": 10_000_000,
    "account_rpm": 10_000_000,
    "system_rpm": 100_000_000,
    "burst": 1_000_000,
    "key_per_day": 100_000_000,
    "key_concurrency": 20_000,
    "account_concurrency": 20_000,
    "page_rpm": 10_000_000,
}
SCENES = ("echo", "slow", "hello", "fault-hang-2")
ASK = [{"role": "user", "content": "Hello"}]


class Gateway:
    """A gateway with workers, its upstream and its database."""

    def __init__(self, served, upstream, location):
        self.served = served
        self.upstream = upstream
        self.location = location
        self.url = f"http://127.0.0.1:{served.port}"

    def client(self, **more):
        return openai.AsyncOpenAI(
            **({"base_url": f"{self.url}/v1", "api_key": KEY, "max_retries": 0} | more)
        )

    async def page(self, path):
        """A page over a connection of its own, so that any worker may answer."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url + path, headers={"Authorization": f"Bearer {KEY}"}) as answer,
        ):
            assert answer.status == 200 or path != "/metrics", await answer.text()
            return await answer.text()

    async def metrics(self):
        families = text_string_to_metric_families(await self.page("/metrics"))
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    async def counted(self):
        return sum(
            value
            for (name, *_), value in (await self.metrics()).items()
            if name == "gatewayz_calls_total"
        )

    async def until(self, true, wait_s=30.0):
        end = time.monotonic() + wait_s
        while not await true():
            assert time.monotonic() < end, self.served.said + self.served.log
            await asyncio.sleep(0.05)

    async def all_up(self, count):
        async def up():
            try:
                seen = await self.metrics()
            except (aiohttp.ClientError, OSError):
                return False
            return (
                sum(value for (name, *_), value in seen.items() if name == "gatewayz_worker_up")
                == count
            )

        await self.until(up)

    async def booked(self):
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
        return [json.loads(line) for line in self.served.log.splitlines()]


@asynccontextmanager
async def gateway(place, location, workers, **web):
    async with Simulator() as upstream:
        settings = {
            "web": {"workers": workers, **web},
            "database": {"url": url_of(location)},
            "limits": WIDE,
            "providers": {
                "own": {
                    "dialect": "openai_chat",
                    "base_url": f"{upstream.url}/own/v1",
                    "key": "sk-own",
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
        served = Served(place, env={"GATEWAYZ_BOOTSTRAP_KEY": KEY})
        here = Gateway(served, upstream, location)
        try:
            await asyncio.to_thread(served.until, "asked:")
            await here.all_up(workers)
            yield here
        finally:
            if served.process.poll() is None:
                served.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(served.process.wait, 30)
            finally:
                served.process.kill()


async def load(here, clients, each, **more):
    """Many clients, each with connections of its own, half of the calls streamed. The faults they saw."""
    faults = []

    async def one(number):
        async with here.client(**more) as client:
            for turn in range(each):
                try:
                    if (number + turn) % 2:
                        reply = await client.chat.completions.create(
                            model="test/echo", messages=ASK
                        )
                        assert reply.choices[0].message.content == "Hello"
                        continue
                    stream = await client.chat.completions.create(
                        model="test/echo", messages=ASK, stream=True
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

    await asyncio.gather(*(one(number) for number in range(clients)))
    return faults
