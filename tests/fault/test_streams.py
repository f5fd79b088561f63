"""Ends of streams: invisible failover before the commit, a typed end after it, and clients that leave in every phase."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import openai
import pytest

from tests.support.examples import PROFILE
from tests.support.running_gateway import model_with_offers, run_gateway, wait_until

WAVES = 100 if PROFILE == "new" else 12
"""Of a hundred clients that leave at once: ten thousand in `make test-long`."""
HI: list[Any] = [{"role": "user", "content": "Hello there"}]


async def raw_stream(here, model, **asked):
    """Status and the raw bytes of a streamed answer."""
    body = {"model": model, "messages": HI, "stream": True, **asked}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{here.url}/v1/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {here.key}"},
        ) as response,
    ):
        return response.status, await response.read()


@pytest.mark.parametrize("kind", ["cut", "rst", "end", "sse-error"])
async def test_a_cut_after_block_k_is_a_typed_error_for_every_k(tmp_path, kind):
    async with run_gateway(
        tmp_path,
        models=[model_with_offers(*((name, "model") for name in ("first",)))],
        routing={"breaker": {"failures": 1000, "window_outcomes": 100000}},
    ) as here:
        for count in range(1, 41):
            here.upstream.script("model", [f"fault-{kind}-{count}"])
            status, raw = await raw_stream(here, "test/model")
            assert status == 200
            events = raw.split(b"\n\n")
            assert events[-1] == b""
            last, error = (json.loads(event.removeprefix(b"data: ")) for event in events[-3:-1])
            assert error == {"error": last["error"]}
            assert last["choices"][0]["finish_reason"] == "error"
            assert last["error"]["code"] in {"upstream_cut", "upstream_error"}
            assert b"[DONE]" not in raw
            text = [
                json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"].get("content")
                for event in events[:-3]
            ]
            assert "".join(filter(None, text)) == "".join(
                f" word{number}" for number in range(count)
            )
            assert here.last.fault
            assert here.last.usage.estimated


@pytest.mark.parametrize("kind", ["cut", "rst", "sse-error"])
async def test_the_sdk_sees_a_cut_as_an_error(tmp_path, kind):
    async with run_gateway(tmp_path) as here:
        stream = await here.client().chat.completions.create(
            model=f"first/fault-{kind}-3", messages=HI, stream=True
        )
        with pytest.raises(openai.APIError):
            async for _ in stream:
                pass


@pytest.mark.parametrize("kind", ["cut-5", "rst-5", "end-5", "sse-error-5"])
async def test_for_a_json_client_a_cut_at_any_block_fails_over(tmp_path, kind):
    async with run_gateway(
        tmp_path, models=[model_with_offers(("first", "fault-half-json"), ("second", "echo"))]
    ) as here:
        reply = await here.client().chat.completions.create(model="test/model", messages=HI)
        assert reply.choices[0].message.content == "Hello there"
        assert here.last.served == "second"


async def test_no_text_of_two_providers_is_mixed(tmp_path):
    async with run_gateway(
        tmp_path, models=[model_with_offers(("first", "fault-cut-4"), ("second", "echo"))]
    ) as here:
        _, raw = await raw_stream(here, "test/model")
        assert b"Hello" not in raw
        assert len(here.upstream.requests) == 1


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("fault", ["hang-before", "hang-headers", "keepalive-only"])
async def test_silence_before_the_first_event_is_a_failover(tmp_path, fault, streamed):
    if fault == "keepalive-only" and not streamed:
        fault = "hang-headers"
    deadlines = {"first_event_s": 1.0, "reasoning_first_event_s": 1.0, "idle_s": 1.0}
    models = [model_with_offers(("first", f"fault-{fault}"), ("second", "echo"))]
    async with run_gateway(tmp_path, models=models, routing={"deadlines": deadlines}) as here:
        client = here.client()
        if streamed:
            stream = await client.chat.completions.create(
                model="test/model", messages=HI, stream=True
            )
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        else:
            reply = await client.chat.completions.create(model="test/model", messages=HI)
            text = reply.choices[0].message.content or ""
        assert text == "Hello there"
        assert here.last.attempts[0].fault == "upstream_timeout"
        await here.wait_until_idle()


async def test_silence_in_the_middle_is_a_typed_end(tmp_path):
    async with run_gateway(tmp_path, routing={"deadlines": {"idle_s": 1.0}}) as here:
        status, raw = await raw_stream(here, "first/fault-hang-3")
        assert status == 200
        assert (
            json.loads(raw.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]["code"]
            == "upstream_timeout"
        )
        await here.wait_until_idle()


async def left(here, model, *, streamed, after, arrived=0):
    """A client that leaves by reset: after so many chunks, or when `arrived` requests have reached the provider."""
    arrived = arrived or len(here.upstream.requests) + 1
    reader, writer = await asyncio.open_connection("127.0.0.1", int(here.url.rpartition(":")[2]))
    body = json.dumps({"model": model, "messages": HI, "stream": streamed}).encode()
    writer.write(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {here.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    await writer.drain()
    if after is None:
        await wait_until(lambda: len(here.upstream.requests) >= arrived)
    else:
        seen = b""
        while seen.count(b"data: ") < after:
            seen += await reader.read(4096)
    writer.transport.abort()


@pytest.mark.parametrize(
    ("model", "streamed", "after"),
    [
        ("first/fault-hang-before", True, None),
        ("first/fault-hang-before", False, None),
        ("first/fault-hang-headers", True, None),
        ("first/fault-hang-headers", False, None),
        ("first/slow", True, 1),
        ("first/slow", True, 5),
        ("first/slow", False, None),
        ("first/fault-hang-3", True, 4),
    ],
)
async def test_a_client_that_leaves_stops_the_upstream_in_every_phase(
    tmp_path, model, streamed, after
):
    async with run_gateway(tmp_path) as here:
        await left(here, model, streamed=streamed, after=after)
        began = time.monotonic()
        await here.wait_until_idle()
        # 500 ms are promised; the machine of a test may be ten times as slow.
        assert time.monotonic() - began < 5
        assert here.upstream.invoices[-1].aborted
        assert here.last.fault == "client_gone"
        if after:
            assert here.last.usage.estimated
            assert here.last.usage.completion > 0
        else:
            assert here.last.usage.completion == 0


async def test_a_storm_of_cancelled_streams_leaves_nothing_behind(tmp_path):
    async with run_gateway(tmp_path, observe={"log": "off"}) as here:
        waves, size = WAVES, 100
        for wave in range(waves):
            phase = (
                ("first/fault-hang-before", None),
                ("first/fault-hang-headers", None),
                ("first/fault-hang-2", 3),
            )[wave % 3]
            await asyncio.gather(
                *(
                    left(
                        here,
                        phase[0],
                        streamed=True,
                        after=phase[1],
                        arrived=(wave + 1) * size,
                    )
                    for _ in range(size)
                )
            )
        await here.wait_until_idle()
        assert len(here.built.gateway._tasks) == 0
        for number in range(20):
            reply = await here.client().chat.completions.create(
                model="first/echo", messages=[{"role": "user", "content": f"again {number}"}]
            )
            assert reply.choices[0].message.content == f"again {number}"
        books: Any = here.built.books
        limiter: Any = here.built.gateway._limiter
        await wait_until(lambda: books.calls == waves * size + 20)
        assert not limiter._leases
        tasks = [
            task
            for task in asyncio.all_tasks()
            if "_left" in repr(task) or "run_asgi" in repr(task)
        ]
        assert tasks == []


async def test_five_hundred_calls_a_second_notice_no_dead_provider(tmp_path):
    names = ("first", "second", "third")
    models = [
        model_with_offers(("first", "fault-close-before"), ("second", "echo"), ("third", "echo"))
    ]
    async with run_gateway(
        tmp_path, providers=names, models=models, observe={"log": "off"}
    ) as here:
        url, headers = f"{here.url}/v1/chat/completions", {"Authorization": f"Bearer {here.key}"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as session:

            async def one(number):
                await asyncio.sleep(number / 500)
                body = {
                    "model": "test/model",
                    "messages": [{"role": "user", "content": f"n{number}"}],
                    "stream": number % 2 == 0,
                }
                async with session.post(url, json=body, headers=headers) as response:
                    raw = await response.read()
                    return (
                        response.status == 200
                        and b"error" not in raw
                        and f"n{number}".encode() in raw
                    )

            results = await asyncio.gather(*(one(number) for number in range(600)))
        assert results.count(False) == 0
        dead = sum(1 for asked in here.upstream.requests if asked.path.startswith("/first/"))
        assert 5 <= dead <= 200


async def test_draining_lets_calls_end_and_then_ends_them_with_a_typed_end(tmp_path):
    async with run_gateway(tmp_path, web={"grace_s": 2.0}) as here:
        quick = asyncio.create_task(
            here.client().chat.completions.create(model="first/echo", messages=HI)
        )
        hung = asyncio.create_task(raw_stream(here, "first/fault-hang-3"))
        whole = asyncio.create_task(
            here.client().chat.completions.create(model="first/fault-hang-before", messages=HI)
        )
        await wait_until(lambda: len(here.upstream.requests) == 3)
        here.built.server.should_exit = True
        assert (await quick).choices[0].message.content == "Hello there"
        status, raw = await hung
        assert status == 200
        assert (
            json.loads(raw.split(b"\n\n")[-2].removeprefix(b"data: "))["error"]["code"]
            == "unavailable"
        )
        with pytest.raises(openai.InternalServerError) as caught:
            await whole
        assert caught.value.status_code == 503
        books: Any = here.built.books
        assert not books.open


async def test_a_client_that_does_not_read_is_given_up(tmp_path):
    import socket

    from gatewayz.web.respond import StreamTiming

    async with run_gateway(tmp_path) as here:
        inference = here.built.app.inference
        inference._rules = type(inference._rules)(
            timing=StreamTiming(unread_s=0.3, check_every_s=0.1),
            deadlines=inference._rules.deadlines,
        )
        here.upstream.script("flood", ["flood"])
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", int(here.url.rpartition(":")[2])))
        words = " ".join(["word"] * 60_000)
        body = json.dumps(
            {
                "model": "first/echo",
                "messages": [{"role": "user", "content": words}],
                "stream": True,
            }
        ).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {here.key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        await loop.sock_sendall(raw, head.encode() + body)
        books: Any = here.built.books
        await wait_until(lambda: books.records)
        assert here.last.fault == "client_gone"
        raw.close()
        await here.wait_until_idle()


async def test_a_quiet_stream_is_kept_open_and_may_still_fail_over(tmp_path):
    from gatewayz.web.respond import StreamTiming

    models = [model_with_offers(("first", "fault-hang-headers"), ("second", "echo"))]
    deadlines = {"first_event_s": 1.5, "idle_s": 1.5}
    async with run_gateway(tmp_path, models=models, routing={"deadlines": deadlines}) as here:
        inference = here.built.app.inference
        inference._rules = type(inference._rules)(
            timing=StreamTiming(keep_alive_s=0.1, check_every_s=0.05),
            deadlines=inference._rules.deadlines,
        )
        status, raw = await raw_stream(here, "test/model")
        assert status == 200
        assert raw.startswith(b": keep-alive\n\n")
        assert b"Hello" in raw
        assert raw.endswith(b"data: [DONE]\n\n")
        assert here.last.served == "second"
