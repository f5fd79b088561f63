"""What the SDKs of JavaScript make of a stream: each one's own parser judges."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.support.scripted_rows import call_piece, chunk, event_stream, run_scripted_rows
from tests.support.scripted_upstream import answer_json, run_scripted_gateway

FOLDER = Path(__file__).parents[2] / ".venv/clients"
SCRIPT = Path(__file__).with_name("broken_stream.mjs")
NODE = shutil.which("node")
SDKS = {"openai": "openai", "ai-sdk": "@ai-sdk/openai"}
"""Name in the script → its package."""


def installed(package):
    return NODE is not None and (FOLDER / "node_modules" / package / "package.json").exists()


@pytest.fixture(params=SDKS)
def sdk(request):
    assert installed(SDKS[request.param]), "run `make test-clients`, which installs it"
    return request.param


async def seen_by(sdk, rows):
    """What the SDK has seen of an answer."""
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(SCRIPT),
        sdk,
        f"{rows.gateway.url}/v1",
        rows.gateway.key,
        "my/vllm",
        cwd=FOLDER,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return json.loads(out)


async def test_an_error_in_mid_stream_is_seen(sdk, tmp_path):
    async with run_scripted_rows(tmp_path, ["vllm"]) as rows:
        failure = {"object": "error", "message": "boom", "type": "InternalServerError", "code": 500}
        rows.play(event_stream(chunk(role="assistant", content="Hel"), failure))
        seen = await seen_by(sdk, rows)
        assert (seen["text"], seen["calls"]) == ("Hel", [])
        assert "failed" in seen["error"]


async def test_calls_of_one_id_are_two(sdk, tmp_path):
    async with run_scripted_rows(tmp_path, ["vllm"]) as rows:
        pieces = [
            call_piece('{"city":"A"}', index=1, id="c", type="function", name="get"),
            call_piece('{"city":"B"}', index=2, id="c", type="function", name="put"),
        ]
        chunks = [chunk(tool_calls=[piece]) for piece in pieces]
        rows.play(event_stream(chunk(role="assistant", content=""), *chunks, chunk("tool_calls")))
        seen = await seen_by(sdk, rows)
        calls = [(call["name"], call["arguments"]) for call in seen["calls"]]
        assert calls == [("get", '{"city":"A"}'), ("put", '{"city":"B"}')]
        assert seen["error"] == ""


def weather(request):
    """Calls the tool until its result is there, and tells it."""
    text = json.dumps(request.body)
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    if "sunny" in text:
        message = {"role": "assistant", "content": "It is sunny."}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return answer_json({**head, "choices": [choice]})
    function = {"name": "get", "arguments": '{"city": "Paris"}'}
    call = {"id": "c1", "type": "function", "function": function}
    asking = {"role": "assistant", "content": None, "tool_calls": [call]}
    return answer_json(
        {**head, "choices": [{"index": 0, "message": asking, "finish_reason": "tool_calls"}]}
    )


async def test_anthropics_tool_runner_goes_on_without_a_thread(tmp_path):
    assert installed("@anthropic-ai/sdk"), "run `make test-clients`, which installs it"
    async with run_scripted_gateway(tmp_path, "openai_chat", weather) as scripted:
        gateway = scripted.gateway
        process = await asyncio.create_subprocess_exec(
            str(NODE),
            str(SCRIPT.with_name("thread_runner.mjs")),
            gateway.url,
            gateway.key,
            "test/model",
            cwd=FOLDER,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        seen = json.loads(out)
        assert seen == {"text": "It is sunny.", "inputs": [{"city": "Paris"}], "error": ""}
        # Its thread was refused, and the second turn held the whole conversation.
        assert "unsupported" in (tmp_path / "log.jsonl").read_text()
        roles = [message["role"] for message in scripted.sent["messages"]]
        assert roles == ["user", "assistant", "tool"]
