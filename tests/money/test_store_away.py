"""The store is away under load: paid calls are told when to come back, the others go on, and nothing delivered is unpaid."""

import asyncio
import json
import os
import signal
import sqlite3
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from gatewayz.store.sql.database import Location
from gatewayz.store.sql.ledger.books import BooksTimeouts
from gatewayz.store.sql.ledger.journal import FOLDER
from tests.support.billing_gateway import INPUT, OUTPUT, complete_chat, run_billing_gateway
from tests.support.databases import migrate
from tests.support.flaky_ledger import FlakyLedger
from tests.support.postgres import DURABLE, running_postgres
from tests.support.running_gateway import wait_until

AWAY_S = 3.5
TIMEOUTS = BooksTimeouts(hold_s=1.0, settle_s=1.5, retry_s=0.1)
"""A settlement is tried and a hold waited for, one after the other, for less than the store is away: so the journal is used."""
BACK_S = 5.0 * 5
"""Five seconds are promised; the machine of a test may be five times as slow."""


class Heard:
    """What a client saw of one call: whose it was, its id, its status, and whether it saw the end."""

    def __init__(self, who, call, status, retry, ended, at):
        self.who, self.call, self.status, self.retry, self.ended, self.at = (
            who,
            call,
            status,
            retry,
            ended,
            at,
        )


class Load:
    """Clients that call again and again: paying ones, the house, and one that only asks what is free."""

    def __init__(self, here):
        self._here = here
        self._who = {
            "paid": (here.key, "test/model"),
            "house": (here.house_key, "test/model"),
            "free": (here.key, "simulator/echo"),
        }
        self.heard = []
        self.over = False

    async def run(self):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            await asyncio.gather(
                *(
                    self._one(session, who, streamed)
                    for who in self._who
                    for streamed in (True, False)
                    for _ in range(2)
                )
            )

    async def _one(self, session, who, streamed):
        key, model = self._who[who]
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "Hello there"}],
            "stream": streamed,
            "max_tokens": 20,
        }
        while not self.over:
            async with session.post(
                f"{self._here.url}/v1/chat/completions",
                json=body,
                headers={"Authorization": f"Bearer {key}"},
            ) as response:
                raw = await response.read()
                ended = response.status == 200 and (
                    raw.endswith(b"data: [DONE]\n\n") if streamed else b'"finish_reason":' in raw
                )
                self.heard.append(
                    Heard(
                        who,
                        response.headers["x-request-id"],
                        response.status,
                        response.headers.get("retry-after"),
                        ended,
                        time.monotonic(),
                    )
                )
            await asyncio.sleep(0.05)


async def booked(here, load):
    """Waits for the journal, then compares what clients saw with what the books say."""
    journal, books = here.built.store.journal, here.books
    await wait_until(lambda: not journal.waiting_bytes and not books.unconfirmed_holds)
    await here.assert_balanced()
    records = {
        one.id: one for account in (here.account, "house") for one in await here.calls(account)
    }
    for one in load.heard:
        if one.ended:
            assert one.call in records
        if one.ended and one.who != "free":
            assert records[one.call].cost > 0
    invoices = [one for one in here.upstream.invoices if one.finished]
    assert sum(one.cost for one in records.values()) == sum(
        one.prompt_tokens * INPUT + one.completion_tokens * OUTPUT for one in invoices
    )
    assert await here.usage_total() == sum(one.cost for one in await here.calls())


@asynccontextmanager
async def locked(location):
    """Another program keeps the file to itself."""
    connection = sqlite3.connect(location.path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@asynccontextmanager
async def stopped(server):
    """The server and all that it began stand still."""
    group = [server._process.pid, *_children(server._process.pid)]
    for pid in group:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in group:
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def killed(server):
    """The server dies at once, with every connection, and recovers from its log when it is started again."""
    server._process.kill()
    server._process.wait()
    yield
    await asyncio.to_thread(server.start)


def _children(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@pytest.fixture
def own_server():
    """A server that a test may stop, with the schema in a database of its own."""
    with running_postgres(DURABLE) as server:
        migrate(server.dsn())
        yield server


async def under_load(tmp_path, location, away, away_s):
    async with run_billing_gateway(tmp_path, location, dollars=100, model="echo") as here:
        here.books.timeouts = TIMEOUTS
        load = Load(here)
        running = asyncio.create_task(load.run())
        await asyncio.sleep(1.0)
        began = time.monotonic()
        async with away:
            await asyncio.sleep(away_s)
        back = time.monotonic()
        while not any(one.who == "paid" and one.ended and one.at > back for one in load.heard):
            assert time.monotonic() - back < BACK_S
            assert not running.done()
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        load.over = True
        await running
        meanwhile = [one for one in load.heard if began + 0.5 < one.at < back]
        assert {
            (one.status, one.retry) for one in meanwhile if one.who == "paid" and not one.ended
        } == {(503, "2")}
        assert all(one.ended for one in load.heard if one.who != "paid")
        assert {one.who for one in meanwhile if one.ended} >= {"house", "free"}
        await booked(here, load)


@pytest.mark.parametrize("how", [stopped, killed])
async def test_a_postgres_that_is_away_under_load_costs_nobody_anything(tmp_path, own_server, how):
    await under_load(
        tmp_path, Location("postgresql", dsn=own_server.dsn()), how(own_server), AWAY_S
    )


async def test_a_file_that_is_locked_under_load_costs_nobody_anything(tmp_path, databases):
    location = databases.create_migrated("sqlite", tmp_path / "data")
    await under_load(tmp_path, location, locked(location), AWAY_S)


@pytest.mark.long(reason="the store is away for a whole minute, three times")
@pytest.mark.parametrize("how", [stopped, killed])
async def test_a_minute_without_postgres(tmp_path, own_server, how):
    await under_load(tmp_path, Location("postgresql", dsn=own_server.dsn()), how(own_server), 60.0)


async def raw_stream(here, key, model="test/model"):
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Hello there"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{here.url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}
        ) as response,
    ):
        async for piece in response.content.iter_any():
            yield piece


