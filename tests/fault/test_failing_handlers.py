"""What fails in a route that is no call: its client gets a typed error, the log a line without words of others."""

import json

import aiohttp
import pytest

from gatewayz.observe.worker_group import SingleProcess
from tests.support.running_gateway import run_gateway


class BrokenGroup(SingleProcess):
    """A group whose supervisor cannot be spoken to, as a closed socket says it."""

    def __init__(self, error):
        self.error = error

    async def total_metrics(self, own):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(32, "sk-secret"), RuntimeError("sk-secret"), KeyError("sk-secret")],
    ids=["pipe", "runtime", "key"],
)
async def test_a_handler_that_fails_answers_with_a_typed_error_and_an_id(tmp_path, error):
    async with run_gateway(tmp_path, group=BrokenGroup(error)) as gateway:
        headers = {"Authorization": f"Bearer {gateway.key}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{gateway.url}/metrics") as answer,
        ):
            assert answer.status == 500
            content = json.loads(await answer.text())
            request_id = answer.headers["X-Request-ID"]
        assert content["error"]["type"] == "server_error"
        assert "sk-secret" not in json.dumps(content)
        gateway.built.bus.flush()
    text = (tmp_path / "log.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert any(
        line["event"] == "request_failed" and line["message"].startswith(request_id)
        for line in lines
    )
    assert "sk-secret" not in text
