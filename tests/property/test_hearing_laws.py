"""Laws 1, 2, 4 and 5 for every upstream role: how an answer is heard does not depend on how it is cut, sent or asked for."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewayz.core.events import Failed
from gatewayz.core.grammar import violation
from gatewayz.core.replies import fold
from gatewayz.dialects.registry import UPSTREAMS
from tests.property.strategies import replies
from tests.support.speakers import MAKER, SPEAKERS, heard, plain
from tests.support.wires import BODY, CLIENT, STREAM, call, failed, reply_of

EVERY = pytest.mark.parametrize("speaker", SPEAKERS.values(), ids=SPEAKERS.keys())
cuts = st.lists(st.integers(0, 10**6), max_size=12)


@EVERY
@settings(max_examples=1_000)
@given(reply=replies(), places=cuts)
def test_the_cut_between_chunks_does_not_matter(speaker, reply, places):
    reply = speaker.carried(reply)
    wire, choices = speaker.stream(reply), len(reply.choices)
    events = speaker.events(wire, streamed=True, cuts=places, choices=choices)
    assert violation(events) == ""
    assert events == speaker.events(wire, streamed=True, choices=choices)
    assert plain(fold(events)) == plain(reply)


@EVERY
@settings(max_examples=600)
@given(reply=replies(), upstream_streams=st.booleans(), client_streams=st.booleans(), places=cuts)
def test_the_four_modes_agree(speaker, reply, upstream_streams, client_streams, places):
    reply = speaker.carried(reply)
    wire = speaker.spelled(reply, streamed=upstream_streams)
    frames = speaker.frames(wire, streamed=upstream_streams, cuts=places, choices=len(reply.choices))
    shown = CLIENT.encoder(call(streamed=client_streams), 1).feed(frames)
    assert plain(reply_of(shown, STREAM if client_streams else BODY, choices=len(reply.choices))) == plain(reply)


@EVERY
@settings(max_examples=600)
@given(reply=replies(), place=st.integers(0, 10**6))
def test_a_stream_that_stops_early_is_a_fault_and_never_a_reply(speaker, reply, place):
    reply = speaker.carried(reply)
    wire = speaker.stream(reply)
    cut = place % len(wire)
    events = speaker.events(wire[:cut], streamed=True, choices=len(reply.choices))
    assert violation(events) == ""
    assert failed(events) or wire[:cut].count(speaker.ends) >= len(reply.choices)


@EVERY
@settings(max_examples=300)
@given(reply=replies(), place=st.integers(0, 10**6))
def test_a_body_that_stops_early_is_a_fault(speaker, reply, place):
    wire = speaker.body(speaker.carried(reply))
    assert isinstance(speaker.events(wire[: place % len(wire)], streamed=False)[-1], Failed)


@pytest.mark.parametrize("dialect", [name for name, role in UPSTREAMS.items() if "chat" in role.serves])
@settings(max_examples=600)
@given(noise=st.binary(max_size=400) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["choices", "candidates", "content", "parts", "error", "usage", "index", "finishReason", "text", "type", "delta", "message"]),
        inner, max_size=4), max_leaves=12).map(lambda value: json.dumps(value).encode()), places=cuts)
def test_no_bytes_of_a_provider_break_a_decoder(dialect, noise, places):
    from gatewayz.dialects.base import Reading

    for kind, data in ((STREAM, noise), (BODY, noise), (STREAM, b"data: " + noise.replace(b"\n", b"") + b"\n\n")):
        decoder = UPSTREAMS[dialect].decoder(kind, Reading(provider=MAKER))
        events = [event for frame in decoder.feed(data) + decoder.close() for event in frame.events]
        assert violation(events) == ""


@settings(max_examples=600)
@given(reply=replies(), streamed=st.booleans(), data=st.data())
def test_every_signature_of_gemini_leaves_tagged_and_with_its_own_block(reply, streamed, data):
    from msgspec.structs import replace

    speaker = SPEAKERS["gemini"]
    reply = speaker.carried(reply)
    number = iter(range(1000))
    choices = tuple(replace(choice, blocks=tuple(
        replace(block, sealed=f"SEAL-{next(number)}" if data.draw(st.booleans()) else "") for block in choice.blocks)) for choice in reply.choices)
    reply = replace(reply, choices=choices)
    found = heard(speaker, speaker.spelled(reply, streamed=streamed), streamed=streamed, choices=len(choices))
    want = [[f"gwz.{MAKER}.{block.sealed}" if block.sealed else "" for block in choice.blocks] for choice in choices]
    assert [[block.sealed for block in choice.blocks] for choice in found.choices] == want
    shown = b"".join(CLIENT.encoder(call(streamed=streamed), 1).feed(
        speaker.frames(speaker.spelled(reply, streamed=streamed), streamed=streamed, choices=len(choices))) for _ in (0,))
    assert len(re.findall(rb"SEAL-", shown)) == len(re.findall(rb"gwz\.maker\.SEAL-", shown))
