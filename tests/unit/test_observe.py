"""Bus, log and metrics: bounded, never in the way of a call, and without prompts or keys."""

import json
import os
import time

from prometheus_client.parser import text_string_to_metric_families

from gatewayz.core.calls import Attempt, Outcome
from gatewayz.core.facts import (
    AttemptEnded,
    BreakerMoved,
    CallEnded,
    CallRefused,
    Fact,
    ListingRead,
    Warned,
)
from gatewayz.core.faults import Fault, UpstreamError
from gatewayz.core.money import Nanos, Price
from gatewayz.core.usage import Usage
from gatewayz.observe.bus import FactBus
from gatewayz.observe.exposition import render_metrics
from gatewayz.observe.log import LogWriter, line_from_fact, readable_line
from gatewayz.observe.metrics import FAMILIES, MAX_MODEL_LABELS, Metrics
from tests.support.running_gateway import wait_until


def call_ended(model="m/m", **fields):
    outcome = Outcome(
        served="p",
        model=model,
        usage=Usage(input=5, cache_read=2, output=3, reasoning=1),
        cost=Nanos(1_500),
        duration_ms=20,
        first_event_ms=10,
        **fields,
    )
    return CallEnded(
        id="01",
        endpoint="/v1/chat/completions",
        dialect="openai_chat",
        model=model,
        streamed=True,
        account="a",
        key="k",
        received_ms=0,
        outcome=outcome,
    )


EVERY = [
    call_ended(),
    call_ended(fault="upstream_cut", message="sk-abcdefghijkl broke"),
    AttemptEnded(
        call="01",
        endpoint="/v1/chat/completions",
        attempt=Attempt(provider="p", model="m", upstream_id="u", fault="upstream_error"),
        failover=True,
    ),
    BreakerMoved(provider="p", subject="u", state="open"),
    CallRefused(id="02", endpoint="other", fault="unknown_route", status=404),
    Warned(subject="call_failed", message="Bearer abcdefghijklmnop"),
]


def test_what_is_exposed_is_what_prometheus_reads():
    metrics = Metrics()
    metrics.on_facts(EVERY)
    text = render_metrics(metrics.snapshot()).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert set(families) == set(FAMILIES)
    calls = {
        sample.labels["fault"]: sample.value
        for sample in families["gatewayz_calls"].samples
        if sample.name.endswith("_total")
    }
    assert calls == {"none": 1.0, "upstream_cut": 1.0}
    tokens = {
        sample.labels["type"]: sample.value
        for sample in families["gen_ai_client_token_usage"].samples
    }
    assert tokens == {"input": 10.0, "cache_read": 4.0, "output": 6.0, "reasoning": 2.0}
    buckets = families["gen_ai_server_time_to_first_token_seconds"].samples
    assert [sample.value for sample in buckets if sample.name.endswith("_count")] == [2.0]
    assert families["gatewayz_failovers"].samples[0].value == 1.0


def test_what_a_provider_says_a_call_cost_stands_beside_what_our_prices_say():
    metrics = Metrics()
    metrics.on_facts(
        [
            call_ended(
                upstream_cost_usd="0.000012",
                price=Price(input=1_000_000, output=2_000_000, markup_bp=5_000),
            ),
            call_ended(),
        ]
    )
    families = {
        family.name: family
        for family in text_string_to_metric_families(render_metrics(metrics.snapshot()).decode())
    }
    (theirs,), (ours,) = (
        families[name].samples
        for name in ("gatewayz_upstream_cost_usd", "gatewayz_compared_cost_usd")
    )
    assert (theirs.value, ours.value) == (0.000012, 0.000011)


