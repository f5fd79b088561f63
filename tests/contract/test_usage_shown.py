"""Usage as clients are shown it: what is charged, in every place where their SDK reads it."""

import json
import re

import pytest
from msgspec.structs import replace

from gatewayz.catalog.offers import Offer
from gatewayz.catalog.operator_models import parse_price
from gatewayz.core.calls import Call, Principal, new_ulid
from gatewayz.core.conversation import Message, Text
from gatewayz.core.events import Frame, UsageReported
from gatewayz.core.requests import ChatRequest, EmbeddingRequest
from gatewayz.core.usage import Usage
from gatewayz.dialects.openai.embeddings.decoder import frames_from_body
from gatewayz.dialects.openai.embeddings.encoder import EmbeddingsBodyEncoder
from gatewayz.dialects.registry import CLIENTS, UPSTREAMS
from gatewayz.engine.usage_meter import UsageMeter
from tests.contract.test_usage_places import (
    BODIES,
    BODY,
    CHAT_USAGE,
    END,
    GEMINI_USAGE,
    OPTIONS,
    STREAM,
    TEXT,
    ZEROS,
    chunk,
    messages_stream,
    response,
    sse,
)


def call_of(client, dialect, *, streamed):
    request = ChatRequest(
        dialect=dialect,
        model="m",
        messages=(Message("user", (Text("q"),)),),
        streamed=streamed,
        wants_usage=True,
    )
    return Call(
        id=new_ulid(),
        endpoint=client,
        principal=Principal("a", "k"),
        request=request,
        received_at=0.0,
        received_ms=0,
        deadline=1e9,
    )


def echo(client, dialect, content_type, body, *reports, streamed):
    """What a client of the same dialect is sent, with these reports put before the end."""
    encoder = CLIENTS[client].encoder(call_of(client, dialect, streamed=streamed), 1)
    decoder = UPSTREAMS[dialect].decoder(content_type, OPTIONS)
    frames = [*decoder.feed(body), *decoder.close()]
    end = frames[-1]
    frames[-1] = Frame((*end.events[:-1], *reports, end.events[-1]), end.source, end.whole)
    return encoder.feed(frames)


ESTIMATE = UsageReported(Usage(input=4, output=3, estimated=True), cost=10_000, final=True)
SHOWN = [
    ("/v1/chat/completions", "openai_chat", STREAM, sse([TEXT, END])),
    ("/v1/chat/completions", "openai_chat", BODY, json.dumps(BODIES["openai_chat"](None)).encode()),
    (
        "/v1/chat/completions",
        "openai_chat",
        BODY,
        json.dumps(BODIES["openai_chat"](ZEROS)).encode(),
    ),
    ("/v1/chat/completions", "gemini", STREAM, sse([response("Hello", "STOP")])),
    ("/v1/messages", "anthropic_messages", STREAM, sse(messages_stream({}, {}))),
    (
        "/v1/messages",
        "anthropic_messages",
        STREAM,
        sse(messages_stream({"usage": None}, {"usage": None})),
    ),
    (
        "/v1/messages",
        "anthropic_messages",
        BODY,
        json.dumps(BODIES["anthropic_messages"](None)).encode(),
    ),
    ("/v1/messages", "openai_chat", STREAM, sse([TEXT, END])),
]


@pytest.mark.parametrize(
    ("client", "dialect", "content_type", "body"), SHOWN, ids=range(len(SHOWN))
)
def test_an_estimate_is_shown_where_it_is_charged(client, dialect, content_type, body):
    shown = echo(client, dialect, content_type, body, ESTIMATE, streamed=content_type == STREAM)
    usages = re.findall(rb'"usage":(\{(?:[^{}]|\{[^{}]*\})*\})', shown)
    usage = json.loads(usages[-1])
    words = (
        ("input_tokens", "output_tokens")
        if client == "/v1/messages"
        else ("prompt_tokens", "completion_tokens")
    )
    assert [usage[word] for word in words] == [4, 3]
    assert usage["estimated"] is True
    assert usage["cost"] == 0.00001


@pytest.mark.parametrize(
    "documents", [messages_stream({}, {}), messages_stream({"usage": None}, {"usage": None})]
)
def test_a_message_without_usage_has_one_in_every_event_that_the_sdk_reads(documents):
    shown = echo("/v1/messages", "anthropic_messages", STREAM, sse(documents), streamed=True)
    events = [json.loads(line[6:]) for line in shown.splitlines() if line.startswith(b"data: ")]
    assert [one["type"] for one in events] == [one["type"] for one in documents]
    assert events[0]["message"]["usage"]["input_tokens"] == 0
    assert (
        next(one for one in events if one["type"] == "message_delta")["usage"]["output_tokens"] == 0
    )


