"""Every path of the registry: who may call, who pays, one record, words for every fault."""

import json
from typing import Any

import pytest

from gatewayz.core.calls import Call, Principal, new_ulid
from gatewayz.core.events import Failed, Frame, Started
from gatewayz.core.faults import FAULTS, Fault
from gatewayz.dialects.kit.jsontext import decode_json
from gatewayz.dialects.registry import CLIENTS, UPSTREAMS
from gatewayz.observe.exposition import render_metrics
from tests.support.running_gateway import run_gateway

HI = [{"role": "user", "content": "hi"}]
COUNT = "/v1/messages/count_tokens"
"""Free, and estimated where the provider speaks another dialect: no provider is asked."""
BODIES: dict[str, Any] = {
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
async def gateway(tmp_path):
    async with run_gateway(tmp_path) as running:
        yield running


async def post(gateway, path, body, **headers):
    client = gateway.client()._client
    all_headers = {"authorization": f"Bearer {gateway.key}", **headers}
    return await client.post(
        f"{gateway.url}{path}",
        json=body,
        headers={name: value for name, value in all_headers.items() if value},
    )


def test_every_path_of_the_registry_is_held_to_these():
    assert set(BODIES) == set(CLIENTS)


@pytest.mark.parametrize("path", BODIES)
async def test_a_call_leaves_one_record_and_is_metered(gateway, path):
    model, body = BODIES[path]
    response = await post(gateway, path, {"model": model, **body})
    assert response.status_code == 200
    assert response.headers["x-gatewayz-provider"] == "first"
    assert response.headers["x-request-id"]
    [record] = gateway.built.books.records
    assert (record.endpoint, record.model, record.outcome.fault) == (path, model, "")
    usage = record.outcome.usage
    assert bool(usage.prompt or usage.images) is (path != COUNT)
    assert usage.estimated is (path == COUNT)
    gateway.built.bus.flush()
    assert f'endpoint="{path}"'.encode() in render_metrics(gateway.built.metrics.snapshot())


@pytest.mark.parametrize("path", STREAMED)
async def test_a_streamed_call_leaves_one_record_too(gateway, path):
    model, body = BODIES[path]
    response = await post(gateway, path, {"model": model, "stream": True, **body})
    assert response.headers["content-type"].startswith("text/event-stream")
    [record] = gateway.built.books.records
    assert (record.endpoint, record.outcome.fault) == (path, "")


@pytest.mark.parametrize("path", BODIES)
async def test_nobody_calls_without_a_key(gateway, path):
    model, body = BODIES[path]
    for key in ("", "Bearer sk-wrong"):
        response = await post(gateway, path, {"model": model, **body}, authorization=key)
        assert response.status_code == 401
        assert response.json()["error"]["message"]
    assert not gateway.upstream.requests


@pytest.mark.parametrize("path", BODIES)
async def test_a_body_that_is_no_object_is_a_bad_request(gateway, path):
    for content in (b"", b"[]", b"{", b'"text"', b"\xff"):
        response = await gateway.client()._client.post(
            f"{gateway.url}{path}",
            content=content,
            headers={"authorization": f"Bearer {gateway.key}"},
        )
        assert response.status_code == 400


@pytest.mark.parametrize("path", ASKED)
async def test_a_failing_provider_is_counted_against_its_breaker(gateway, path):
    model, body = BODIES[path]
    for _ in range(5):
        response = await post(gateway, path, {"model": "first/fault-500", **body})
        assert response.status_code == 502
    states = gateway.built.gateway._health.operator_breaker_states()
    assert states["first", "fault-500"] == "closed, open for 1 account"


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("path", CLIENTS)
def test_every_kind_of_fault_has_words_before_and_within_an_answer(path, kind):
    role = CLIENTS[path]
    fault = Fault(kind, f"about {kind}")
    response = role.error_response(fault, "id")
    assert response.status >= 400
    assert kind in response.body.decode()
    assert isinstance(decode_json(response.body), dict)
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
    sent = role.encoder(call, 0).feed([Frame((Started(),)), Frame((Failed(fault),))])
    assert f"about {kind}".encode() in sent


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
        words = role.error_from_response(503, {}, body)
        assert words.status == 503
        assert ("why" in words.message) is (b"why" in body)
