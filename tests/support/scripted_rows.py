"""A gateway before rows of the package, all played by one scripted upstream."""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from tests.support.running_gateway import RunningGateway, model_with_offers, run_gateway
from tests.support.scripted_upstream import ScriptedAnswer, ScriptedUpstream

Body = dict[str, Any]


Rule = Callable[[Body], ScriptedAnswer]


def refusal(status: int = 400, **error: Any) -> ScriptedAnswer:
    """A refusal in OpenAI's form."""
    return ScriptedAnswer(json.dumps({"error": error}).encode(), status)


def refusal_body(body: Any, status: int = 400) -> ScriptedAnswer:
    """A refusal of any form."""
    return ScriptedAnswer(json.dumps(body).encode(), status)


def completion(finish: str = "stop", usage: Any = None, **message: Any) -> ScriptedAnswer:
    """A whole chat completion."""
    said = {"role": "assistant", "content": "ok", **message}
    choice = {"index": 0, "message": said, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    usage = usage or {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    return ScriptedAnswer(json.dumps({**body, "usage": usage}).encode())


def anthropic_message(*blocks: Body, stop: str = "end_turn") -> ScriptedAnswer:
    """A whole answer of Anthropic's."""
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": list(blocks) or [{"type": "text", "text": "ok"}],
        "stop_reason": stop,
        "usage": {"input_tokens": 9, "output_tokens": 2},
    }
    return ScriptedAnswer(json.dumps(body).encode())


def event_stream(*events: Any, done: bool = True) -> ScriptedAnswer:
    """Server-sent events; text stands for itself."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    texts += ["[DONE]"] if done else []
    body = "".join(f"data: {text}\n\n" for text in texts)
    return ScriptedAnswer(body.encode(), content_type="text/event-stream")


def chunk(finish: str | None = None, **delta: Any) -> Body:
    """A chunk of a chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [choice]}


def call_piece(arguments: str = "", **fields: Any) -> Body:
    """A piece of a tool call; `name` stands where it does on the wire."""
    name = {"name": fields.pop("name")} if "name" in fields else {}
    return {**fields, "function": {**name, "arguments": arguments}}


def tool_loop(*ids: str, thought: str = "", text: str | None = None) -> list[Body]:
    """A conversation with a call of a tool, and its result, for each id."""
    messages: list[Body] = [{"role": "user", "content": "q"}]
    for call_id in ids:
        call = call_piece("{}", id=call_id, type="function", name="get")
        said = {"role": "assistant", "content": text, "tool_calls": [call]}
        messages += [
            said | ({"reasoning_content": thought} if thought else {}),
            {"role": "tool", "tool_call_id": call_id, "content": "1"},
        ]
    return messages


def names_dropped(response: httpx2.Response) -> set[str]:
    """The names in `x-gatewayz-dropped`."""
    names = response.headers.get("x-gatewayz-dropped", "")
    return set(names.split(", ")) - {""}


BASE_PATHS = {"anthropic": "", "google-ai-studio": "/v1beta"}
"""Where the paths of a row begin; of the others at `/v1`."""


class ScriptedRows(NamedTuple):
    """A gateway whose providers are rows of the package, played by one scripted upstream."""

    gateway: RunningGateway
    upstream: ScriptedUpstream

    @property
    def requests(self) -> list[Body]:
        """The bodies that the providers were asked with since `play`."""
        return [request.body for request in self.upstream.requests]

    @property
    def sent(self) -> Body:
        """The last of them."""
        return self.requests[-1]

    def play(self, rule: Rule | ScriptedAnswer) -> None:
        """From now on this is answered, and nothing was asked yet."""
        self.upstream.requests.clear()
        self.upstream.script = lambda request: (
            rule if isinstance(rule, ScriptedAnswer) else rule(request.body)
        )

    async def post(self, path: str, body: Body, **headers: str) -> httpx2.Response:
        given = {"authorization": f"Bearer {self.gateway.key}", **headers}
        async with httpx2.AsyncClient() as client:
            return await client.post(self.gateway.url + path, json=body, headers=given)

    async def chat(self, model: str, **fields: Any) -> httpx2.Response:
        """A chat completion; without `messages` one question."""
        messages = {"messages": [{"role": "user", "content": "q"}]}
        return await self.post("/v1/chat/completions", {"model": model, **messages, **fields})

    async def messages(self, model: str, **fields: Any) -> httpx2.Response:
        """The same in Anthropic's API."""
        base = {"max_tokens": 100, "messages": [{"role": "user", "content": "q"}]}
        return await self.post(
            "/v1/messages",
            {"model": model, **base, **fields},
            **{"anthropic-version": "2023-06-01"},
        )


def events_in(response: httpx2.Response) -> list[Body]:
    """The JSON of the data lines of a stream."""
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@asynccontextmanager
async def run_scripted_rows(
    tmp_path: Path, providers: Iterable[str], models: Iterable[str] = (), **more: Any
) -> AsyncIterator[ScriptedRows]:
    """Each provider has a model `my/<provider>` with the upstream id `m`; `models` are more, as
    `provider:upstream id`, named by their upstream id.
    """
    async with ScriptedUpstream(lambda _: completion()) as upstream:
        rows = {
            name: {"base_url": f"{upstream.url}/{name}{BASE_PATHS.get(name, '/v1')}", "key": "k"}
            for name in providers
        }
        ids = [(name, "m", f"my/{name}") for name in rows]
        for name, _, upstream_id in (model.partition(":") for model in models):
            ids.append((name, upstream_id, f"my/{upstream_id}"))
        listed = [
            {
                **model_with_offers((name, upstream_id), model=model),
                "known_offers": False,
                "aliases": [],
            }
            for name, upstream_id, model in ids
        ]
        async with run_gateway(tmp_path, providers=(), more=rows, models=listed, **more) as gateway:
            yield ScriptedRows(gateway, upstream)
