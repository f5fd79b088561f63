"""What a client of Anthropic's gets: the echo to the byte, events in order, and seals."""

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.core.conversation import Text, ToolCall
from gatewayz.core.events import (
    FINISHED,
    BlockDelta,
    BlockEnded,
    BlockStarted,
    ChoiceEnded,
    Event,
    Failed,
    Frame,
    Kind,
    Started,
    Stop,
    UsageReported,
)
from gatewayz.core.faults import Fault
from gatewayz.core.replies import Block, Choice, Reply, fold, unfold
from gatewayz.core.requests import ChatRequest
from gatewayz.core.usage import Usage
from gatewayz.dialects.kit.base import DecodeOptions
from gatewayz.dialects.kit.sequencer import Sequencer
from gatewayz.dialects.registry import CLIENTS, UPSTREAMS
from gatewayz.simulator.exchanges import exchange_names, load_exchange
from tests.property.strategies import replies
from tests.support.chat_wire import BODY, STREAM, call
from tests.support.examples import examples

NAME = "anthropic_messages"
CLIENT, UPSTREAM = CLIENTS["/v1/messages"], UPSTREAMS[NAME]
STREAMS = [
    name
    for name in exchange_names(NAME)
    if load_exchange(name, NAME).frames is not None
    and "fault" not in load_exchange(name, NAME).means
]
BODIES = [
    name
    for name in exchange_names(NAME)
    if load_exchange(name, NAME).status == 200
    and "text" in load_exchange(name, NAME).means
    and load_exchange(name, NAME).frames is None
]


def asked(*, streamed):
    one = call(streamed=streamed)
    return msgspec.structs.replace(one, request=msgspec.structs.replace(one.request, dialect=NAME))


def frames_of(data, kind=STREAM):
    decoder = UPSTREAM.decoder(kind, DecodeOptions(provider="maker"))
    return decoder.feed(data) + decoder.close()


def encoded(frames, *, streamed=True):
    encoder = CLIENT.encoder(asked(streamed=streamed), 1)
    return b"".join(encoder.feed([frame]) for frame in frames)


def events_in(wire):
    return [json.loads(data) for data in re.findall(rb"^data: (.*)$", wire, re.MULTILINE)]


def tagged(text):
    """What the gateway may change in a wire: the seals, and the client's id and model."""
    text = re.sub(
        rb'"(signature|encrypted_content|encrypted_index)":\s*"([^"]+)"',
        rb'"\1": "gwz.maker.\2"',
        text,
    )
    return re.sub(rb'("redacted_thinking", "data"): "', rb'\1: "gwz.maker.', text)


@pytest.mark.parametrize("name", STREAMS)
def test_the_echo_of_a_stream_keeps_every_byte_but_id_model_and_seals(name):
    wire = load_exchange(name, NAME).content()
    shown = encoded(frames_of(wire))
    before, after = wire.split(b"\n\n"), shown.split(b"\n\n")
    assert len(before) == len(after)
    for sent, got in zip(before, after, strict=True):
        if b"message_start" in sent:
            message = json.loads(got.partition(b"data: ")[2])["message"]
            assert message["id"].startswith("msg_0")
            assert message["model"] == "family/model"
            head = json.loads(sent.partition(b"data: ")[2])["message"]
            assert {**message, "id": head["id"], "model": head["model"]} == head
        elif sent != got:
            assert b"gwz.maker." in got
            assert json.loads(got.partition(b"data: ")[2]) == json.loads(
                tagged(sent).partition(b"data: ")[2]
            )


@pytest.mark.parametrize("name", BODIES)
def test_the_echo_of_a_body_keeps_every_field_but_id_model_and_seals(name):
    body = json.dumps(load_exchange(name, NAME).body).encode()
    shown = json.loads(encoded(frames_of(body, BODY), streamed=False))
    assert shown.pop("model") == "family/model"
    assert shown.pop("id").startswith("msg_0")
    want = json.loads(tagged(body))
    assert shown == {name: value for name, value in want.items() if name not in {"id", "model"}}


def opened(content):
    """The blocks with their seals as their maker spelled them, however often they were tagged."""
    return json.loads(json.dumps(content).replace("gwz.maker.", "").replace("redacted:", ""))


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_folds_to_what_a_body_would_have_said(name):
    wire = load_exchange(name, NAME).content()
    body = json.loads(
        encoded(
            [msgspec.structs.replace(frame, source=None) for frame in frames_of(wire)],
            streamed=False,
        )
    )
    again = json.loads(encoded(frames_of(json.dumps(body).encode(), BODY), streamed=False))
    assert opened(body["content"]) == opened(again["content"])
    assert (
        body["stop_reason"]
        == json.loads(re.findall(rb'data: (\{"type": "message_delta".*\})', wire)[-1])["delta"][
            "stop_reason"
        ]
    )


def test_the_cost_stands_beside_the_last_usage_where_it_is_known():
    frames = [
        msgspec.structs.replace(
            frame,
            events=tuple(
                msgspec.structs.replace(event, cost=1_234_567)
                if isinstance(event, UsageReported)
                else event
                for event in frame.events
            ),
        )
        for frame in frames_of(load_exchange("stream_basic", NAME).content())
    ]
    ends = [event for event in events_in(encoded(frames)) if event["type"] == "message_delta"]
    assert [event["usage"] for event in ends] == [{"output_tokens": 15, "cost": 0.001234567}]


@examples(400)
@given(replies(), st.data())
def test_events_come_in_the_one_order_and_blocks_one_at_a_time(reply, data):
    events = data.draw(shuffled(reply))
    shown = events_in(encoded([Frame((event,)) for event in events]))
    kinds = [event["type"] for event in shown]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    running = None
    for event in shown[1:-2]:
        if event["type"] == "content_block_start":
            assert running is None
            running = event["index"]
        assert event["index"] == running
        running = None if event["type"] == "content_block_stop" else running
    starts = [event["index"] for event in shown if event["type"] == "content_block_start"]
    assert starts == list(range(len(starts)))


