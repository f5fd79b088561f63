"""A provider that only says that it is still there says nothing: its silence ends as any other does."""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from tests.support.running_gateway import model_with_offers, run_gateway

STARTED = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    },
}
TEXT = [
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "Hello"},
    },
]
EVERY_S = 0.1
"""Often enough that a deadline which each of them moved would never come."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def event(fields):
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()


@asynccontextmanager
async def run_provider(events, keep_alive):
    """A provider that sends these events, and then what keeps a connection open, without end."""

    stop, serving = asyncio.Event(), set()

    async def serve(reader, writer):
        serving.add(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"".join(map(event, events)))
        with suppress(ConnectionError):
            while not stop.is_set():
                writer.write(keep_alive)
                await writer.drain()
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), EVERY_S)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    stop.set()
    server.close()
    await asyncio.gather(*serving)


@pytest.mark.parametrize("events", [[STARTED], [STARTED, *TEXT]], ids=["head", "text"])
@pytest.mark.parametrize("keep_alive", [event({"type": "ping"}), b": still here\n\n"])
async def test_keep_alives_move_no_deadline(tmp_path, events, keep_alive):
    deadlines = {"first_event_s": 1.0, "reasoning_first_event_s": 1.0, "idle_s": 1.0}
    async with run_provider(events, keep_alive) as url:
        row = {"dialect": "anthropic_messages", "base_url": url, "key": "none"}
        async with run_gateway(
            tmp_path,
            more={"pinging": row},
            models=[model_with_offers(("pinging", "echo"))],
            routing={"deadlines": deadlines},
        ) as here:
            body = {
                "model": "test/model",
                "messages": [{"role": "user", "content": "Hi"}],
                "max_tokens": 50,
                "stream": True,
            }
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
                session.post(
                    f"{here.url}/v1/messages", json=body, headers={"x-api-key": here.key}
                ) as response,
            ):
                text = await response.text()
            assert "error" in text
            assert ("Hello" in text) == (len(events) > 1)
            await here.wait_until_idle()
            assert here.last.attempts[0].fault == "upstream_timeout"
