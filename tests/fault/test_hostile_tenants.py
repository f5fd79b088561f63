"""What one tenant does costs the others nothing: no refusal, no wait, no room, no money of the house."""

import asyncio
import io
import json
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from sqlalchemy import insert, select

from gatewayz.control.concurrency import ConcurrencyLimit
from gatewayz.control.keys import MAX_ACTIVE, KeySpec, create_key
from gatewayz.core.faults import Fault
from gatewayz.store.sql.tables import API_KEYS, ATTEMPTS, CALLS
from gatewayz.upstream.resolver import MAX_LOOKUPS, PublicResolver
from gatewayz.web.api.export import export_csv
from gatewayz.web.api.shapes import ListResponse
from gatewayz.web.api.usage import UsageView
from tests.support.billing_gateway import run_billing_gateway
from tests.support.running_gateway import model_with_offers

MAX_ROW_CHARS = 16_384
"""Of one call in the database, with its attempts."""
MAX_LOG_BYTES = 8_192
"""Of one request."""
MAX_HEAD_BYTES = 16_384
"""Of one response."""
CPU_S = 1.5
"""Of one hostile request on a slow machine: what it took before was five times as much."""
MODELS = [
    model_with_offers(("first", "alone"), model="m/alone"),
    model_with_offers(("first", "one"), ("second", "two"), model="m/both"),
    model_with_offers(("third", "echo"), model="m/echo"),
]


