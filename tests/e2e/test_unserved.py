"""What is not served says so and names the way out, in the form that each client's own library reads; a method that is not
taken names those that are.
"""

import json
from pathlib import Path

import anthropic
import openai
import pytest

from gatewayz.dialects.registry import CLIENTS
from gatewayz.web.unserved import UNSERVED, find_unserved
from tests.support.control_plane import RawClient, run_control_plane

GUIDE = (Path(__file__).parents[2] / "docs/guides/not-served.md").read_text()


@pytest.fixture
def kind():
    """No store is asked."""
    return "sqlite"


@pytest.fixture
async def control_plane(location, tmp_path):
    async with run_control_plane(location, tmp_path) as plane:
        yield plane


OPENAI_CALLS = {
    "files": lambda client: client.files.list(),
    "a file": lambda client: client.files.create(file=b"x", purpose="assistants"),
    "batches": lambda client: client.batches.create(
        input_file_id="f", endpoint="/v1/chat/completions", completion_window="24h"
    ),
    "speech": lambda client: client.audio.speech.create(input="x", model="tts-1", voice="alloy"),
    "fine-tuning": lambda client: client.fine_tuning.jobs.list(),
    "vector stores": lambda client: client.vector_stores.list(),
    "responses": lambda client: client.responses.create(model="m", input="x"),
    "moderations": lambda client: client.moderations.create(input="x"),
    "image edits": lambda client: client.images.edit(image=b"x", prompt="x"),
}


@pytest.mark.parametrize("name", OPENAI_CALLS)
async def test_openais_sdk_is_told_what_to_do_instead(control_plane, name):
    client = control_plane.gateway.client()
    with pytest.raises(openai.NotFoundError) as caught:
        await OPENAI_CALLS[name](client)
    assert caught.value.code == "unknown_url"
    assert "is not served here; " in caught.value.message


async def test_anthropics_sdk_is_told_what_to_do_instead(control_plane):
    client = control_plane.gateway.anthropic_client()
    for call in (client.messages.batches.list, client.beta.files.list):
        with pytest.raises(anthropic.NotFoundError) as caught:
            await call()
        body = caught.value.body
        assert isinstance(body, dict)
        assert body["error"]["type"] == "not_found_error"
        assert "is not served here; " in body["error"]["message"]


async def test_googles_and_mcps_clients_get_their_own_forms(control_plane):
    path = "/v1beta/models/gemini-2.5-flash:generateContent?key=secret"
    answer = await control_plane.nobody("POST", path, {})
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["status"]) == (404, 404, "NOT_FOUND")
    assert "/v1/chat/completions" in error["message"]
    assert "secret" not in answer.text
    answer = await control_plane.nobody(
        "POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
    )
    assert (answer.status, answer.json()["error"]["code"]) == (404, -32601)


@pytest.mark.parametrize("row", UNSERVED, ids=lambda row: row.name)
async def test_every_row_answers_and_is_in_the_guide(control_plane, row):
    for path in row.paths:
        for method in ("GET", "POST", "DELETE"):
            for asked in (path, f"{path.rstrip('/')}/01J/content?limit=1"):
                answer = await control_plane.operator(method, asked)
                assert answer.status == 404, (method, asked)
                assert row.instead in answer.text.replace('\\"', '"')
    paths = ", ".join(f"`{path}`" for path in row.paths)
    assert f"| {row.name} | {paths} | {row.instead} |" in GUIDE


def test_no_row_hides_what_is_served():
    assert [path for path in CLIENTS if find_unserved(path)] == []
    assert find_unserved("/v1/filesystem") is None
    assert find_unserved("/v1/messages") is None


@pytest.mark.parametrize("path", ["/", "/nothing-like-it", "/" + "x" * 5_000, "/%00", "/v1"])
async def test_a_path_that_is_like_nothing_is_told_so_shortly(control_plane, path):
    answer = await control_plane.operator("POST", path, {})
    assert answer.status in {404, 405}
    assert len(answer.text) < 1_000


async def test_a_method_that_is_not_taken_names_those_that_are(control_plane):
    for method, path, taken in (
        ("GET", "/v1/chat/completions", "; POST is."),
        ("DELETE", "/admin/accounts", "; GET and POST is."),
        ("POST", "/v1/models/openai/gpt-4o", "; GET is."),
        ("PUT", "/v1/keys/01HZZZZZZZZZZZZZZZZZZZZZZZ", "; DELETE and GET and PATCH is."),
    ):
        answer = await control_plane.operator(method, path, {})
        assert answer.status == 405
        assert taken in answer.json()["error"]["message"]


async def test_the_answer_is_the_callers_whoever_asks(control_plane):
    answer = await control_plane.nobody("POST", "/v1/filez", {}, anthropic_version="2023-06-01")
    assert json.loads(answer.text)["error"]["type"] == "not_found_error"
    client: RawClient = control_plane.client
    assert (await client.request("GET", "/v1/files", {}, b"")).status == 404
