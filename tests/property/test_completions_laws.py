"""Laws of completions: for any answer of any dialect, what is streamed adds up to the whole."""

import json

import msgspec
from hypothesis import given

from gatewayz.core.calls import Call, Principal, new_ulid
from gatewayz.core.events import Frame, Kind
from gatewayz.core.replies import unfold
from gatewayz.core.requests import ChatRequest
from gatewayz.dialects.openai.completions.dropped import DROPPED
from gatewayz.dialects.openai.completions.encoder import TEXT_KINDS
from gatewayz.dialects.registry import CLIENTS
from tests.property.strategies import replies

ROLE = CLIENTS["/v1/completions"]


def encode_reply(reply, *, streamed):
    request = ChatRequest(
        dialect="openai_completions", model="m", messages=(), streamed=streamed, wants_usage=True
    )
    call = Call(
        id=new_ulid(),
        endpoint="e",
        request=request,
        principal=Principal("a", "k"),
        received_at=0.0,
        received_ms=0,
        deadline=1e9,
    )
    encoder = ROLE.encoder(call, 0)
    return b"".join(encoder.feed([Frame((event,))]) for event in unfold(reply))


@given(replies())
def test_a_stream_adds_up_to_the_body(reply):
    whole = json.loads(encode_reply(reply, streamed=False))
    *events, done = encode_reply(reply, streamed=True).decode().split("\n\n")[:-1]
    assert done == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
        reasons[choice["index"]] = choice["finish_reason"] or reasons.get(choice["index"])
    assert [
        (choice["index"], choice["text"], choice["finish_reason"]) for choice in whole["choices"]
    ] == [(n, texts[n], reasons[n]) for n in sorted(texts)]
    assert [chunk["usage"] for chunk in chunks if "usage" in chunk] == (
        [whole["usage"]] if reply.usage is not None else []
    )


@given(replies())
def test_a_choice_says_its_words_and_nothing_that_a_completion_has_no_place_for(reply):
    whole = json.loads(encode_reply(reply, streamed=False))
    for choice, item in zip(reply.choices, whole["choices"], strict=True):
        assert item["text"] == "".join(
            block.text for block in choice.blocks if block.kind in TEXT_KINDS
        )
        assert item.keys() == {"text", "index", "logprobs", "finish_reason"}


@given(replies())
def test_what_is_declared_as_dropped_is_what_does_not_arrive(reply):
    without = tuple(
        msgspec.structs.replace(
            choice, blocks=tuple(block for block in choice.blocks if block.kind not in DROPPED)
        )
        for choice in reply.choices
    )
    bare = encode_reply(msgspec.structs.replace(reply, choices=without), streamed=False)
    first, second = json.loads(bare), json.loads(encode_reply(reply, streamed=False))
    assert first["choices"] == second["choices"]
    assert not set(DROPPED) & TEXT_KINDS
    assert {*DROPPED, *TEXT_KINDS} >= {kind for kind in Kind if kind not in {"vector", "count"}} - {
        "opaque"
    }