@st.composite
def shuffled(draw, reply):
    """The events of a reply with its blocks side by side, as parallel calls stream."""
    first = next(unfold(reply))
    tracks: dict[int, list[Event]] = {}
    for event in unfold(reply):
        if isinstance(event, BlockStarted | BlockDelta | BlockEnded):
            tracks.setdefault(event.block, []).append(event)
    rest = [
        event
        for event in unfold(reply)
        if not isinstance(event, Started | BlockStarted | BlockDelta | BlockEnded)
    ]
    mixed = []
    while tracks:
        block = draw(st.sampled_from(sorted(tracks)))
        mixed.append(tracks[block].pop(0))
        if not tracks[block]:
            del tracks[block]
    return [first, *mixed, *rest]


@examples(600)
@given(replies(), st.data())
def test_the_sequencer_loses_nothing_of_the_first_choice_and_keeps_each_blocks_order(reply, data):
    events = data.draw(shuffled(reply))
    sequencer = Sequencer()
    released = [one for event in events for one in sequencer.feed(event)]
    running = None
    for event in released:
        match event:
            case BlockStarted(block=block):
                assert running is None
                running = block
            case BlockDelta(block=block):
                assert block == running
            case BlockEnded(block=block):
                assert block == running
                running = None
    first = Reply(id=reply.id, model=reply.model, choices=reply.choices[:1])
    blocks = sorted(
        (block.kind, block.id, block.text) for block in fold(released).choices[0].blocks
    )
    assert blocks == sorted((block.kind, block.id, block.text) for block in first.choices[0].blocks)


def test_a_call_that_is_whole_is_closed_when_the_next_starts_and_flows_on():
    first, second = BlockStarted(0, Kind.TOOL, "a", "f"), BlockStarted(1, Kind.TOOL, "b", "g")
    sequencer = Sequencer()
    released = [
        sequencer.feed(event)
        for event in (
            first,
            BlockDelta(0, '{"x": 1}'),
            second,
            BlockDelta(1, '{"y"'),
            BlockEnded(0, "gwz.maker.SEAL"),
            BlockDelta(1, ": 2}"),
            BlockEnded(1),
        )
    ]
    assert released[2] == [BlockEnded(0), second]
    assert released[3] == [BlockDelta(1, '{"y"')]
    assert released[4] == []
    assert sequencer.feed(ChoiceEnded(0, Stop.TOOL)) == [
        BlockEnded(0, "gwz.maker.SEAL"),
        ChoiceEnded(0, Stop.TOOL),
    ]


@pytest.mark.parametrize("streamed", [True, False])
def test_seals_of_texts_and_calls_travel_beside_them_and_come_back_on_them(streamed):
    blocks = (
        Block(Kind.TEXT, "hi", sealed="gwz.maker.TEXT"),
        Block(Kind.TOOL, "{}", "call:1", "f", "gwz.maker.CALL"),
        Block(Kind.TOOL, "{}", "call:2", "f"),
    )
    shown = encoded(
        [
            Frame((event,))
            for event in unfold(Reply(id="", model="", choices=(Choice(blocks, Stop.TOOL),)))
        ],
        streamed=streamed,
    )
    content = (
        [
            event["content_block"]
            for event in events_in(shown)
            if event["type"] == "content_block_start"
        ]
        if streamed
        else json.loads(shown)["content"]
    )
    assert [block["type"] for block in content] == [
        "text",
        "redacted_thinking",
        "tool_use",
        "redacted_thinking",
        "tool_use",
    ]
    turn = [{**block, "text": "hi"} if block["type"] == "text" else block for block in content]
    body = {
        "model": "m",
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": turn}],
    }
    request = CLIENT.decode(json.dumps(body).encode(), {})
    assert isinstance(request, ChatRequest)
    seals = [part.sealed for part in request.messages[1].parts if isinstance(part, Text | ToolCall)]
    assert seals == ["gwz.maker.TEXT", "gwz.maker.CALL", ""]


def test_an_answer_that_is_broken_off_after_an_echo_ends_in_order():
    encoder = CLIENT.encoder(asked(streamed=True), 1)
    wire = load_exchange("stream_tool_use", NAME).content()
    shown = b"".join(encoder.feed([frame]) for frame in frames_of(wire)[:7])
    usage = UsageReported(Usage(input=5, output=3), cost=10, final=True)
    shown += encoder.feed(
        [Frame((BlockEnded(1), ChoiceEnded(0, Stop.LENGTH, "length"))), Frame((usage,)), FINISHED]
    )
    ends = events_in(shown)[-3:]
    assert [event["type"] for event in ends] == [
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert ends[0]["index"] == 1
    assert ends[1]["delta"]["stop_reason"] == "max_tokens"
    assert ends[1]["usage"]["output_tokens"] == 3


def test_a_failure_within_a_stream_is_an_error_event_in_the_providers_words():
    frames = frames_of(load_exchange("error_mid_stream", NAME).content())
    failed = frames[-1].events[-1]
    assert isinstance(failed, Failed)
    fault = Fault("upstream_overloaded", "told otherwise", upstream=failed.fault.upstream)
    shown = encoded([*frames[:-1], Frame((Failed(fault),))])
    assert shown.endswith(b"\n\n")
    assert b"event: error\ndata: " in shown
    last = events_in(shown)[-1]
    assert last["error"] == {"type": "overloaded_error", "message": "Overloaded"}
    assert last["request_id"]
    assert b"message_stop" not in shown
