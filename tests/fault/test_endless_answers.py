"""Answers without an end or without content: what waits for the commit point is bounded in bytes, and
the next candidate serves.
"""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from gatewayz.engine.attempts import MAX_BUFFERED_BYTES, MAX_BUFFERED_FRAMES
from gatewayz.upstream.bodies import MAX_BODY_BYTES
from tests.support.running_gateway import BASE_PATHS, model_with_offers, run_gateway

HI = [{"role": "user", "content": "Hello there"}]
EVENT_BYTES = 2**20
WIRE_BYTES = 32 * 2**20
"""What may be on its way in sockets, buffers and the frame at hand beyond what is counted."""
PAD = "x" * EVENT_BYTES


def chat_event(delta, **more):
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return {"object": "chat.completion.chunk", "choices": [choice], **more}


def message_event(kind, **more):
    return {"type": kind, **more}


STARTED = message_event(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "usage": {"input_tokens": 9, "output_tokens": 1},
    },
)
THINKS = message_event(
    "content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}
)
CASES = {
    "roles, streamed": ("openai_chat", True, (), chat_event({"role": "assistant"}, padding=PAD)),
    "text, whole": ("openai_chat", False, (), chat_event({"content": PAD})),
    "thoughts, whole": ("openai_chat", False, (), chat_event({"reasoning_content": PAD})),
    "arguments, whole": (
        "openai_chat",
        False,
        (),
        chat_event(
            {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": PAD}}]}
        ),
    ),
    "thoughts of messages, whole": (
        "anthropic_messages",
        False,
        (STARTED, THINKS),
        message_event(
            "content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": PAD}
        ),
    ),
}
UNHEARD = {
    "pings": ("anthropic_messages", (STARTED,), message_event("ping", padding=PAD)),
    "chunks without choices": ("openai_chat", (), {"choices": [], "padding": PAD}),
}
"""Events of which nothing waits: the bytes of the answer are bounded, whatever they say."""


class EndlessUpstream:
    """Sends the events of `first`, then `event` until the connection breaks; `sent` bytes so far."""

    def __init__(self, first, event):
        self.head = b"".join(self.line(each) for each in first)
        self.event = self.line(event)
        self.sent = 0
        self.has_ended = asyncio.Event()

    def line(self, event):
        kind = f"event: {event['type']}\n" if "type" in event else ""
        return f"{kind}data: {json.dumps(event)}\n\n".encode()

    async def serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        await reader.readexactly(length)
        with suppress(ConnectionError):
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            )
            writer.write(self.head)
            while self.sent <= 4 * MAX_BUFFERED_BYTES:
                writer.write(self.event)
                await writer.drain()
                self.sent += len(self.event)
        writer.close()
        self.has_ended.set()


@asynccontextmanager
async def run_endless_gateway(tmp_path, dialect, upstream):
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    row = {
        "dialect": dialect,
        "base_url": f"http://127.0.0.1:{port}{BASE_PATHS[dialect]}",
        "key": "sk-endless-canary",
        "priority": 0,
    }
    models = [model_with_offers(("endless", "m"), ("first", "echo"))]
    try:
        async with run_gateway(
            tmp_path, providers=("first",), more={"endless": row}, models=models
        ) as gateway:
            yield gateway
    finally:
        server.close()


async def ask(gateway, streamed):
    body = {"model": "test/model", "messages": HI, "stream": streamed, "max_tokens": 100}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{gateway.url}/v1/chat/completions",
            json=body,
            headers={"Authorization": f"Bearer {gateway.key}"},
        ) as answer,
    ):
        return answer.status, await answer.text()


@pytest.mark.parametrize("case", CASES)
async def test_what_waits_for_the_commit_point_is_bounded_in_bytes(tmp_path, case):
    dialect, streamed, first, event = CASES[case]
    upstream = EndlessUpstream(first, event)
    async with run_endless_gateway(tmp_path, dialect, upstream) as gateway:
        status, text = await ask(gateway, streamed)
        assert status == 200
        assert "Hello" in text
        assert "x" * 100 not in text
        attempts = [(each.provider, each.fault) for each in gateway.last.attempts]
        assert attempts == [("endless", "upstream_broken"), ("first", "")]
        await upstream.has_ended.wait()
        assert upstream.sent <= MAX_BUFFERED_BYTES + WIRE_BYTES
        # It is the bytes that were too many, not the frames.
        assert upstream.sent / EVENT_BYTES < MAX_BUFFERED_FRAMES
        assert (await ask(gateway, streamed))[0] == 200


@pytest.mark.parametrize("case", UNHEARD)
async def test_an_answer_that_says_nothing_has_an_end_too(tmp_path, case):
    dialect, first, event = UNHEARD[case]
    upstream = EndlessUpstream(first, event)
    async with run_endless_gateway(tmp_path, dialect, upstream) as gateway:
        status, text = await ask(gateway, streamed=True)
        assert status == 200
        assert "Hello" in text
        assert gateway.last.served == "first"
        await upstream.has_ended.wait()
        assert upstream.sent <= MAX_BODY_BYTES + WIRE_BYTES
