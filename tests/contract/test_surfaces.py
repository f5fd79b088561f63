"""What holds on every path that clients call, for whatever the registry holds: who may, who pays, one record, words for faults."""

import json

import pytest

from gatewayz.core.calls import Call, Principal, new_ulid
from gatewayz.core.events import Failed, Frame, Started
from gatewayz.core.faults import FAULTS, Fault
from gatewayz.dialects.jsontext import decoded
from gatewayz.dialects.registry import CLIENTS, UPSTREAMS
from gatewayz.observe.exposition import exposition
from tests.support.house import house

HI = [{"role": "user", "content": "hi"}]
COUNT = "/v1/messages/count_tokens"
"""Free, and for a provider that speaks something else an estimate: nothing is used, nobody is asked."""
BODIES = {
    "/v1/chat/completions": ("first/echo", {"messages": HI}),
    "/v1/messages": ("first/echo", {"messages": HI, "max_tokens": 100}),
    COUNT: ("first/echo", {"messages": HI}),
    "/v1/completions": ("first/echo", {"prompt": "hi"}),
    "/v1/images/generations": ("first/picture", {"prompt": "a cat"}),
    "/v1/embeddings": ("first/vectors", {"input": "hi"}),
}
"""Path → a model of the simulator that serves it, and the least that a request says."""
STREAMED = [path for path in BODIES if path not in {"/v1/embeddings", COUNT}]
ASKED = [path for path in BODIES if path != COUNT]


@pytest.fixture
async def here(tmp_path):
    async with house(tmp_path) as one:
        yield one


async def post(here, path, body, **headers):
    client = here.client()._client
    given = {"authorization": f"Bearer {here.key}", **headers}
    return await client.post(
        f"{here.url}{path}",
        json=body,
        headers={name: value for name, value in given.items() if value},
    )


def test_every_path_of_the_registry_is_held_to_these():
    assert set(BODIES) == set(CLIENTS)


@pytest.mark.parametrize("path", BODIES)
async def test_a_call_leaves_one_record_and_is_metered(here, path):
    model, body = BODIES[path]
    answered = await post(here, path, {"model": model, **body})
    assert answered.status_code == 200
    assert answered.headers["x-gatewayz-provider"] == "first"
    assert answered.headers["x-request-id"]
    [record] = here.built.books.records
    assert (record.endpoint, record.model, record.outcome.fault) == (path, model, "")
    usage = record.outcome.usage
    assert bool(usage.prompt or usage.images) is (path != COUNT)
    assert usage.estimated is (path == COUNT)
    here.built.bus.flush()
    assert f'endpoint="{path}"'.encode() in exposition(here.built.metrics.counts())


@pytest.mark.parametrize("path", STREAMED)
async def test_a_streamed_call_leaves_one_record_too(here, path):
    model, body = BODIES[path]
    answered = await post(here, path, {"model": model, "stream": True, **body})
    assert answered.headers["content-type"].startswith("text/event-stream")
    [record] = here.built.books.records
    assert (record.endpoint, record.outcome.fault) == (path, "")


@pytest.mark.parametrize("path", BODIES)
async def test_nobody_calls_without_a_key(here, path):
    model, body = BODIES[path]
    for key in ("", "Bearer sk-wrong"):
        answered = await post(here, path, {"model": model, **body}, authorization=key)
        assert answered.status_code == 401
        assert answered.json()["error"]["message"]
    assert not here.upstream.requests


@pytest.mark.parametrize("path", BODIES)
async def test_a_body_that_is_no_object_is_a_bad_request(here, path):
    for content in (b"", b"[]", b"{", b'"text"', b"\xff"):
        answered = await here.client()._client.post(
            f"{here.url}{path}", content=content, headers={"authorization": f"Bearer {here.key}"}
        )
        assert answered.status_code == 400


@pytest.mark.parametrize("path", ASKED)
async def test_a_failing_provider_is_counted_against_its_breaker(here, path):
    model, body = BODIES[path]
    for _ in range(5):
        answered = await post(here, path, {"model": "first/fault-500", **body})
        assert answered.status_code == 502
    assert here.built.gateway._health.breakers()[("first", "fault-500")] == "open"


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("path", CLIENTS)
def test_every_kind_of_fault_has_words_before_and_within_an_answer(path, kind):
    role = CLIENTS[path]
    fault = Fault(kind, f"about {kind}")
    spoken = role.refusal(fault, "id")
    assert spoken.status >= 400
    assert kind in spoken.body.decode()
    assert isinstance(decoded(spoken.body), dict)
    model, body = BODIES[path]
    request = role.decode(json.dumps({"model": "m", **body}).encode(), {})
    call = Call(
        id=new_ulid(),
        endpoint=path,
        request=request,
        principal=Principal("a", "k"),
        received_at=0.0,
        received_ms=0,
        deadline=1e9,
    )
    said = role.encoder(call, 0).feed([Frame((Started(),)), Frame((Failed(fault),))])
    assert f"about {kind}".encode() in said


@pytest.mark.parametrize("name", UPSTREAMS)
def test_every_upstream_role_says_what_it_serves_and_reads_any_refusal(name):
    role = UPSTREAMS[name]
    assert role.name == name
    assert role.serves
    for body in (
        b"",
        b"<html>no</html>",
        b"null",
        b"[]",
        b'{"error": {"message": "why"}}',
        b"\xff\xfe",
        b'{"detail": [{"loc": [], "msg": "why"}]}',
    ):
        words = role.refused(503, {}, body)
        assert words.status == 503
        assert ("why" in words.message) is (b"why" in body)