async def test_content_finish_and_usage_leave_at_once_and_the_marker_after_the_commit(
    tmp_path, location
):
    async with run_billing_gateway(tmp_path, location, model="echo") as here:
        ledger = FlakyLedger(here.books)
        ledger.arm(2, "waits")
        seen = b""
        async for piece in raw_stream(here, here.key):
            seen += piece
            if b'"usage":{' in seen and not ledger.go_on.is_set():
                assert b'"finish_reason":"stop"' in seen.replace(b" ", b"")
                assert b"[DONE]" not in seen
                assert await here.usage_total() == 0
                ledger.go_on.set()
        assert seen.endswith(b"data: [DONE]\n\n")
        assert await here.usage_total() > 0
        await here.assert_balanced()


async def test_a_slow_settlement_is_waited_for_under_keep_alives(tmp_path, location):
    from gatewayz.web.respond import StreamTiming

    async with run_billing_gateway(tmp_path, location, model="echo") as here:
        inference = here.built.app.inference
        inference._rules = type(inference._rules)(
            timing=StreamTiming(keep_alive_s=0.1, check_every_s=0.05),
            deadlines=inference._rules.deadlines,
        )
        ledger = FlakyLedger(here.books)
        ledger.arm(2, "waits")
        asyncio.get_running_loop().call_later(0.5, ledger.go_on.set)
        seen = b"".join([piece async for piece in raw_stream(here, here.key)])
        assert seen.endswith(b"data: [DONE]\n\n")
        assert b": keep-alive\n\n" in seen.partition(b'"usage":{')[2]
        await here.assert_balanced()


@pytest.mark.parametrize("streamed", [True, False])
async def test_with_the_store_away_and_the_journal_full_the_end_is_a_typed_one(
    tmp_path, location, streamed
):
    async with run_billing_gateway(tmp_path, location, model="echo") as here:
        ledger = FlakyLedger(here.books)
        store: Any = here.built.store
        store.journal.max_bytes = 10
        ledger.arm(2, "silent")
        if streamed:
            events = b"".join([piece async for piece in raw_stream(here, here.key)]).split(b"\n\n")
            last = json.loads(events[-3].removeprefix(b"data: "))
            assert (last["choices"][0]["finish_reason"], last["error"]["code"]) == (
                "error",
                "unavailable",
            )
            assert not any(b"[DONE]" in event for event in events)
        else:
            with pytest.raises(openai.InternalServerError) as caught:
                await complete_chat(here.client())
            assert (caught.value.status_code, caught.value.code) == (503, "unavailable")
        await here.built.gateway.finish()
        assert not list((tmp_path / "data" / FOLDER).glob("*.jsonl"))
        await here.books.finish()


async def test_without_a_store_the_house_and_free_calls_go_on_and_are_booked_later(
    tmp_path, databases
):
    location = databases.create_migrated("sqlite", tmp_path / "data")
    async with run_billing_gateway(tmp_path, location, model="echo") as here:
        ledger = FlakyLedger(here.books)
        ledger.away = True
        with pytest.raises(openai.InternalServerError) as caught:
            await complete_chat(here.client())
        assert caught.value.code == "unavailable"
        assert await complete_chat(here.client(), "simulator/echo") == "Hello there"
        assert (
            await complete_chat(here.client(api_key=here.house_key), stream=True) == "Hello there"
        )
        assert (
            len(
                (tmp_path / "data" / FOLDER)
                .joinpath(f"{here.books.owner}.jsonl")
                .read_bytes()
                .splitlines()
            )
            == 2
        )
        ledger.away = False
        store: Any = here.built.store
        await store.upkeep.replay()
        assert len(await here.calls("house")) == 1
        await here.assert_balanced()
