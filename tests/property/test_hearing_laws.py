"""Laws 1, 2, 4 and 5 for every upstream role: how an answer is heard does not depend on how it is cut, sent or asked for."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gatewayz.core.events import Failed, Kind, Stop
from gatewayz.core.grammar import violation
from gatewayz.core.replies import Block, Choice, Reply, fold
from gatewayz.dialects.base import Asking
from gatewayz.dialects.registry import CLIENTS, UPSTREAMS
from tests.property.strategies import replies
from tests.support.speakers import MAKER, SPEAKERS, heard, plain
from tests.support.wires import BODY, CLIENT, STREAM, call, failed

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
@pytest.mark.parametrize(
    "listener", [one for one in SPEAKERS.values() if one.client], ids=lambda one: one.client
)
@settings(max_examples=300)
@given(reply=replies(), upstream_streams=st.booleans(), client_streams=st.booleans(), places=cuts)
def test_what_both_wires_can_say_crosses_whole_in_all_four_modes(
    speaker, listener, reply, upstream_streams, client_streams, places
):
    reply = listener.carried(speaker.carried(reply))
    wire = speaker.spelled(reply, streamed=upstream_streams)
    frames = speaker.frames(
        wire,
        streamed=upstream_streams,
        cuts=places,
        choices=len(reply.choices),
        client=listener.dialect,
    )
    asked = call(streamed=client_streams)
    shown = (
        CLIENTS[listener.client]
        .encoder(replace(asked, request=replace(asked.request, dialect=listener.dialect)), 1)
        .feed(frames)
    )
    assert plain(
        heard(listener, shown, streamed=client_streams, choices=len(reply.choices))
    ) == plain(reply)


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


@pytest.mark.parametrize(
    "dialect", [name for name, role in UPSTREAMS.items() if "chat" in role.serves]
)
@settings(max_examples=600)
@given(
    noise=st.binary(max_size=400)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "candidates",
                        "content",
                        "parts",
                        "error",
                        "usage",
                        "index",
                        "finishReason",
                        "text",
                        "type",
                        "delta",
                        "message",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    places=cuts,
)
def test_no_bytes_of_a_provider_break_a_decoder(dialect, noise, places):
    from gatewayz.dialects.base import Reading

    for kind, data in (
        (STREAM, noise),
        (BODY, noise),
        (STREAM, b"data: " + noise.replace(b"\n", b"") + b"\n\n"),
    ):
        decoder = UPSTREAMS[dialect].decoder(kind, Reading(provider=MAKER))
        events = [event for frame in decoder.feed(data) + decoder.close() for event in frame.events]
        assert violation(events) == ""


@settings(max_examples=600)
@given(reply=replies(), streamed=st.booleans(), data=st.data())
def test_every_signature_of_gemini_leaves_tagged_and_with_its_own_block(reply, streamed, data):
    speaker = SPEAKERS["gemini"]
    reply = speaker.carried(reply)
    number = iter(range(1000))
    choices = tuple(
        replace(
            choice,
            blocks=tuple(
                replace(block, sealed=f"SEAL-{next(number)}" if data.draw(st.booleans()) else "")
                for block in choice.blocks
            ),
        )
        for choice in reply.choices
    )
    reply = replace(reply, choices=choices)
    found = heard(
        speaker, speaker.spelled(reply, streamed=streamed), streamed=streamed, choices=len(choices)
    )
    want = [
        [f"gwz.{MAKER}.{block.sealed}" if block.sealed else "" for block in choice.blocks]
        for choice in choices
    ]
    assert [[block.sealed for block in choice.blocks] for choice in found.choices] == want
    shown = b"".join(
        CLIENT.encoder(call(streamed=streamed), 1).feed(
            speaker.frames(
                speaker.spelled(reply, streamed=streamed), streamed=streamed, choices=len(choices)
            )
        )
        for _ in (0,)
    )
    assert len(re.findall(rb"SEAL-", shown)) == len(re.findall(rb"gwz\.maker\.SEAL-", shown))


def _again(listener, body):
    """The request in which a client of this dialect sends the answer back."""
    answer = json.loads(body)
    turn = (
        {"role": "assistant", "content": answer["content"]}
        if listener.client == "/v1/messages"
        else answer["choices"][0]["message"]
    )
    messages = [{"role": "user", "content": "hi"}, turn, {"role": "user", "content": "go on"}]
    return CLIENTS[listener.client].decode(
        json.dumps({"model": "m", "max_tokens": 9, "messages": messages}).encode(), {}
    )


@pytest.mark.parametrize(
    "listener", [one for one in SPEAKERS.values() if one.client], ids=lambda one: one.client
)
@pytest.mark.parametrize("provider", [MAKER, "stranger"])
@settings(max_examples=300)
@given(
    thought=st.booleans(),
    signed=st.sets(st.sampled_from(["text", "call_0", "call_1"])),
    calls=st.integers(0, 2),
)
def test_geminis_signatures_come_back_on_their_own_parts_through_every_client(
    provider, listener, thought, signed, calls
):
    def seal(name):
        return f"SEAL-{name}" if name in signed else ""

    blocks = [Block(Kind.REASONING, "hm", sealed="SEAL-thought")] if thought else []
    blocks += [Block(Kind.TEXT, "said", sealed=seal("text"))]
    blocks += [
        Block(Kind.TOOL, "{}", f"call_{number}", "weather", seal(f"call_{number}"))
        for number in range(calls)
    ]
    reply = Reply(
        id="r", model="m", choices=(Choice(tuple(blocks), Stop.TOOL if calls else Stop.END),)
    )
    gemini = SPEAKERS["gemini"]
    asked = call(streamed=False)
    encoder = CLIENTS[listener.client].encoder(
        replace(asked, request=replace(asked.request, dialect=listener.dialect)), 1
    )
    shown = encoder.feed(gemini.frames(gemini.body(reply), streamed=False, client=listener.dialect))
    draft = UPSTREAMS["gemini"].encode(
        _again(listener, shown),
        Asking(provider=provider, upstream_id="gemini-2.5-pro", streamed=False),
    )
    parts = next(content for content in draft.body["contents"] if content["role"] == "model")[
        "parts"
    ]
    found = {
        (
            "thought" if part.get("thought") else part.get("functionCall", {}).get("id", "text")
        ): part.get("thoughtSignature")
        for part in parts
    }
    want = {
        block.id or ("thought" if block.kind is Kind.REASONING else "text"): block.sealed or None
        for block in blocks
    }
    if provider == MAKER:
        assert found == want
    else:
        assert found == {name: None for name in want if name != "thought"}
        assert ("seal" in draft.dropped) == any(want.values())
    assert "gwz." not in json.dumps(draft.body)
