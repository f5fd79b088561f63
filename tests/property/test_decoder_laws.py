"""Laws 1, 2, 4 and 5 of every upstream role: how an answer is cut or sent does not matter."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gatewayz.core.events import Failed, Kind, Stop
from gatewayz.core.grammar import violation
from gatewayz.core.replies import Block, Choice, Reply, fold
from gatewayz.dialects.kit.base import EncodeTarget
from gatewayz.dialects.registry import CLIENTS, UPSTREAMS
from tests.property.strategies import replies
from tests.support.chat_wire import BODY, CLIENT, STREAM, call, has_failed
from tests.support.examples import examples
from tests.support.reply_codecs import MAKER, REPLY_CODECS, decode_reply, normalise

EVERY = pytest.mark.parametrize("codec", REPLY_CODECS.values(), ids=REPLY_CODECS.keys())
cuts = st.lists(st.integers(0, 10**6), max_size=12)


@EVERY
@examples(1_000)
@given(reply=replies(), cut_places=cuts)
def test_the_cut_between_chunks_does_not_matter(codec, reply, cut_places):
    reply = codec.representable(reply)
    wire, choices = codec.stream(reply), len(reply.choices)
    events = codec.events(wire, streamed=True, cuts=cut_places, choices=choices)
    assert violation(events) == ""
    assert events == codec.events(wire, streamed=True, choices=choices)
    assert normalise(fold(events)) == normalise(reply)


@EVERY
@pytest.mark.parametrize(
    "client_codec",
    [item for item in REPLY_CODECS.values() if item.client],
    ids=lambda item: item.client,
)
@examples(300)
@given(
    reply=replies(), upstream_streams=st.booleans(), client_streams=st.booleans(), cut_places=cuts
)
def test_what_both_wires_can_say_crosses_whole_in_all_four_modes(
    codec, client_codec, reply, upstream_streams, client_streams, cut_places
):
    reply = client_codec.representable(codec.representable(reply))
    wire = codec.encode(reply, streamed=upstream_streams)
    frames = codec.frames(
        wire,
        streamed=upstream_streams,
        cuts=cut_places,
        choices=len(reply.choices),
        client=client_codec.dialect,
    )
    client_call = call(streamed=client_streams)
    sent = (
        CLIENTS[client_codec.client]
        .encoder(
            replace(
                client_call, request=replace(client_call.request, dialect=client_codec.dialect)
            ),
            1,
        )
        .feed(frames)
    )
    assert normalise(
        decode_reply(client_codec, sent, streamed=client_streams, choices=len(reply.choices))
    ) == normalise(reply)


@EVERY
@examples(600)
@given(reply=replies(), place=st.integers(0, 10**6))
def test_a_stream_that_stops_early_is_a_fault_and_never_a_reply(codec, reply, place):
    reply = codec.representable(reply)
    wire = codec.stream(reply)
    cut = place % len(wire)
    events = codec.events(wire[:cut], streamed=True, choices=len(reply.choices))
    assert violation(events) == ""
    assert has_failed(events) or wire[:cut].count(codec.stop_marker) >= len(reply.choices)


@EVERY
@examples(300)
@given(reply=replies(), place=st.integers(0, 10**6))
def test_a_body_that_stops_early_is_a_fault(codec, reply, place):
    wire = codec.body(codec.representable(reply))
    assert isinstance(codec.events(wire[: place % len(wire)], streamed=False)[-1], Failed)


@pytest.mark.parametrize(
    "dialect", [name for name, role in UPSTREAMS.items() if "chat" in role.serves]
)
@examples(600)
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
    cut_places=cuts,
)
def test_no_bytes_of_a_provider_break_a_decoder(dialect, noise, cut_places):
    from gatewayz.dialects.kit.base import DecodeOptions

    for kind, data in (
        (STREAM, noise),
        (BODY, noise),
        (STREAM, b"data: " + noise.replace(b"\n", b"") + b"\n\n"),
    ):
        decoder = UPSTREAMS[dialect].decoder(kind, DecodeOptions(provider=MAKER))
        events = [event for frame in decoder.feed(data) + decoder.close() for event in frame.events]
        assert violation(events) == ""


@examples(600)
@given(reply=replies(), streamed=st.booleans(), data=st.data())
def test_every_signature_of_gemini_leaves_tagged_and_with_its_own_block(reply, streamed, data):
    codec = REPLY_CODECS["gemini"]
    reply = codec.representable(reply)
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
    decoded = decode_reply(
        codec, codec.encode(reply, streamed=streamed), streamed=streamed, choices=len(choices)
    )
    expected = [
        [f"gwz.{MAKER}.{block.sealed}" if block.sealed else "" for block in choice.blocks]
        for choice in choices
    ]
    assert [[block.sealed for block in choice.blocks] for choice in decoded.choices] == expected
    sent = b"".join(
        CLIENT.encoder(call(streamed=streamed), 1).feed(
            codec.frames(
                codec.encode(reply, streamed=streamed), streamed=streamed, choices=len(choices)
            )
        )
        for _ in (0,)
    )
    assert len(re.findall(rb"SEAL-", sent)) == len(re.findall(rb"gwz\.maker\.SEAL-", sent))


def next_request(client_codec, body):
    """The request in which a client of this dialect sends the answer back."""
    answer = json.loads(body)
    turn = (
        {"role": "assistant", "content": answer["content"]}
        if client_codec.client == "/v1/messages"
        else answer["choices"][0]["message"]
    )
    messages = [{"role": "user", "content": "hi"}, turn, {"role": "user", "content": "go on"}]
    return CLIENTS[client_codec.client].decode(
        json.dumps({"model": "m", "max_tokens": 9, "messages": messages}).encode(), {}
    )


@pytest.mark.parametrize(
    "client_codec",
    [item for item in REPLY_CODECS.values() if item.client],
    ids=lambda item: item.client,
)
@pytest.mark.parametrize("provider", [MAKER, "stranger"])
@examples(300)
@given(
    thought=st.booleans(),
    signed=st.sets(st.sampled_from(["text", "call_0", "call_1"])),
    calls=st.integers(0, 2),
)
def test_geminis_signatures_come_back_on_their_own_parts_through_every_client(
    provider, client_codec, thought, signed, calls
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
    gemini = REPLY_CODECS["gemini"]
    client_call = call(streamed=False)
    encoder = CLIENTS[client_codec.client].encoder(
        replace(client_call, request=replace(client_call.request, dialect=client_codec.dialect)), 1
    )
    sent = encoder.feed(
        gemini.frames(gemini.body(reply), streamed=False, client=client_codec.dialect)
    )
    draft = UPSTREAMS["gemini"].encode(
        next_request(client_codec, sent),
        EncodeTarget(provider=provider, upstream_id="gemini-2.5-pro", streamed=False),
    )
    parts = next(content for content in draft.body["contents"] if content["role"] == "model")[
        "parts"
    ]
    decoded = {
        (
            "thought" if part.get("thought") else part.get("functionCall", {}).get("id", "text")
        ): part.get("thoughtSignature")
        for part in parts
    }
    expected = {
        block.id or ("thought" if block.kind is Kind.REASONING else "text"): block.sealed or None
        for block in blocks
    }
    if provider == MAKER:
        assert decoded == expected
    else:
        assert decoded == {name: None for name in expected if name != "thought"}
        assert ("seal" in draft.dropped) == any(expected.values())
    assert "gwz." not in json.dumps(draft.body)
