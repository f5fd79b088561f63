"""Every exchange about embeddings is understood, in whichever form the client wants its vectors."""

import json
from typing import Any

import pytest

from gatewayz.core.events import BlockDelta, Failed, UsageReported
from gatewayz.core.faults import Fault
from gatewayz.core.grammar import violation
from gatewayz.core.requests import EmbeddingRequest
from gatewayz.dialects.kit.base import EncodeTarget, UpstreamAnswer
from gatewayz.dialects.kit.vectors import pack_floats
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.providers.error_classes import classify
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.simulator.exchanges import exchange_names, load_exchange

PROVIDERS = providers_from(provider_rows(), {}, {})
FOLDER = "openai_embeddings"


def frame_of(exchange, encoding, dialect=FOLDER):
    steps = UPSTREAMS[FOLDER].steps(
        EmbeddingRequest(dialect=dialect, model="m", texts=("text",), output_encoding=encoding),
        EncodeTarget(provider="p", upstream_id="m", streamed=False),
    )
    next(steps)
    frames: Any = steps.send(UpstreamAnswer(200, {}, exchange.content()))
    [frame] = frames
    return frame


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("name", exchange_names(FOLDER))
def test_an_exchange_about_embeddings_is_understood(name, encoding):
    exchange = load_exchange(name, FOLDER)
    means, fault, frame = exchange.means, None, None
    try:
        frame = frame_of(exchange, encoding)
    except Fault as raised:
        fault = raised
    if frame is not None:
        assert violation(frame.events) == ""
        last = frame.events[-1]
        if isinstance(last, Failed):
            fault = classify(PROVIDERS[exchange.provider], last.fault.upstream)
    assert (fault.kind if fault else None) == means.get("fault")
    if fault is not None:
        return
    [report] = [event for event in frame.events if isinstance(event, UsageReported)]
    assert {
        bucket: getattr(report.usage, bucket) for bucket in means.get("usage", {})
    } == means.get("usage", {})
    assert report.usage.estimated is means.get("estimated", False)
    assert report.cost_usd == means.get("cost_usd", "")
    vectors = [item["embedding"] for item in json.loads(frame.source)["data"]]
    expected = means["vectors"]
    if encoding == "base64":
        expected = [pack_floats(vector) for vector in expected]
    assert vectors == expected
    assert means.get("kept", "").encode() in frame.source
    events = frame_of(exchange, encoding, "another").events
    texts = [event.text for event in events if isinstance(event, BlockDelta)]
    assert [json.loads(text) for text in texts] == expected
