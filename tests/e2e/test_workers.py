"""Several workers at one port: real processes, real databases, many clients of the official SDK."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import aiohttp
import openai
import pytest
from sqlalchemy import func, select

from gatewayz.store.sql.checking import OWNER_SILENT_S, violations
from gatewayz.store.sql.tables import HOLDS, WALLETS
from gatewayz.store.sql.upkeep import Upkeep
from tests.support.databases import url_of
from tests.support.money import USD, LaterClock, account, key_for, process_on
from tests.support.served import Served, free_port, run
from tests.support.together import ASK, KEY, gateway, load


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


async def test_a_worker_that_is_killed_is_replaced_while_the_others_go_on(
    tmp_path, database, location
):
    data_dir = tmp_path / "run" / "data"
    async with process_on(location, data_dir, "till") as books:
        await account(database, books, "payer", paid=1_000 * USD)
    paid = {"api_key": await key_for(database, "payer", data_dir)}
    async with gateway(tmp_path / "run", location, 2) as here, AsyncExitStack() as stack:
        seen, over = [], asyncio.Event()

        async def watch():
            while not over.is_set():
                with suppress(aiohttp.ClientError, OSError):
                    seen.append(await here.counted())
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(watch())
        running = asyncio.create_task(load(here, 30, 30, max_retries=5, **paid))
        await here.until(lambda: _true(here.upstream.invoices))
        await streams(here, stack, 12, **paid)
        victims = here.served.workers()
        os.kill(victims[0], signal.SIGKILL)
        faults = await running
        # A stream whose bytes had begun cannot be sent again by anybody; all else the SDK sent again.
        assert all(
            isinstance(fault, openai.APIError) and not isinstance(fault, openai.APIStatusError)
            for fault in faults
        )
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
        assert await load(here, 10, 4, **paid) == []
        calls, _, most = await here.booked()
        assert (calls - before, most) == (40, 1)
        status, _ = await asyncio.to_thread(here.served.stop)
        assert status == 0
        assert [
            line
            for line in here.log()
            if line["event"] == "workers" and "SIGKILL" in line["message"]
        ]
    # What the dead one held is given back when it has been silent for a minute, by whoever lives then.
    async with process_on(location, data_dir, "later") as books:
        async with database.begin(reading=True) as connection:
            assert (
                await connection.execute(select(func.count()).select_from(HOLDS))
            ).scalar_one() > 0
        later = LaterClock(OWNER_SILENT_S + 1)
        await Upkeep(
            database, books.commits, books.journal, later, "later", lambda fact: None
        ).expire()
        async with database.begin(reading=True) as connection:
            assert (
                await connection.execute(select(func.count()).select_from(HOLDS))
            ).scalar_one() == 0
            assert (
                await connection.execute(
                    select(WALLETS.c.held).where(WALLETS.c.account_id == "payer")
                )
            ).scalar_one() == 0
        assert await violations(database, later.wall_ms()) == []


async def _true(value):
    return bool(value)


async def streams(here, stack, count, **more):
    """Streams that have begun, over connections of their own."""
    begun = []
    for _ in range(count):
        client = await stack.enter_async_context(here.client(**more))
        stream = await client.chat.completions.create(model="test/slow", messages=ASK, stream=True)
        first = await anext(stream)
        begun.append((stream, first))
    return begun


async def rest(stream):
    return "".join(
        [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    )


async def refused(here):
    try:
        await here.page("/health/live")
    except OSError:
        return True
    return False


async def test_streams_end_as_they_should_when_the_gateway_is_told_to_stop_and_the_next_takes_over(
    tmp_path, location
):
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
    async with (
        gateway(tmp_path / "run", location, 2, grace_s=0.1) as here,
        AsyncExitStack() as stack,
    ):
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
        await here.until(
            lambda: _true(not any(Path(f"/proc/{worker}").exists() for worker in workers))
        )
        await here.booked()


def test_a_start_that_fails_says_why_once_and_ends(tmp_path):
    status, _, said = run(
        tmp_path,
        "serve",
        "--workers",
        "2",
        "--port",
        str(free_port()),
        env={"GATEWAYZ_DATABASE__URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none"},
    )
    assert status == 2
    assert said.count("The store cannot be used") == 1
    assert "Traceback" not in said
    status, _, said = run(tmp_path, "serve", "--workers", "3")
    assert status == 2
    assert "2 processes can share a SQLite file" in said


def test_a_worker_without_a_supervisor_ends_at_once(tmp_path):
    read, write = os.pipe()
    os.close(write)
    done = subprocess.run(
        [sys.executable, "-m", "gatewayz", "worker", str(read)],
        cwd=tmp_path,
        pass_fds=(read,),
        capture_output=True,
        timeout=30,
    )
    os.close(read)
    assert done.returncode != 0


@pytest.mark.parametrize(("kind", "other"), [("sqlite", "postgresql"), ("postgresql", "sqlite")])
async def test_a_backup_of_a_gateway_under_load_is_one_moment_of_clean_books(
    tmp_path, location, databases, kind, other
):
    target = databases.empty(other, tmp_path / "other")
    place = {"env": {"GATEWAYZ_DATABASE__URL": url_of(location)}}
    async with gateway(tmp_path / "run", location, 2) as here:
        over = asyncio.Event()

        async def on_and_on():
            while not over.is_set():
                assert await load(here, 20, 2) == []

        running = asyncio.create_task(on_and_on())
        await here.until(lambda: _true(len(here.upstream.invoices) > 100))
        status, said, wrong = await asyncio.to_thread(run, tmp_path, "backup", "backup.gz", **place)
        assert (status, "The books are clean." in said) == (0, True), said + wrong
        over.set()
        await running
    place = {"env": {"GATEWAYZ_DATABASE__URL": url_of(target)}}
    status, said, wrong = await asyncio.to_thread(run, tmp_path, "restore", "backup.gz", **place)
    assert (status, "The books are clean." in said) == (0, True), said + wrong
    here.location = target
    calls, usage, most = await here.booked()
    assert 90 < calls - 1 < len(here.upstream.invoices)
    assert (usage, most) == (calls - 1, 1)
    databases.drop(target)
