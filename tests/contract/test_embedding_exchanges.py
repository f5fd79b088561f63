"""Every exchange about embeddings means what it says, in whichever form the client wants its vectors."""

import json

import pytest

from gatewayz.core.events import BlockDelta, Failed, UsageReported
from gatewayz.core.faults import Fault
from gatewayz.core.grammar import violation
from gatewayz.core.requests import EmbeddingRequest
from gatewayz.dialects.base import Answer, Asking
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.dialects.vectors import packed, unpacked
from gatewayz.providers.classify import classify
from gatewayz.providers.registry import providers_from, rows
from gatewayz.simulator.exchanges import exchange_names, load_exchange

PROVIDERS = providers_from(rows(), {}, {})
FOLDER = "openai_embeddings"


def heard(exchange, form, dialect=FOLDER):
    steps = UPSTREAMS[FOLDER].steps(
        EmbeddingRequest(dialect=dialect, model="m", texts=("text",), form=form),
        Asking(provider="p", upstream_id="m", streamed=False),
    )
    next(steps)
    [frame] = steps.send(Answer(200, {}, exchange.content()))
    return frame


@pytest.mark.parametrize("form", ["float", "base64"])
@pytest.mark.parametrize("name", exchange_names(FOLDER))
def test_an_exchange_about_embeddings_is_understood(name, form):
    exchange = load_exchange(name, FOLDER)
    means, fault, frame = exchange.means, None, None
    try:
        frame = heard(exchange, form)
    except Fault as met:
        fault = met
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
    assert vectors == (
        means["vectors"] if form == "float" else [packed(vector) for vector in means["vectors"]]
    )
    assert means.get("kept", "").encode() in frame.source
    said = [
        event.text
        for event in heard(exchange, form, "another").events
        if isinstance(event, BlockDelta)
    ]
    assert [unpacked(text) for text in said] == means["vectors"]
