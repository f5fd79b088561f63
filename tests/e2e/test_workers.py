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

from gatewayz.control.upkeep import Upkeep
from gatewayz.store.sql.ledger.reconcile import violations
from gatewayz.store.sql.tables import HOLDS, WALLETS
from tests.support.databases import url_of
from tests.support.gateway_process import WAIT_S, GatewayProcess, free_port, run_command
from tests.support.money import (
    USD,
    LaterClock,
    expire_after_silence,
    issue_key,
    open_account,
    open_process_books,
)
from tests.support.worker_group import KEY, MESSAGES, run_load, run_worker_group


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_workers_share_the_calls_and_book_each_once(tmp_path, location, kind):
    workers = {"sqlite": 2, "postgresql": 3}[kind]
    async with run_worker_group(tmp_path / "run", location, workers) as group:
        booked_before = await group.book_totals()
        assert await run_load(group, 40, 10) == []
        calls, usage, most_per_call = await group.book_totals()
        assert (calls - booked_before[0], usage, most_per_call) == (400, 400, 1)
        assert len(group.upstream.invoices) == 400
        assert [await group.calls_total() for _ in range(6)] == [401.0] * 6
        processes = {
            json.loads(await group.get_text("/health/providers"))["process"] for _ in range(40)
        }
        assert processes <= {f"{number + 1} of {workers}" for number in range(workers)}
        status, _ = await asyncio.to_thread(group.gateway_process.stop)
        assert status == 0
        workers_of_calls = [line["worker"] for line in group.log() if line["event"] == "call"]
        assert len(workers_of_calls) == 401
        assert set(workers_of_calls) == set(range(1, workers + 1))
        assert (
            min(workers_of_calls.count(number) for number in set(workers_of_calls))
            > 401 / workers / 5
        )
        assert group.gateway_process.stderr.count("asked:") == 1
        assert group.gateway_process.stderr.count("serves http") == 1


async def test_a_worker_that_is_killed_is_replaced_while_the_others_go_on(
    tmp_path, database, location
):
    data_dir = tmp_path / "run" / "data"
    async with open_process_books(location, data_dir, "till") as books:
        await open_account(database, books, "payer", paid=1_000 * USD)
    paid = {"api_key": await issue_key(database, "payer", data_dir)}
    async with run_worker_group(tmp_path / "run", location, 2) as group, AsyncExitStack() as stack:
        totals, watched_enough = [], asyncio.Event()

        async def watch():
            while not watched_enough.is_set():
                with suppress(aiohttp.ClientError, OSError):
                    totals.append(await group.calls_total())
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(watch())
        running = asyncio.create_task(run_load(group, 30, 30, max_retries=5, **paid))
        await group.wait_until(lambda: _truth(group.upstream.invoices))
        # They never end by themselves, so the one that is killed holds money however slow the machine is.
        await open_streams(group, stack, 12, model="test/fault-hang-2", **paid)
        victims = group.gateway_process.worker_pids()
        os.kill(victims[0], signal.SIGKILL)
        assert len(await hold_owners(database)) == 2
        faults = await running
        # A stream whose bytes had begun cannot be sent again by anybody; all else the SDK sent again.
        assert all(
            isinstance(fault, openai.APIError) and not isinstance(fault, openai.APIStatusError)
            for fault in faults
        )
        assert len(faults) < 30
        await group.wait_for_workers(2)
        watched_enough.set()
        await watching
        assert totals == sorted(totals)
        assert len(totals) > 3
        metrics = await group.metrics()
        assert metrics["gatewayz_worker_restarts_total", ("worker", "1")] == 1.0
        pids = group.gateway_process.worker_pids()
        assert victims[1] in pids
        assert victims[0] not in pids
        assert len(pids) == 2
        await stack.aclose()

        async def only_the_dead_holds():
            return len(await hold_owners(database)) < 2

        await group.wait_until(only_the_dead_holds)
        before = (await group.book_totals())[0]
        assert await run_load(group, 10, 4, **paid) == []
        calls, _, most_per_call = await group.book_totals()
        assert (calls - before, most_per_call) == (40, 1)
        status, _ = await asyncio.to_thread(group.gateway_process.stop)
        assert status == 0
        assert [
            line
            for line in group.log()
            if line["event"] == "workers" and "SIGKILL" in line["message"]
        ]
    # What the dead one held is given back when it has been silent for a minute, by whoever lives then.
    async with open_process_books(location, data_dir, "later") as books:
        later = LaterClock(0)
        upkeep = Upkeep(database, books.commits, books.journal, later, "later", lambda fact: None)
        await expire_after_silence(upkeep, later)
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


