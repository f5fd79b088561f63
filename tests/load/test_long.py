"""What takes minutes: many more examples of the laws, and streams of providers with their bytes changed at random."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from gatewayz.core.events import Failed, Finished
from gatewayz.core.grammar import violation
from gatewayz.simulator.exchanges import exchange_names, load_exchange
from tests.support.chat_wire import BODY, CLIENT, STREAM, call, events_of, frames_of
from tests.support.examples import examples

STREAMS = [load_exchange(name).content() for name in exchange_names() if load_exchange(name).frames]
changes = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.sampled_from(["flip", "drop", "double", "cut"]),
        st.integers(0, 255),
    ),
    max_size=6,
)


def changed(data, plan):
    for place, what, byte in plan:
        at = place % max(len(data), 1)
        data = {
            "flip": data[:at] + bytes([byte]) + data[at + 1 :],
            "drop": data[:at] + data[at + 9 :],
            "double": data[:at] + data[at : at + 40] + data[at:],
            "cut": data[:at],
        }[what]
    return data


@pytest.mark.long(reason="50,000 changed streams take minutes; run it with `make test-long`")
@examples(50_000, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(STREAMS), changes, st.lists(st.integers(0, 10**6), max_size=4))
def test_a_stream_with_changed_bytes_is_still_well_formed_and_ends(data, plan, cuts):
    wire = changed(data, plan)
    events = events_of(wire, STREAM, cuts)
    assert violation(events) == ""
    assert isinstance(events[-1], Failed | Finished)
    shown = CLIENT.encoder(call(streamed=True), 1).feed(frames_of(wire, STREAM, cuts))
    again = events_of(shown, STREAM)
    assert violation(again) == ""
    assert (b"[DONE]" in shown) == isinstance(events[-1], Finished)


@pytest.mark.long(reason="50,000 changed bodies take minutes; run it with `make test-long`")
@examples(50_000, suppress_health_check=list(HealthCheck))
@given(changes)
def test_a_body_with_changed_bytes_is_still_well_formed_and_ends(plan):
    body = load_exchange("ollama_body").content()
    events = events_of(changed(body, plan), BODY)
    assert violation(events) == ""
    assert isinstance(events[-1], Failed | Finished)