async def ask(here, key, body, path="/v1/chat/completions", **headers):
    """The status, head and text of an answer to a body that is bytes, or JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers |= {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession(max_field_size=2**22, max_line_size=2**22) as session,
        session.post(here.url + path, data=io.BytesIO(content), headers=headers) as answer,
    ):
        return answer.status, dict(answer.headers), await answer.text()


def chat(model="m/echo", **more):
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], **more}


def nested(depth):
    return b'{"model": "m/echo", "messages": ' + b"[" * depth + b"]" * depth + b"}"


HUGE = "x" * 2**20
HOSTILE = {
    "a model's name of a megabyte": chat(HUGE),
    "a thousand other models": chat(models=["m/echo"] * 1_000),
    "a fallback's name of a megabyte": chat(models=["m/echo", HUGE]),
    "a session of a megabyte": chat(session_id=HUGE),
    "an end user of a megabyte": chat(user=HUGE),
    "a tag of a megabyte": chat(metadata={"tags": [HUGE]}),
    "a hundred thousand fields": chat(**{f"unknown_{n}": n for n in range(49_000)}),
    "a field's name of a megabyte": chat(**{HUGE: 1}),
    "a tool's name of a megabyte": chat(tools=[{"type": HUGE}]),
    "two million keys": b"{" + b",".join(b'"k%d":1' % n for n in range(600_000)) + b"}",
    "a million empty lists": b'{"model": [' + b"[]," * 1_000_000 + b"[]]}",
    "quotes and nothing else": b'"' * 2**22,
    "deep nesting": nested(100_000),
    "a text that is never closed": b'{"model": "' + b"\\" * 2**22,
}


@pytest.fixture
def place(tmp_path, databases):
    return databases.create_migrated("sqlite", tmp_path / "data")


async def test_what_a_request_stores_logs_tells_back_and_computes_is_bounded(tmp_path, place):
    log = Path(tmp_path / "log.jsonl")
    options: dict[str, Any] = {"models": MODELS, "observe": {"log": str(log)}}
    async with run_billing_gateway(tmp_path, place, **options) as here:
        _, key = await here.open_account(0)
        # What is made at the first call is no cost of the second.
        await ask(here, key, chat())
        for name, body in HOSTILE.items():
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            logged, began = log.stat().st_size, time.process_time()
            status, head, text = await ask(here, key, content)
            took_s = time.process_time() - began
            await here.wait_until_idle()
            here.built.bus.flush()
            assert 400 <= status < 500, (name, text)
            assert took_s < CPU_S * (1 + len(content) / 2**20), name
            assert sum(len(one) + len(value) for one, value in head.items()) < MAX_HEAD_BYTES, name
            assert len(text) < MAX_HEAD_BYTES, name
            assert log.stat().st_size - logged < MAX_LOG_BYTES, name
        for table in (CALLS, ATTEMPTS):
            for row in await here.rows(select(*table.c)):
                assert sum(len(str(cell)) for cell in row) < MAX_ROW_CHARS, row.model[:99]


async def test_what_a_call_that_is_served_loses_is_told_and_stored_in_bounds(tmp_path, place):
    async with run_billing_gateway(
        tmp_path, place, models=MODELS, dialect="anthropic_messages"
    ) as here:
        _, key = await here.open_account(5)
        body = chat("m/echo", **{f"unknown_{n}": n for n in range(20_000)})
        status, head, text = await ask(here, key, body)
        assert status == 200, text
        assert "more" in head["x-gatewayz-dropped"]
        assert sum(len(name) + len(value) for name, value in head.items()) < MAX_HEAD_BYTES
        await here.wait_until_idle()
        (dropped,) = await here.rows(select(CALLS.c.dropped))
        assert len(dropped[0]) < MAX_ROW_CHARS


@pytest.mark.parametrize("fault", ["fault-500", "fault-html-200", "fault-close-before"])
async def test_bodies_that_break_an_offer_close_it_to_their_own_account_alone(
    tmp_path, place, fault
):
    async with run_billing_gateway(tmp_path, place, models=MODELS) as here:
        _, hostile = await here.open_account(5)
        _, normal = await here.open_account(5)
        here.upstream.script("alone", [fault] * 5 + ["echo"])
        statuses = [(await ask(here, hostile, chat("m/alone")))[0] for _ in range(5)]
        assert all(status >= 500 for status in statuses)
        # Its own account is sent elsewhere, and there is nowhere.
        here.built.gateway._health._last_resort_at.clear()
        for _ in range(20):
            assert (await ask(here, normal, chat("m/alone")))[0] == 200


async def test_bodies_that_break_every_offer_close_none(tmp_path, place):
    async with run_billing_gateway(tmp_path, place, models=MODELS) as here:
        _, hostile = await here.open_account(5)
        _, other = await here.open_account(5)
        _, normal = await here.open_account(5)
        here.upstream.script("one", ["fault-500"] * 20 + ["echo"])
        here.upstream.script("two", ["fault-500"] * 20 + ["echo"])
        for number in range(20):
            key = (hostile, other)[number % 2]
            assert (await ask(here, key, chat("m/both")))[0] >= 500
        states = here.built.gateway._health.operator_breaker_states()
        assert set(states.values()) <= {"closed"}
        for key in (normal, hostile):
            assert (await ask(here, key, chat("m/both")))[0] == 200


async def test_beside_hostile_tenants_a_normal_one_is_served(tmp_path, place):
    async with run_billing_gateway(tmp_path, place, models=MODELS) as here:
        _, normal = await here.open_account(5)
        hostile = [(await here.open_account(0))[1] for _ in range(2)]
        under_way = [
            asyncio.create_task(ask(here, key, body))
            for key in hostile
            for body in HOSTILE.values()
        ]
        statuses = [(await ask(here, normal, chat()))[0] for _ in range(40)]
        await asyncio.gather(*under_way)
        assert statuses == [200] * 40


async def test_names_that_do_not_resolve_hold_up_only_who_waits_for_them():
    resolves = threading.Event()

    def look_up(host, port, **options):
        resolves.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    tenants, calls = PublicResolver(look_up), PublicResolver()
    waiting = [
        asyncio.create_task(tenants.resolve(f"h{number}.test", 443))
        for number in range(3 * MAX_LOOKUPS)
    ]
    try:
        async with asyncio.timeout(20):
            for _ in range(20):
                assert await calls.resolve("localhost", 443)
    finally:
        resolves.set()
    assert all(
        isinstance(end, OSError) for end in await asyncio.gather(*waiting, return_exceptions=True)
    )


async def test_a_resolver_that_answers_nobody_is_no_providers_fault():
    async def blame(resolver, host):
        try:
            await resolver.resolve(host, 443)
        except OSError as error:
            return resolver.blame(host, error)
        raise AssertionError

    def look_up(host, port, **options):
        if host == "well.test":
            return [(0, 0, 0, "", ("192.0.2.1", port))]
        number = socket.EAI_NONAME if host == "none.test" else socket.EAI_AGAIN
        raise socket.gaierror(number, "no answer")

    resolver = PublicResolver(look_up)
    assert await blame(resolver, "slow.test") == "gateway"
    assert await blame(resolver, "none.test") == "provider"
    assert await resolver.resolve("well.test", 443) == ["192.0.2.1"]
    assert await blame(resolver, "slow.test") == "provider"
    assert Fault("upstream_unreachable", "It cannot be reached.").is_suspected
    assert not Fault("upstream_unreachable", "It cannot be reached.", blame="provider").is_suspected


async def test_more_keys_of_an_account_are_no_more_requests_and_pages_cost_by_their_work(
    tmp_path, place
):
    limits = {"api_rpm": 20}
    async with run_billing_gateway(tmp_path, place, models=MODELS, limits=limits) as here:
        account, first = await here.open_account(0)
        transaction = here.built.control_transaction
        made = [await create_key(transaction, KeySpec(account=account)) for _ in range(9)]
        _, other = await here.open_account(0)
        await here.refresh_keys()

        async def count_pages(key, path):
            answered = 0
            while await get(here, key, path) == 200:
                answered += 1
            return answered

        assert await count_pages(first, "/v1/account/usage") == 2
        assert await count_pages(made[0][0], "/v1/calls") == 5
        answered = [await count_pages(key, "/v1/key") for key, _ in made[1:]]
        assert sum(answered) <= 45
        assert await count_pages(other, "/v1/account") >= 20


async def test_an_account_has_no_keys_without_end(tmp_path, place):
    async with run_billing_gateway(tmp_path, place, models=MODELS) as here:
        account, _ = await here.open_account(0)
        (row,) = await here.rows(select(*API_KEYS.c).where(API_KEYS.c.account_id == account))
        more = [
            {**row._asdict(), "id": f"k{number}", "digest": f"d{number}"}
            for number in range(MAX_ACTIVE - 1)
        ]
        async with here.built.store.database.begin() as connection:
            await connection.execute(insert(API_KEYS), more)
        with pytest.raises(Fault, match="active keys"):
            await create_key(here.built.control_transaction, KeySpec(account=account))


async def test_an_export_that_is_refused_has_read_nothing():
    exports, read = ConcurrencyLimit(max_total=8, max_per_account=1), []

    async def fetch_page(cursor):
        read.append(cursor)
        return ListResponse(data=[])

    control = SimpleNamespace(exports=exports)
    ctx: Any = SimpleNamespace(control=control, account="acme")
    with exports.slot("acme"), pytest.raises(Fault, match="at a time"):
        await export_csv(ctx, "calls", UsageView, fetch_page)({}, receive_nothing, drop)
    assert read == []
    await export_csv(ctx, "calls", UsageView, fetch_page)({}, receive_nothing, drop)
    assert len(read) == 1


async def receive_nothing():
    await asyncio.Event().wait()


async def drop(message):
    pass


async def get(here, key, path):
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(here.url + path, headers=headers) as answer,
    ):
        return answer.status