async def test_a_worker_that_is_frozen_is_replaced_and_the_gateway_answers_again(
    tmp_path, databases
):
    location = databases.create_migrated("sqlite", tmp_path / "data")
    async with run_worker_group(tmp_path / "run", location, 2, worker_silent_s=3) as group:
        frozen, other = group.gateway_process.worker_pids()
        os.kill(frozen, signal.SIGSTOP)

        async def is_replaced():
            return frozen not in group.gateway_process.worker_pids()

        await group.wait_until(is_replaced)
        await group.wait_for_workers(2)
        # Whichever worker the kernel picks for a new connection answers.
        assert await run_load(group, 20, 1) == []
        pids = group.gateway_process.worker_pids()
        assert (len(pids), other in pids) == (2, True)
        messages = [line["message"] for line in group.log() if line["event"] == "workers"]
        assert any("has said nothing for 3 s" in message for message in messages)


async def test_a_worker_that_is_frozen_before_it_serves_is_replaced(tmp_path, databases):
    location = databases.create_migrated("sqlite", tmp_path / "data")
    async with run_worker_group(tmp_path / "run", location, 2, worker_silent_s=2) as group:
        before = set(group.gateway_process.worker_pids())
        os.kill(min(before), signal.SIGKILL)

        async def is_started_again():
            return bool(set(group.gateway_process.worker_pids()) - before)

        await group.wait_until(is_started_again)
        (frozen,) = set(group.gateway_process.worker_pids()) - before
        os.kill(frozen, signal.SIGSTOP)

        async def is_replaced():
            return frozen not in group.gateway_process.worker_pids()

        await group.wait_until(is_replaced)
        await group.wait_for_workers(2)
        assert await run_load(group, 20, 1) == []
        messages = [line["message"] for line in group.log() if line["event"] == "workers"]
        assert any("has said nothing for 6 s" in message for message in messages)


async def test_a_worker_that_is_frozen_does_not_keep_the_gateway_from_stopping(tmp_path, databases):
    location = databases.create_migrated("sqlite", tmp_path / "data")
    async with run_worker_group(tmp_path / "run", location, 2, worker_silent_s=3) as group:
        os.kill(group.gateway_process.worker_pids()[1], signal.SIGSTOP)
        group.gateway_process.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(group.gateway_process.process.wait, 30)


async def _truth(value):
    return bool(value)


async def hold_owners(database):
    """The processes that hold money now."""
    async with database.begin(reading=True) as connection:
        return (await connection.execute(select(HOLDS.c.owner).distinct())).all()


async def open_streams(group, stack, count, model="test/slow", **client_options):
    """Streams that have begun, over connections of their own."""
    begun = []
    for _ in range(count):
        client = await stack.enter_async_context(group.client(**client_options))
        stream = await client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
        first = await anext(stream)
        begun.append((stream, first))
    return begun


