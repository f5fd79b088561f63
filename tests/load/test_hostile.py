"""Hostile tenants and providers in large: beside them the p99 of a normal tenant is at most twice its own.

The length of a turn is `HOSTILE_S` seconds; turns alone and beside the hostile alternate on one machine, and the median of their
ratios counts.
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
from tests.support.money import USD, issue_key, open_account, open_process_books
from tests.support.worker_group import MESSAGES, run_worker_group

TURN_S = float(os.environ.get("HOSTILE_S", "60"))
TURNS = 5
MOST = 2.0
EVERY_S = 0.02
CLIENTS = 4
FAULTS = ["fault-500", "fault-html-200", "fault-close-before", "fault-429", "fault-hang-2"] * 2_000


def _post(url, key, body):
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", body, headers)
    with suppress(URLError, OSError), urllib.request.urlopen(request, timeout=5) as answer:
        answer.read()


def send_bodies(url, key, stop):
    """A hostile tenant: every body that costs more to read than to send, again and again."""
    bodies = [
        body if isinstance(body, bytes) else json.dumps(body).encode() for body in HOSTILE.values()
    ]
    while not stop.is_set():
        for body in bodies:
            if not stop.is_set():
                _post(url, key, body)


def send_calls(url, key, stop):
    """Calls to a model whose provider breaks every answer in another way."""
    body = json.dumps({"model": "test/slow", "messages": MESSAGES, "stream": True}).encode()
    while not stop.is_set():
        _post(url, key, body)


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


async def ratios_beside(group, send, keys):
    """The p99 beside the hostile, as a multiple of that alone, turn by turn."""
    context = multiprocessing.get_context("spawn")
    await normal_latencies(group, TURN_S / 5)
    ratios = []
    for _ in range(TURNS):
        alone = p99(await normal_latencies(group, TURN_S))
        stop = context.Event()
        hostile = [context.Process(target=send, args=(group.url, key, stop)) for key in keys]
        for process in hostile:
            process.start()
        try:
            ratios.append(p99(await normal_latencies(group, TURN_S)) / alone)
        finally:
            stop.set()
            for process in hostile:
                process.kill()
                await asyncio.to_thread(process.join)
    return ratios


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
        ratios = await ratios_beside(group, send, keys)
        assert statistics.median(ratios) <= MOST, ratios
