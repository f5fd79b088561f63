"""Hostile tenants and providers in large: beside them the p99 of a normal tenant is at most twice its own.

The length of a turn is `HOSTILE_S` seconds. The hostile send all the time, in turn to a server that throws everything away and to the
gateway: so what they themselves cost the machine is on both sides, and only what they cost the gateway is compared. Turns of either kind
come in pairs, in changing order, and the medians of their p99 count.
"""

import asyncio
import json
import multiprocessing
import os
import statistics
import time
import urllib.request
from contextlib import suppress
from urllib.error import URLError

import pytest

from tests.fault.test_hostile_tenants import HOSTILE
from tests.support.gateway_process import free_port
from tests.support.money import USD, issue_key, open_account, open_process_books
from tests.support.worker_group import MESSAGES, run_worker_group

TURN_S = float(os.environ.get("HOSTILE_S", "60"))
TURNS = 5
SETTLE_S = 10.0
"""Until all processes have started; a fifth of it until what was begun in the turn before has ended."""
MOST = 2.0
EVERY_S = 0.02
CLIENTS = 4
FAULTS = ["fault-500", "fault-html-200", "fault-close-before", "fault-429", "fault-hang-2"] * 2_000


class Target:
    """Where the hostile send to: the gateway, or a server that throws everything away."""

    def __init__(self, context, gateway_url, sink_url):
        self.stop = context.Event()
        self.at_gateway = context.Event()
        self.urls = (sink_url, gateway_url)

    def post(self, key, body):
        url = f"{self.urls[self.at_gateway.is_set()]}/v1/chat/completions"
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers)
        with suppress(URLError, OSError), urllib.request.urlopen(request, timeout=5) as answer:
            answer.read()


async def _throw_away(reader, writer):
    with suppress(OSError, asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        left = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        while left > 0 and (chunk := await reader.read(2**16)):
            left -= len(chunk)
        writer.write(b"HTTP/1.1 400 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    writer.close()


def run_sink(port):
    """A server that reads whatever comes and refuses it."""

    async def serve():
        server = await asyncio.start_server(_throw_away, "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(serve())


def send_bodies(target, key):
    """A hostile tenant: every body that costs more to read than to send, again and again."""
    bodies = [
        body if isinstance(body, bytes) else json.dumps(body).encode() for body in HOSTILE.values()
    ]
    while not target.stop.is_set():
        for body in bodies:
            if not target.stop.is_set():
                target.post(key, body)


def send_calls(target, key):
    """Calls to a model whose provider breaks every answer in another way."""
    body = json.dumps({"model": "test/slow", "messages": MESSAGES, "stream": True}).encode()
    while not target.stop.is_set():
        target.post(key, body)


async def normal_latencies(group, seconds):
    """Seconds that each call of the normal tenant took; every one is answered."""
    latencies: list[float] = []
    end = time.monotonic() + seconds

    async def run_client():
        async with group.client() as client:
            while time.monotonic() < end:
                began = time.monotonic()
                reply = await client.chat.completions.create(model="test/echo", messages=MESSAGES)
                latencies.append(time.monotonic() - began)
                assert reply.choices[0].message.content == "Hello"
                await asyncio.sleep(EVERY_S)

    await asyncio.gather(*(run_client() for _ in range(CLIENTS)))
    return latencies


def p99(latencies):
    return sorted(latencies)[int(len(latencies) * 0.99)]


async def p99s_of_turns(group, send, keys):
    """The p99 of each turn with the hostile elsewhere, and of each beside them."""
    context = multiprocessing.get_context("spawn")
    port = free_port()
    target = Target(context, group.url, f"http://127.0.0.1:{port}")
    hostile = [context.Process(target=send, args=(target, key)) for key in keys]
    processes = [context.Process(target=run_sink, args=(port,)), *hostile]
    for process in processes:
        process.start()
    turns: dict[bool, list[float]] = {False: [], True: []}
    try:
        # Before the first turn everybody has started, and the gateway has met them once.
        target.at_gateway.set()
        await normal_latencies(group, SETTLE_S)
        for turn in range(TURNS):
            for beside in (False, True) if turn % 2 else (True, False):
                target.at_gateway.set() if beside else target.at_gateway.clear()
                await asyncio.sleep(SETTLE_S / 5)
                turns[beside].append(p99(await normal_latencies(group, TURN_S)))
    finally:
        target.stop.set()
        for process in processes:
            process.kill()
            await asyncio.to_thread(process.join)
    return turns[False], turns[True]


@pytest.mark.long(
    reason="hostile tenants and providers in large take minutes; run it with `make test-long`"
)
@pytest.mark.parametrize("send", [send_bodies, send_calls])
async def test_beside_the_hostile_the_p99_of_a_normal_tenant_is_at_most_twice_its_own(
    tmp_path, database, location, send
):
    data_dir = tmp_path / "run" / "data"
    keys = []
    async with open_process_books(location, data_dir, "till") as books:
        for name in ("hostile-1", "hostile-2"):
            await open_account(database, books, name, paid=1_000 * USD)
            keys.append(await issue_key(database, name, data_dir))
    async with run_worker_group(tmp_path / "run", location, 2) as group:
        group.upstream.script("slow", FAULTS)
        elsewhere, beside = await p99s_of_turns(group, send, keys)
        ratio = statistics.median(beside) / statistics.median(elsewhere)
        assert ratio <= MOST, (ratio, elsewhere, beside)
