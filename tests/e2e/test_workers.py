"""Several workers on one socket: real processes, real databases, many clients of the official SDK."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import openai
import pytest
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
from tests.support.served import Served, free_port, run

KEY = key_from(secrets.token_bytes(RANDOM_BYTES))
PRICE = {"input": "1.00", "output": "2.00"}
WIDE = {"key_rpm": 10_000_000, "account_rpm": 10_000_000, "system_rpm": 100_000_000, "burst": 1_000_000, "key_per_day": 100_000_000,
        "key_concurrency": 20_000}
SCENES = ("echo", "slow", "hello")
ASK = [{"role": "user", "content": "Hello"}]


class Gateway:
    """A gateway with workers, its upstream and its database."""

    def __init__(self, served, upstream, location):
        self.served = served
        self.upstream = upstream
        self.location = location
        self.url = f"http://127.0.0.1:{served.port}"

    def client(self, **more):
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=KEY, **({"max_retries": 0} | more))

    async def page(self, path):
        """A page over a connection of its own, so that any worker may answer."""
        async with aiohttp.ClientSession() as session, session.get(self.url + path, headers={"Authorization": f"Bearer {KEY}"}) as answer:
            return await answer.text()

    async def metrics(self):
        families = text_string_to_metric_families(await self.page("/metrics"))
        return {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}

    async def counted(self):
        return sum(value for (name, *_), value in (await self.metrics()).items() if name == "gatewayz_calls_total")

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
            return sum(value for (name, *_), value in seen.items() if name == "gatewayz_worker_up") == count

        await self.until(up)

    async def booked(self):
        """The calls in the books and how many usage transfers they have; every check of the books has passed."""
        database = Database(self.location)
        try:
            assert await violations(database, SystemClock().wall_ms()) == []
            async with database.begin(reading=True) as connection:
                calls = (await connection.execute(select(func.count()).select_from(CALLS))).scalar_one()
                usage = select(func.count()).select_from(TRANSFERS).where(TRANSFERS.c.kind == "usage")
                most = select(func.count()).where(TRANSFERS.c.kind == "usage").group_by(TRANSFERS.c.call_id)
                per_call = [count for (count,) in (await connection.execute(most)).all()]
                return calls, (await connection.execute(usage)).scalar_one(), max(per_call, default=0)
        finally:
            await database.close()

    def log(self):
        return [json.loads(line) for line in self.served.log.splitlines()]


@asynccontextmanager
async def gateway(place, location, workers, **web):
    async with Simulator() as upstream:
        settings = {
            "web": {"workers": workers, **web}, "database": {"url": url_of(location)}, "limits": WIDE,
            "providers": {"own": {"dialect": "openai_chat", "base_url": f"{upstream.url}/own/v1", "key": "sk-own"}},
            "models": [{"id": f"test/{scene}", "offers": [{"provider": "own", "upstream_id": scene, "price": PRICE}]} for scene in SCENES],
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
                        reply = await client.chat.completions.create(model="test/echo", messages=ASK)
                        assert reply.choices[0].message.content == "Hello"
                        continue
                    stream = await client.chat.completions.create(model="test/echo", messages=ASK, stream=True)
                    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]) == "Hello"
                except openai.APIError as fault:
                    faults.append(fault)

    await asyncio.gather(*(one(number) for number in range(clients)))
    return faults


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_workers_share_the_calls_and_book_each_once(tmp_path, location, kind):
    workers = {"sqlite": 2, "postgresql": 3}[kind]
    async with gateway(tmp_path / "run", location, workers) as here:
        asked = await here.booked()
        assert await load(here, 40, 10) == []
        calls, usage, most = await here.booked()
        assert (calls - asked[0], usage, most) == (400, 400, 1)
        assert len(here.upstream.invoices) == 400
        assert [await here.counted() for _ in range(6)] == [401.0] * 6
        seen = {json.loads(await here.page("/health/providers"))["process"] for _ in range(40)}
        assert seen <= {f"{number + 1} of {workers}" for number in range(workers)}
        status, _ = await asyncio.to_thread(here.served.stop)
        assert status == 0
        served = [line["worker"] for line in here.log() if line["event"] == "call"]
        assert len(served) == 401
        assert set(served) == set(range(1, workers + 1))
        assert min(served.count(number) for number in set(served)) > 401 / workers / 5
        assert here.served.said.count("asked:") == 1
        assert here.served.said.count("serves http") == 1


async def test_a_worker_that_is_killed_is_replaced_while_the_others_go_on(tmp_path, location):
    async with gateway(tmp_path / "run", location, 2) as here:
        seen, over = [], asyncio.Event()

        async def watch():
            while not over.is_set():
                try:
                    seen.append(await here.counted())
                except (aiohttp.ClientError, OSError):
                    continue

        watching = asyncio.create_task(watch())
        running = asyncio.create_task(load(here, 30, 30, max_retries=5))
        await here.until(lambda: _true(here.upstream.invoices))
        victims = here.served.workers()
        os.kill(victims[0], signal.SIGKILL)
        faults = await running
        # A stream whose bytes had begun cannot be sent again by anybody; all else the SDK sent again.
        assert all(isinstance(fault, openai.APIError) and not isinstance(fault, openai.APIStatusError) for fault in faults)
        assert len(faults) < 30
        await here.all_up(2)
        over.set()
        await watching
        assert seen == sorted(seen)
        assert len(seen) > 3
        metrics = await here.metrics()
        assert metrics["gatewayz_worker_restarts_total", ("worker", "1")] == 1.0
        now = here.served.workers()
        assert victims[1] in now
        assert victims[0] not in now
        assert len(now) == 2
        before = (await here.booked())[0]
        assert await load(here, 10, 4) == []
        calls, _, most = await here.booked()
        assert (calls - before, most) == (40, 1)
        status, _ = await asyncio.to_thread(here.served.stop)
        assert status == 0
        assert [line for line in here.log() if line["event"] == "workers" and "SIGKILL" in line["message"]]


async def _true(value):
    return bool(value)


async def streams(here, stack, count):
    """Streams that have begun, over connections of their own."""
    begun = []
    for _ in range(count):
        client = await stack.enter_async_context(here.client())
        stream = await client.chat.completions.create(model="test/slow", messages=ASK, stream=True)
        first = await anext(stream)
        begun.append((stream, first))
    return begun


async def rest(stream):
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def refused(here):
    try:
        await here.page("/health/live")
    except OSError:
        return True
    return False


async def test_streams_end_as_they_should_when_the_gateway_is_told_to_stop_and_the_next_takes_over(tmp_path, location):
    async with gateway(tmp_path / "run", location, 2) as here, AsyncExitStack() as stack:
        begun = await streams(here, stack, 8)
        here.served.process.send_signal(signal.SIGTERM)
        await here.until(lambda: refused(here))
        # The port is free while streams still run: the next gateway starts beside the one that drains.
        after = Served(tmp_path / "run", env={"GATEWAYZ_BOOTSTRAP_KEY": KEY}, port=here.served.port)
        ended = await asyncio.gather(*(rest(stream) for stream, _ in begun))
        assert all(text.endswith(" tick19") for text in ended)
        assert await asyncio.to_thread(here.served.process.wait, 30) == 0
        await asyncio.to_thread(after.until, "asked:")
        assert await load(here, 4, 2) == []
        assert (await asyncio.to_thread(after.stop))[0] == 0
        assert (await here.booked())[2] == 1


async def test_after_the_grace_a_stream_gets_its_typed_end(tmp_path, databases):
    location = databases.fresh("sqlite", tmp_path / "data")
    async with gateway(tmp_path / "run", location, 2, grace_s=0.1) as here, AsyncExitStack() as stack:
        begun = await streams(here, stack, 4)
        here.served.process.send_signal(signal.SIGTERM)
        for stream, _ in begun:
            with pytest.raises(openai.APIError, match="shutting down"):
                await rest(stream)
        assert await asyncio.to_thread(here.served.process.wait, 30) == 0
        await here.booked()


async def test_a_second_signal_does_not_wait_and_the_status_says_so(tmp_path, databases):
    location = databases.fresh("sqlite", tmp_path / "data")
    async with gateway(tmp_path / "run", location, 2) as here, AsyncExitStack() as stack:
        await streams(here, stack, 4)
        here.served.process.send_signal(signal.SIGINT)
        await here.until(lambda: refused(here))
        here.served.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(here.served.process.wait, 10) == 1
        await here.booked()


async def test_workers_drain_when_their_supervisor_is_killed(tmp_path, databases):
    location = databases.fresh("sqlite", tmp_path / "data")
    async with gateway(tmp_path / "run", location, 2) as here, AsyncExitStack() as stack:
        begun = await streams(here, stack, 4)
        workers = here.served.workers()
        here.served.process.kill()
        assert all([(await rest(stream)).endswith(" tick19") for stream, _ in begun])
        await here.until(lambda: _true(not any(Path(f"/proc/{worker}").exists() for worker in workers)))
        await here.booked()


def test_a_start_that_fails_says_why_once_and_ends(tmp_path):
    status, _, said = run(tmp_path, "serve", "--workers", "2", "--port", str(free_port()), env={
        "GATEWAYZ_DATABASE__URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none"})
    assert status == 2
    assert said.count("The store cannot be used") == 1
    assert "Traceback" not in said
    status, _, said = run(tmp_path, "serve", "--workers", "3")
    assert status == 2
    assert "2 processes can share a SQLite file" in said


def test_a_worker_without_a_supervisor_ends_at_once(tmp_path):
    read, write = os.pipe()
    os.close(write)
    done = subprocess.run([sys.executable, "-m", "gatewayz", "worker", str(read)], cwd=tmp_path, pass_fds=(read,), capture_output=True, timeout=30)
    os.close(read)
    assert done.returncode != 0
