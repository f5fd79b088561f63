"""An upstream on a real socket that answers what a test says, and keeps what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support.running_gateway import BASE_PATHS, PRICE, RunningGateway, run_gateway

UPSTREAM_IDS = {
    "openai_chat": "gpt-4o",
    "anthropic_messages": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
}
"""A model for each dialect, whose abilities are known."""


class ScriptedRequest(NamedTuple):
    """A request as it came in; keys of `headers` are lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class ScriptedAnswer(NamedTuple):
    """A body, or the events of a stream."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


Script = Callable[[ScriptedRequest], ScriptedAnswer]


def answer_json(value: Any, status: int = 200) -> ScriptedAnswer:
    """A JSON answer."""
    return ScriptedAnswer(json.dumps(value).encode(), status)


def answer_events(*events: Any, names: bool = False) -> ScriptedAnswer:
    """A stream of these events; `names`: each is called by its type, as Anthropic does."""
    lines = []
    for event in events:
        head = f"event: {event['type']}\n" if names else ""
        text = event if isinstance(event, str) else json.dumps(event)
        lines.append(f"{head}data: {text}\n\n")
    return ScriptedAnswer("".join(lines).encode(), content_type="text/event-stream")


def _chat_answer(request: ScriptedRequest) -> ScriptedAnswer:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    head = {"id": "c", "created": 1, "model": "m"}
    if request.body.get("stream"):
        delta = {"index": 0, "delta": {"role": "assistant", "content": "Fine."}}
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        chunk = {**head, "object": "chat.completion.chunk"}
        return answer_events(
            {**chunk, "choices": [delta]},
            {**chunk, "choices": [end]},
            {**chunk, "choices": [], "usage": usage},
            "[DONE]",
        )
    message = {"role": "assistant", "content": "Fine."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return answer_json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


def _messages_answer(request: ScriptedRequest) -> ScriptedAnswer:
    usage = {"input_tokens": 9, "output_tokens": 3}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "stop_sequence": None,
        "usage": usage,
    }
    if request.body.get("stream"):
        return answer_events(
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": "Fine."},
            },
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": usage,
            },
            {"type": "message_stop"},
            names=True,
        )
    content = [{"type": "text", "text": "Fine."}]
    return answer_json({**message, "content": content, "stop_reason": "end_turn"})


def _gemini_answer(request: ScriptedRequest) -> ScriptedAnswer:
    chunk = {
        "candidates": [
            {
                "index": 0,
                "content": {"role": "model", "parts": [{"text": "Fine."}]},
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 9,
            "candidatesTokenCount": 3,
            "totalTokenCount": 12,
        },
    }
    return answer_events(chunk) if ":stream" in request.path else answer_json(chunk)


FINE: dict[str, Script] = {
    "openai_chat": _chat_answer,
    "anthropic_messages": _messages_answer,
    "gemini": _gemini_answer,
}
"""Dialect → a plain answer in it, whole or streamed."""


class ScriptedUpstream:
    """Serves one script on a socket of its own; `requests` are what it was asked so far."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[ScriptedRequest] = []
        self.url = ""
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        headers = {
            name.lower(): value
            for name, separator, value in (text.partition(": ") for text in lines)
            if separator
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = ScriptedRequest(line.split()[1], headers, json.loads(body or b"{}"))
        self.requests.append(request)

        answer = self.script(request)
        head = (
            f"HTTP/1.1 {answer.status} Scripted\r\ncontent-type: {answer.content_type}\r\n"
            f"content-length: {len(answer.body)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode() + answer.body)
        await writer.drain()
        writer.close()


class ScriptedGateway(NamedTuple):
    """A gateway whose model `test/model` has one offer, at a scripted upstream."""

    gateway: RunningGateway
    upstream: ScriptedUpstream

    @property
    def sent(self) -> dict[str, Any]:
        """The body that the upstream was last asked with."""
        return self.upstream.requests[-1].body


@asynccontextmanager
async def run_scripted_gateway(
    tmp_path: Path,
    dialect: str,
    script: Script | None = None,
    *,
    upstream_id: str = "",
    quirks: dict[str, Any] | None = None,
    price: dict[str, str] | None = None,
    offer: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[ScriptedGateway]:
    """A gateway before an upstream that answers by the script; without one, plainly."""
    tmp_path.mkdir(exist_ok=True)
    async with ScriptedUpstream(script or FINE[dialect]) as upstream:
        row = {
            "dialect": dialect,
            "base_url": upstream.url + BASE_PATHS[dialect],
            "key": "sk-scripted-canary",
            "quirks": quirks or {},
            **({"auth": "x_api_key"} if dialect == "anthropic_messages" else {}),
        }
        offered = {
            "provider": "scripted",
            "upstream_id": upstream_id or UPSTREAM_IDS[dialect],
            "price": price or PRICE,
            **(offer or {}),
        }
        models = [{"id": "test/model", "offers": [offered]}]
        more = {"scripted": row}
        async with run_gateway(
            tmp_path, providers=(), more=more, models=models, **settings
        ) as gateway:
            yield ScriptedGateway(gateway, upstream)