async def read_rest(stream):
    return "".join(
        [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    )


async def is_refused(group):
    try:
        await group.get_text("/health/live")
    except OSError:
        return True
    return False


async def test_streams_end_as_they_should_when_the_gateway_is_told_to_stop_and_the_next_takes_over(
    tmp_path, location
):
    async with run_worker_group(tmp_path / "run", location, 2) as group, AsyncExitStack() as stack:
        streams = await open_streams(group, stack, 8)
        group.gateway_process.process.send_signal(signal.SIGTERM)
        await group.wait_until(lambda: is_refused(group))
        # The port is free while streams still run: the next gateway starts beside the one that drains.
        successor = GatewayProcess(
            tmp_path / "run", env={"GATEWAYZ_BOOTSTRAP_KEY": KEY}, port=group.gateway_process.port
        )
        texts = await asyncio.gather(*(read_rest(stream) for stream, _ in streams))
        assert all(text.endswith(" tick19") for text in texts)
        assert await asyncio.to_thread(group.gateway_process.process.wait, WAIT_S) == 0
        await asyncio.to_thread(successor.wait_for, "asked:")
        assert await run_load(group, 4, 2) == []
        assert (await asyncio.to_thread(successor.stop))[0] == 0
        assert (await group.book_totals())[2] == 1


async def test_after_the_grace_a_stream_gets_its_typed_end(tmp_path, databases):
    location = databases.create_migrated("sqlite", tmp_path / "data")
    async with (
        run_worker_group(tmp_path / "run", location, 2, grace_s=0.1) as group,
        AsyncExitStack() as stack,
    ):
        streams = await open_streams(group, stack, 4)
        group.gateway_process.process.send_signal(signal.SIGTERM)
        for stream, _ in streams:
            with pytest.raises(openai.APIError, match="shutting down"):
                await read_rest(stream)
        assert await asyncio.to_thread(group.gateway_process.process.wait, WAIT_S) == 0
        await group.book_totals()


async def test_a_second_signal_does_not_wait_and_the_status_says_so(tmp_path, databases):
    location = databases.create_migrated("sqlite", tmp_path / "data")
    async with run_worker_group(tmp_path / "run", location, 2) as group, AsyncExitStack() as stack:
        await open_streams(group, stack, 4)
        group.gateway_process.process.send_signal(signal.SIGINT)
        await group.wait_until(lambda: is_refused(group))
        group.gateway_process.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(group.gateway_process.process.wait, WAIT_S) == 1
        await group.book_totals()


async def test_workers_drain_when_their_supervisor_is_killed(tmp_path, databases):
    location = databases.create_migrated("sqlite", tmp_path / "data")
    async with run_worker_group(tmp_path / "run", location, 2) as group, AsyncExitStack() as stack:
        streams = await open_streams(group, stack, 4)
        workers = group.gateway_process.worker_pids()
        group.gateway_process.process.kill()
        assert all([(await read_rest(stream)).endswith(" tick19") for stream, _ in streams])
        await group.wait_until(
            lambda: _truth(not any(Path(f"/proc/{worker}").exists() for worker in workers))
        )
        await group.book_totals()


def test_a_start_that_fails_says_why_once_and_ends(tmp_path):
    status, _, error = run_command(
        tmp_path,
        "serve",
        "--workers",
        "2",
        "--port",
        str(free_port()),
        env={"GATEWAYZ_DATABASE__URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none"},
    )
    assert status == 2
    assert error.count("The store cannot be used") == 1
    assert "Traceback" not in error
    status, _, error = run_command(tmp_path, "serve", "--workers", "3")
    assert status == 2
    assert "2 processes can share a SQLite file" in error


def test_a_worker_without_a_supervisor_ends_at_once(tmp_path):
    read, write = os.pipe()
    os.close(write)
    process = subprocess.run(
        [sys.executable, "-m", "gatewayz", "worker", str(read)],
        cwd=tmp_path,
        pass_fds=(read,),
        capture_output=True,
        timeout=WAIT_S,
    )
    os.close(read)
    assert process.returncode != 0


@pytest.mark.parametrize(("kind", "other"), [("sqlite", "postgresql"), ("postgresql", "sqlite")])
async def test_a_backup_of_a_gateway_under_load_is_one_moment_of_clean_books(
    tmp_path, location, databases, kind, other
):
    target = databases.create_empty(other, tmp_path / "other")
    environment = {"env": {"GATEWAYZ_DATABASE__URL": url_of(location)}}
    async with run_worker_group(tmp_path / "run", location, 2) as group:
        backed_up = asyncio.Event()

        async def on_and_on():
            while not backed_up.is_set():
                assert await run_load(group, 20, 2) == []

        running = asyncio.create_task(on_and_on())
        await group.wait_until(lambda: _truth(len(group.upstream.invoices) > 100))
        status, output, error = await asyncio.to_thread(
            run_command, tmp_path, "backup", "backup.gz", **environment
        )
        assert (status, "The books are clean." in output) == (0, True), output + error
        backed_up.set()
        await running
    environment = {"env": {"GATEWAYZ_DATABASE__URL": url_of(target)}}
    status, output, error = await asyncio.to_thread(
        run_command, tmp_path, "restore", "backup.gz", **environment
    )
    assert (status, "The books are clean." in output) == (0, True), output + error
    group.location = target
    calls, usage, most_per_call = await group.book_totals()
    assert 90 < calls - 1 < len(group.upstream.invoices)
    assert (usage, most_per_call) == (calls - 1, 1)
    databases.drop(target)
