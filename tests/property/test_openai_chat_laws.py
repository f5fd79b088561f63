"""Laws 1 to 5 for OpenAI Chat."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.core.conversation import Message, Reasoning, Text
from gatewayz.core.events import Failed, Frame, Kind, Stop
from gatewayz.core.grammar import violation
from gatewayz.core.replies import Block, Choice, Reply, fold, unfold
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.kit.base import EncodeTarget
from gatewayz.dialects.openai.chat.dropped import DROPPED
from tests.property.strategies import replies, requests, texts
from tests.support.chat_wire import (
    BODY,
    CLIENT,
    STREAM,
    UPSTREAM,
    call,
    encode,
    frames_of,
    reply_of,
)
from tests.support.examples import examples

cuts = st.lists(st.integers(0, 10**6), max_size=12)


@examples(500)
@given(replies())
def test_a_reply_spelled_as_a_stream_folds_to_itself(reply):
    events = list(unfold(reply))
    assert violation(events) == ""
    assert fold(events) == reply


@examples(2_000)
@given(requests())
def test_a_request_is_understood_as_it_was_spelled(request):
    draft = UPSTREAM.encode(
        request,
        EncodeTarget(provider="maker", upstream_id=request.model, streamed=request.streamed),
    )
    again = CLIENT.decode(json.dumps(draft.body).encode(), {})
    assert again == msgspec.structs.replace(request, wants_usage=request.streamed)


@examples(300)
@given(requests())
def test_extras_of_another_dialect_stay_behind_and_are_named(request):
    foreign = msgspec.structs.replace(request, dialect="elsewhere")
    draft = UPSTREAM.encode(
        foreign, EncodeTarget(provider="maker", upstream_id="m", streamed=False)
    )
    assert not set(request.extra) & set(draft.body)
    assert set(request.extra) <= set(draft.dropped)
    inner = {name for message in request.messages for name in message.extra}
    assert not inner & {name for message in draft.body["messages"] for name in message}
    assert inner <= set(draft.dropped)
    parts = [part for message in request.messages for part in message.parts]
    parts += [inside for part in parts for inside in getattr(part, "parts", ())]
    known = {*DROPPED, *request.extra, *inner}
    known |= {name for part in parts for name in getattr(part, "extra", {})}
    assert {name.partition(".")[0] for name in draft.dropped} <= known


@examples(300)
@given(st.sampled_from(["maker", "stranger"]), texts)
def test_no_seal_reaches_a_stranger(provider, thought):
    delta = {
        "role": "assistant",
        "reasoning": thought,
        "reasoning_details": [
            {"type": "reasoning.text", "text": thought, "signature": "SECRET-SEAL"},
            {"type": "reasoning.encrypted", "data": "SECRET-SEAL"},
        ],
    }
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
    }
    frames = frames_of(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    sent = b"".join(frame.source or b"" for frame in frames)
    assert b"gwz.maker.SECRET-SEAL" in sent
    assert sent.count(b"SECRET-SEAL") == sent.count(b"gwz.maker.SECRET-SEAL")
    details = json.loads(sent)["choices"][0]["delta"]["reasoning_details"]
    request = ChatRequest(
        dialect="openai_chat",
        model="m",
        messages=(Message("assistant", (Reasoning(thought, tuple(details)), Text("hi"))),),
    )
    body = json.dumps(
        UPSTREAM.encode(
            request, EncodeTarget(provider=provider, upstream_id="m", streamed=False)
        ).body
    )
    assert ("SECRET-SEAL" in body) == (provider == "maker")
    assert "gwz." not in body


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("provider", ["maker", "stranger"])
def test_the_seal_of_a_text_and_of_a_call_comes_back_to_its_maker_only(provider, streamed):
    reply = Reply(
        id="r",
        model="m",
        choices=(
            Choice(
                (
                    Block(Kind.TEXT, "hi", sealed="gwz.maker.TEXT-SEAL"),
                    Block(Kind.TOOL, "{}", "call_1", "weather", "gwz.maker.CALL-SEAL"),
                    Block(Kind.TOOL, "{}", "call_2", "clock"),
                ),
                Stop.TOOL,
            ),
        ),
    )
    choice = reply_of(
        encode(unfold(reply), streamed=streamed), STREAM if streamed else BODY
    ).choices[0]
    calls = [
        {
            "id": block.id,
            "type": "function",
            "function": {"name": block.name, "arguments": block.text},
            **seals_of(block.extra),
        }
        for block in choice.blocks
        if block.kind is Kind.TOOL
    ]
    turn = {
        "role": "assistant",
        "content": "hi",
        "tool_calls": calls,
        "extra_content": {"google": {"thought_signature": "gwz.maker.TEXT-SEAL"}},
    }
    request = CLIENT.decode(json.dumps({"model": "m", "messages": [turn]}).encode(), {})
    text, first, second = request.messages[0].parts
    assert (text.sealed, second.sealed) == ("gwz.maker.TEXT-SEAL", "")
    assert first.sealed.endswith("gwz.maker.CALL-SEAL")
    request = msgspec.structs.replace(
        request,
        messages=(
            Message(
                "assistant", (text, msgspec.structs.replace(first, sealed="gwz.maker.CALL-SEAL"))
            ),
        ),
    )
    body = json.dumps(
        UPSTREAM.encode(
            request, EncodeTarget(provider=provider, upstream_id="m", streamed=False)
        ).body
    )
    assert ("TEXT-SEAL" in body, "CALL-SEAL" in body) == (provider == "maker", provider == "maker")
    assert "gwz." not in body


def seals_of(extra):
    # The decoder of an upstream tags what its provider sealed, also what is tagged already.
    return {name: value for name, value in (extra or {}).items() if name == "extra_content"}


@examples(500)
@given(st.binary(max_size=400))
def test_no_body_of_a_client_is_anything_but_understood_or_refused(noise):
    from gatewayz.core.faults import Fault

    try:
        CLIENT.decode(noise, {})
    except Fault as fault:
        assert fault.rule.status == 400


def test_frames_before_a_failure_are_not_lost():
    good = encode(list(unfold(reply_of(hello_stream())))[:3], streamed=True)
    frames = frames_of(good + b'data: {"error": {"message": "late"}}\n\n')
    assert [type(event).__name__ for frame in frames for event in frame.events][-1] == "Failed"
    assert any(type(event).__name__ == "BlockDelta" for frame in frames for event in frame.events)


def hello_stream() -> bytes:
    return (
        b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
        b'"choices":[{"index":0,"delta":{"role":"assistant","content":"hello"},'
        b'"finish_reason":null}]}\n\n'
        b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
        b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        b"data: [DONE]\n\n"
    )


@pytest.mark.parametrize("model", ["family/model", 'with"quote', "ünï/çode"])
def test_the_echo_keeps_every_byte_but_id_and_model(model):
    wire = hello_stream().replace(
        b'"finish_reason"', b'"unknown": {"k": [1, 2.50]}, "finish_reason"'
    )
    encoder = CLIENT.encoder(call(streamed=True, model=model), 1)
    sent = b"".join(encoder.feed([frame]) for frame in frames_of(wire))
    expected = wire.replace(b'"model":"m"', b'"model":' + msgspec.json.encode(model))
    own_id = sent.partition(b'"id":"')[2].partition(b'"')[0]
    assert sent == expected.replace(b'"id":"c"', b'"id":"' + own_id + b'"')
    assert own_id.startswith(b"chatcmpl-")


def test_a_frame_that_is_only_usage_is_shown_only_to_who_asked():
    wire = hello_stream().replace(
        b"data: [DONE]",
        b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
        b'"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\ndata: [DONE]',
    )
    for wants in (True, False):
        encoder = CLIENT.encoder(call(streamed=True, wants_usage=wants), 1)
        sent = b"".join(encoder.feed([frame]) for frame in frames_of(wire))
        assert (b'"usage":{"prompt_tokens":3' in sent) == wants
        assert sent.endswith(b"data: [DONE]\n\n")


def test_a_failure_after_the_commit_is_an_error_chunk_and_no_done():
    from gatewayz.core.faults import Fault

    encoder = CLIENT.encoder(call(streamed=True), 1)
    encoder.feed(frames_of(hello_stream())[:1])
    sent = encoder.feed([Frame((Failed(Fault("upstream_cut", "cut")),))])
    last, error = (json.loads(event.removeprefix(b"data: ")) for event in sent.split(b"\n\n")[:2])
    assert error == {"error": last["error"]}
    assert last["choices"][0]["finish_reason"] == "error"
    assert last["error"]["code"] == "upstream_cut"
    assert b"[DONE]" not in sent