LESS_LATER = {
    "less of the prompt": ({"input_tokens": 90}, {"input_tokens": 9, "output_tokens": 4}),
    "none of it": ({"input_tokens": 90}, {"input_tokens": 0, "output_tokens": 4}),
    "less from the cache": (
        {"input_tokens": 9, "cache_read_input_tokens": 80},
        {"input_tokens": 9, "cache_read_input_tokens": 7, "output_tokens": 4},
    ),
    "less written to it": (
        {"input_tokens": 9, "cache_creation_input_tokens": 80},
        {"input_tokens": 9, "cache_creation_input_tokens": 0, "output_tokens": 4},
    ),
}


@pytest.mark.parametrize("case", LESS_LATER)
def test_a_message_that_says_less_at_its_end_is_shown_as_it_is_charged(case):
    start, end = LESS_LATER[case]
    documents = messages_stream({"usage": {**start, "output_tokens": 1}}, {"usage": end})
    shown = echo("/v1/messages", "anthropic_messages", STREAM, sse(documents), streamed=True)
    usages = re.findall(rb'"usage":(\{[^{}]*\})', shown)
    usage = json.loads(usages[-1])
    assert {name: usage.get(name, 0) for name in start} == start
    assert usage["output_tokens"] == 4


LONG = "A text of many more words than its provider says that it has counted."
FEWER = {
    "openai_chat": [
        chunk({"content": LONG}),
        END,
        chunk(choices=0, usage=CHAT_USAGE | {"completion_tokens": 2}),
        b"[DONE]",
    ],
    "openai_chat, with the end": [
        chunk({"content": LONG}),
        chunk(reason="stop", usage=CHAT_USAGE | {"completion_tokens": 2}),
        b"[DONE]",
    ],
    "gemini": [
        response(LONG),
        response(reason="STOP", usageMetadata=GEMINI_USAGE | {"candidatesTokenCount": 2}),
    ],
    "anthropic_messages": [
        *(
            event | {"delta": {"type": "text_delta", "text": LONG}}
            if event["type"] == "content_block_delta"
            else event
            for event in messages_stream(
                {"usage": {"input_tokens": 11, "output_tokens": 1}}, {"usage": {"output_tokens": 2}}
            )
        ),
    ],
    "anthropic_messages, after the end": [
        *messages_stream({"usage": {"input_tokens": 11, "output_tokens": 1}}, {})[:-1],
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ],
}
OFFER = Offer(
    model="m", provider="p", upstream_id="u", price=parse_price({"input": "1", "output": "2"})
)


@pytest.mark.parametrize("name", FEWER)
@pytest.mark.parametrize("client", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("together", [False, True])
def test_what_is_shown_is_charged_however_the_stream_is_cut(client, name, together):
    dialect = name.partition(",")[0]
    native = (client == "/v1/messages") == (dialect == "anthropic_messages")
    call = call_of(client, dialect, streamed=True)
    encoder, meter = CLIENTS[client].encoder(call, 1), UsageMeter(call)
    decoder = UPSTREAMS[dialect].decoder(
        STREAM, replace(OPTIONS, echo=native and dialect != "gemini")
    )
    events = [sse([document]) for document in FEWER[name]]
    batches = [decoder.feed(data) for data in ([b"".join(events)] if together else events)]
    shown = b"".join(
        encoder.feed(meter.watch(frames, OFFER)) for frames in [*batches, decoder.close()]
    )
    word = b"output_tokens" if client == "/v1/messages" else b"completion_tokens"
    counts = re.findall(rb'"%s": ?([0-9]+)' % word, shown)
    assert int(counts[-1]) == meter.usage(OFFER).completion == 2
    assert not meter.usage(OFFER).estimated


VECTOR_REPORTS = [
    {"total_tokens": 4},
    {"prompt_tokens": -4, "total_tokens": 4},
    {"prompt_tokens": None, "total_tokens": 4},
    {"input_tokens": 4},
    {"prompt_tokens": "4"},
    {"prompt_tokens": 4, "total_tokens": 4},
    None,
]


@pytest.mark.parametrize("report", VECTOR_REPORTS)
def test_vectors_show_the_prompt_that_is_charged(report):
    request = EmbeddingRequest(dialect="openai_embeddings", model="m", texts=("one two three",))
    body = json.dumps({"data": [{"embedding": [0.5]}], "usage": report}).encode()
    steps = frames_from_body(body, request)
    with pytest.raises(StopIteration) as end:
        next(steps)
    frames = end.value.value
    shown = json.loads(EmbeddingsBodyEncoder("m").feed(frames))["usage"]
    assert shown["prompt_tokens"] == frames[-1].usage.usage.input > 0