def test_readings_of_listings_are_counted_and_logged(tmp_path):
    facts = [
        ListingRead(provider="p", models=3, prices=2, quarantined=1),
        ListingRead(provider="p", fault="upstream_timeout", message="too slow"),
        ListingRead(provider="q", doubted="the unit is in doubt"),
    ]
    metrics = Metrics()
    metrics.on_facts(facts)
    families = {
        family.name: family
        for family in text_string_to_metric_families(render_metrics(metrics.snapshot()).decode())
    }
    assert {
        (sample.labels["provider"], sample.labels["fault"]): sample.value
        for sample in families["gatewayz_listings_read"].samples
    } == {("p", "none"): 1.0, ("p", "upstream_timeout"): 1.0, ("q", "none"): 1.0}
    lines = [line for fact in facts if (line := line_from_fact(fact, "now")) is not None]
    assert [(line.level, line.event, line.message) for line in lines] == [
        ("info", "listing", "3 models, 2 prices, 1 quarantined"),
        ("warning", "listing", "too slow"),
        ("warning", "listing", "0 models, 0 prices, 0 quarantined; the unit is in doubt"),
    ]


def test_model_labels_are_bounded():
    metrics = Metrics()
    metrics.on_facts([call_ended(f"m/{number}") for number in range(MAX_MODEL_LABELS + 50)])
    text = render_metrics(metrics.snapshot()).decode()
    assert text.count("gatewayz_calls_total{") == MAX_MODEL_LABELS + 1
    assert 'model="other"' in text


def test_a_line_holds_what_is_allowed_and_hides_what_looks_like_a_key(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        writer = LogWriter(file.fileno())
        writer.on_facts(EVERY)
        writer.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["event"] for line in lines] == [
        "call",
        "call",
        "attempt_failed",
        "breaker",
        "refused",
        "call_failed",
    ]
    assert lines[0]["cost_usd"] == "0.0000015"
    assert lines[1]["message"] == "*** broke"
    assert lines[5]["message"] == "***"


def test_a_line_for_people_is_one_line_and_moves_no_cursor():
    for fact in EVERY:
        line = line_from_fact(fact, "2026-01-31T12:00:01.000+00:00")
        text = readable_line(line).decode()
        assert text.startswith("12:00:01 ")
        assert line.event in text
    hostile = CallRefused(
        id="1",
        endpoint="other",
        fault="unknown_route",
        status=404,
        path="/\x1b[2J\n12:00 call\u202e",
    )
    text = readable_line(line_from_fact(hostile, "2026-01-31T12:00:01.000+00:00")).decode()
    assert text.isprintable()
    assert "endpoint=/?[2J?12:00 call?" in text
    assert "status=404" in text


def test_a_sink_that_is_stuck_holds_nobody_up():
    read, write = os.pipe()
    writer = LogWriter(write, max_waiting=4)
    began = time.monotonic()
    for _ in range(200):
        writer.on_facts(EVERY * 20)
    assert time.monotonic() - began < 30
    assert writer.dropped > 0
    os.close(read)
    writer.close(0.5)
    os.close(write)


async def test_a_full_bus_drops_and_counts_and_an_observer_that_raises_is_contained():
    received: list[Fact] = []

    def broken(facts):
        raise ValueError("observer")

    bus = FactBus([broken, received.extend], max_facts=10)
    for _ in range(25):
        bus.emit(EVERY[0])
    await wait_until(lambda: received)
    assert len(received) == 10
    assert bus.dropped == 15
    assert bus.subscriber_errors == 1
    assert bus.last_error == "ValueError: observer"


def test_a_providers_own_words_are_with_the_attempt_and_in_no_log():
    fault = Fault(
        "upstream_error",
        "OpenAI failed",
        upstream=UpstreamError("openai_chat", 500, message="The server had an error"),
    )
    assert fault.whole_message == "OpenAI failed It said: The server had an error"
    row = Attempt(
        provider="p", model="m", upstream_id="u", fault=fault.kind, message=fault.whole_message
    )
    ended = AttemptEnded(call="1", endpoint="e", attempt=row, failover=False)
    assert line_from_fact(ended, "2026-01-31T12:00:01.000+00:00").message == "OpenAI failed"
    # What the fault says already is not said twice.
    same = UpstreamError("openai_chat", 400, message="No such tool")
    assert Fault("upstream_rejected", "No such tool", upstream=same).whole_message == "No such tool"
