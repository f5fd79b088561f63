"""Usage wherever providers put it and however they spell it: read once, each unit in one bucket, and nothing in it ends an answer."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewayz.core.events import Failed, Finished, UsageReported
from gatewayz.core.usage import BUCKETS, MAX_UNITS, Usage
from gatewayz.dialects.kit.base import DecodeOptions
from gatewayz.dialects.openai.usage import usage_from_wire
from gatewayz.dialects.registry import UPSTREAMS

OPTIONS = DecodeOptions(provider="p")
STREAM, BODY = "text/event-stream", "application/json"
HEARD = Usage(input=11, output=7)

CHAT_USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
ZEROS = dict.fromkeys(CHAT_USAGE, 0)


def chunk(delta=None, reason=None, choices=1, **more):
    item = {"index": 0, "delta": delta or {}, "finish_reason": reason, **more.pop("beside", {})}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return head | {"choices": [item][:choices], **more}


TEXT, END = chunk({"content": "Hello"}), chunk(reason="stop")
PLACES = {
    "on the last content chunk": [TEXT, chunk(reason="stop", usage=CHAT_USAGE)],
    "on a chunk with empty choices": [TEXT, END, chunk(choices=0, usage=CHAT_USAGE)],
    "on every chunk, cumulative": [
        chunk({"content": "Hel"}, usage=CHAT_USAGE | {"completion_tokens": 3, "total_tokens": 14}),
        chunk({"content": "lo"}, usage=CHAT_USAGE),
        END,
    ],
    "only inside the first chunk": [chunk({"content": "Hello"}, usage=CHAT_USAGE), END],
    "after finish_reason, with a choice": [TEXT, END, chunk({"content": ""}, usage=CHAT_USAGE)],
    "in x_groq": [TEXT, chunk(reason="stop", x_groq={"usage": CHAT_USAGE})],
    "inside a choice": [TEXT, chunk(reason="stop", beside={"usage": CHAT_USAGE})],
    "twice": [TEXT, chunk(reason="stop", usage=CHAT_USAGE), chunk(choices=0, usage=CHAT_USAGE)],
}
MESSAGES_START = {"type": "message", "role": "assistant", "id": "m", "model": "m", "content": []}


def messages_stream(start, delta):
    def event(kind, **fields):
        return {"type": kind, **fields}

    block = {"type": "text", "text": ""}
    return [
        event("message_start", message=MESSAGES_START | start),
        event("content_block_start", index=0, content_block=block),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"}),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "end_turn"}, **delta),
        event("message_stop"),
    ]


MESSAGES_PLACES = {
    "split over start and delta": messages_stream(
        {"usage": {"input_tokens": 11, "output_tokens": 1}}, {"usage": {"output_tokens": 7}}
    ),
    "whole in the delta": messages_stream({}, {"usage": {"input_tokens": 11, "output_tokens": 7}}),
    "twice": messages_stream(
        {"usage": {"input_tokens": 11, "output_tokens": 7}},
        {"usage": {"input_tokens": 11, "output_tokens": 7}},
    ),
    "null at the start": messages_stream(
        {"usage": None}, {"usage": {"input_tokens": 11, "output_tokens": 7}}
    ),
}
GEMINI_USAGE = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}


def response(text="", reason=None, **more):
    candidate = {"content": {"parts": [{"text": text}] if text else []}, "finishReason": reason}
    return {"candidates": [candidate], **more}


GEMINI_PLACES = {
    "with the end": [response("Hello"), response(reason="STOP", usageMetadata=GEMINI_USAGE)],
    "on every chunk": [
        response("Hel", usageMetadata=GEMINI_USAGE | {"candidatesTokenCount": 3}),
        response("lo", "STOP", usageMetadata=GEMINI_USAGE),
    ],
    "only in the first": [response("Hel", usageMetadata=GEMINI_USAGE), response("lo", "STOP")],
    "after the end": [response("Hello", "STOP"), {"usageMetadata": GEMINI_USAGE}],
}
STREAMS = {
    "openai_chat": PLACES,
    "anthropic_messages": MESSAGES_PLACES,
    "gemini": GEMINI_PLACES,
}
BODIES = {
    "openai_chat": lambda usage: {
        **chunk(choices=0),
        "choices": [
            {"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        ],
        "usage": usage,
    },
    "anthropic_messages": lambda usage: {
        **MESSAGES_START,
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "usage": usage,
    },
    "gemini": lambda usage: response("Hello", "STOP", usageMetadata=usage),
}
USAGES = {
    "openai_chat": CHAT_USAGE,
    "anthropic_messages": {"input_tokens": 11, "output_tokens": 7},
    "gemini": GEMINI_USAGE,
}


def sse(documents):
    lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in documents]
    kinds = [json.loads(one).get("type", "") if b'"type"' in one else "" for one in lines]
    return b"".join(
        (f"event: {kind}\n".encode() if kind else b"") + b"data: " + line + b"\n\n"
        for kind, line in zip(kinds, lines, strict=True)
    )


def decode(dialect, content_type, body):
    """The events of an answer."""
    decoder = UPSTREAMS[dialect].decoder(content_type, OPTIONS)
    return [event for frame in (*decoder.feed(body), *decoder.close()) for event in frame.events]


def last_usage(events):
    assert type(events[-1]) is Finished, events[-1]
    assert not any(type(event) is Failed for event in events)
    return next((one.usage for one in reversed(events) if type(one) is UsageReported), None)


@pytest.mark.parametrize(
    ("dialect", "place"), [(name, place) for name, places in STREAMS.items() for place in places]
)
def test_usage_is_read_wherever_it_stands(dialect, place):
    assert last_usage(decode(dialect, STREAM, sse(STREAMS[dialect][place]))) == HEARD


@pytest.mark.parametrize("dialect", BODIES)
@pytest.mark.parametrize("usage", ["reported", None, "missing"])
def test_usage_of_a_whole_answer_is_read_and_may_be_missing(dialect, usage):
    body = BODIES[dialect](USAGES[dialect] if usage == "reported" else None)
    if usage == "missing":
        body = {name: value for name, value in body.items() if "usage" not in name}
    found = last_usage(decode(dialect, BODY, json.dumps(body).encode()))
    assert found == (HEARD if usage == "reported" else None)


def test_usage_beside_an_error_ends_in_a_failure():
    body = {"error": {"message": "no", "code": 500}, "usage": CHAT_USAGE}
    assert type(decode("openai_chat", BODY, json.dumps(body).encode())[-1]) is Failed


NO_JSON = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400, b"9" * 5_000]


@pytest.mark.parametrize("number", NO_JSON, ids=lambda number: number[:9].decode())
@pytest.mark.parametrize("dialect", BODIES)
@pytest.mark.parametrize("content_type", [STREAM, BODY])
def test_numbers_that_are_none_end_no_answer(dialect, content_type, number):
    if content_type == BODY:
        body = json.dumps(BODIES[dialect](USAGES[dialect])).encode()
    else:
        body = sse(next(iter(STREAMS[dialect].values())))
    usage = last_usage(decode(dialect, content_type, body.replace(b": 7", b": " + number)))
    assert usage is not None
    assert usage.input == 11
    assert 0 <= usage.output <= MAX_UNITS


def test_what_comes_after_the_answer_and_is_no_chunk_ends_nothing():
    events = decode(
        "openai_chat",
        STREAM,
        sse([TEXT, chunk(reason="stop", usage=CHAT_USAGE)])
        + b'data: {"usage": [[[\n\ndata: [DONE]\n\n',
    )
    assert last_usage(events) == HEARD


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**30, -1, "NaN", "1e999", "7", 0.5]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
NAMES = {
    "openai_chat": [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "input_tokens",
        "reasoning_tokens",
        "cached_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation",
        "prompt_tokens_details",
        "completion_tokens_details",
        "server_tool_use",
        "cost",
    ],
    "anthropic_messages": [
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation",
        "server_tool_use",
        "output_tokens_details",
        "iterations",
        "service_tier",
    ],
    "gemini": [
        "promptTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "cachedContentTokenCount",
        "promptTokensDetails",
        "cacheTokensDetails",
        "candidatesTokensDetails",
        "totalTokenCount",
    ],
}
DETAILS = [
    "reasoning_tokens",
    "audio_tokens",
    "image_tokens",
    "cached_tokens",
    "text_tokens",
    "web_search_requests",
    "ephemeral_1h_input_tokens",
]


def reports(dialect):
    inner = st.dictionaries(st.sampled_from(DETAILS), ANYTHING, max_size=4)
    return ANYTHING | st.dictionaries(st.sampled_from(NAMES[dialect]), ANYTHING | inner)


@pytest.mark.parametrize("dialect", BODIES)
@settings(max_examples=60)
@given(data=st.data())
def test_nothing_in_a_report_raises_or_ends_an_answer(dialect, data):
    report = data.draw(reports(dialect))
    body = json.dumps(BODIES[dialect](report)).encode()
    usage = last_usage(decode(dialect, BODY, body)) or Usage()
    for bucket in BUCKETS:
        assert 0 <= getattr(usage, bucket) <= 4 * MAX_UNITS


SPELLINGS = [
    # A gateway to Claude: the total says that the cache is inside the prompt.
    (
        {
            "prompt_tokens": 1_000,
            "completion_tokens": 7,
            "total_tokens": 1_007,
            "cache_read_input_tokens": 600,
            "cache_creation_input_tokens": 300,
        },
        Usage(input=100, cache_read=600, cache_write=300, output=7),
    ),
    # Another one, where the total says that it is beside.
    (
        {
            "prompt_tokens": 100,
            "completion_tokens": 7,
            "total_tokens": 1_007,
            "cache_read_input_tokens": 600,
            "cache_creation_input_tokens": 300,
        },
        Usage(input=100, cache_read=600, cache_write=300, output=7),
    ),
    # Anthropic's own words without a total.
    (
        {"input_tokens": 9, "output_tokens": 7, "cache_read_input_tokens": 600},
        Usage(input=9, cache_read=600, output=7),
    ),
    (
        {
            "prompt_tokens": 1_000,
            "completion_tokens": 7,
            "cache_creation_input_tokens": 300,
            "cache_creation": {"ephemeral_1h_input_tokens": 200},
        },
        Usage(input=700, cache_write=100, cache_write_1h=200, output=7),
    ),
    # A placeholder under one name, the count under the other.
    (
        {"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 11, "output_tokens": 7},
        HEARD,
    ),
    (
        {
            "prompt_tokens": 100,
            "completion_tokens": 1_300,
            "completion_tokens_details": {"image_tokens": 1_290, "reasoning_tokens": 4},
        },
        Usage(input=100, output=6, reasoning=4, image_output=1_290),
    ),
    (
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "prompt_tokens_details": {
                "audio_tokens": 60,
                "cached_tokens": 40,
                "cached_tokens_details": {"audio_tokens": 30},
            },
            "completion_tokens_details": {"audio_tokens": 40, "text_tokens": 10},
        },
        Usage(input=30, cache_read=40, audio_input=30, output=10, audio_output=40),
    ),
    # Rejected predictions are paid as output, and are in its count.
    (
        {
            "prompt_tokens": 10,
            "completion_tokens": 50,
            "completion_tokens_details": {
                "accepted_prediction_tokens": 20,
                "rejected_prediction_tokens": 15,
            },
        },
        Usage(input=10, output=50),
    ),
    # The total decides whether the reasoning is inside.
    (
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "completion_tokens_details": {"reasoning_tokens": 300},
        },
        Usage(input=100, reasoning=50, repaired=True),
    ),
    (
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 450,
            "completion_tokens_details": {"reasoning_tokens": 300},
        },
        Usage(input=100, output=50, reasoning=300),
    ),
    (
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 180,
            "completion_tokens_details": {"reasoning_tokens": 30},
        },
        Usage(input=100, output=50, reasoning=30),
    ),
    (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "server_tool_use": {"web_search_requests": 3},
        },
        Usage(input=10, output=5, searches=3),
    ),
    (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "num_search_queries": 2,
            "citation_tokens": 90,
        },
        Usage(input=100, output=5, searches=2),
    ),
    # No counts.
    ({"prompt_tokens": True, "completion_tokens": False}, Usage(repaired=True)),
    ({"prompt_tokens": "11", "completion_tokens": 7.0}, Usage(input=11, output=7, repaired=True)),
    ({"prompt_tokens": -3, "completion_tokens": "many"}, Usage(repaired=True)),
    ({"prompt_tokens": 10**30, "completion_tokens": [7]}, Usage(input=MAX_UNITS, repaired=True)),
    (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 90},
        },
        Usage(cache_read=10, output=5, repaired=True),
    ),
]


@pytest.mark.parametrize(("report", "usage"), SPELLINGS, ids=range(len(SPELLINGS)))
def test_every_detail_is_in_exactly_one_bucket(report, usage):
    reported = usage_from_wire(report)
    assert reported is not None
    assert reported.usage == usage


def test_thoughts_are_counted_once_wherever_the_total_says_that_they_are():
    inside = {"promptTokenCount": 10, "candidatesTokenCount": 50, "thoughtsTokenCount": 30}
    for total, usage in (
        (60, Usage(input=10, output=20, reasoning=30)),
        (90, Usage(input=10, output=50, reasoning=30)),
    ):
        body = json.dumps(
            response("Hello", "STOP", usageMetadata=inside | {"totalTokenCount": total})
        )
        assert last_usage(decode("gemini", BODY, body.encode())) == usage


def test_what_claude_sampled_beside_an_answer_is_paid():
    report = {
        "input_tokens": 11,
        "output_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 2},
        "iterations": [
            {"type": "message", "input_tokens": 11, "output_tokens": 7},
            {
                "type": "compaction",
                "input_tokens": 1_000,
                "output_tokens": 50,
                "cache_read_input_tokens": 4,
            },
            "broken",
        ],
    }
    body = json.dumps(BODIES["anthropic_messages"](report)).encode()
    assert last_usage(decode("anthropic_messages", BODY, body)) == Usage(
        input=1_011, output=57, cache_read=4, cache_write=3, cache_write_1h=2
    )


LATER_ZEROS = [
    ("openai_chat", [TEXT, chunk(reason="stop", usage=CHAT_USAGE), chunk(choices=0, usage=ZEROS)]),
    (
        "openai_chat",
        [
            TEXT,
            chunk(reason="stop", usage=CHAT_USAGE),
            chunk(choices=0, usage=ZEROS | {"completion_tokens": 7}),
        ],
    ),
    (
        "anthropic_messages",
        messages_stream(
            {"usage": {"input_tokens": 11, "output_tokens": 1}},
            {"usage": {"input_tokens": 0, "output_tokens": 7}},
        ),
    ),
]


@pytest.mark.parametrize(("placeholder", "counted"), [(40, 7), (8, 1), (7, 7)])
def test_what_a_message_says_of_its_output_at_the_start_is_a_placeholder(placeholder, counted):
    start = {"usage": {"input_tokens": 11, "output_tokens": placeholder}}
    documents = messages_stream(start, {"usage": {"output_tokens": counted}})
    usage = last_usage(decode("anthropic_messages", STREAM, sse(documents)))
    assert usage == Usage(input=11, output=counted)


@pytest.mark.parametrize(("dialect", "documents"), LATER_ZEROS)
def test_a_later_report_that_says_less_says_nothing(dialect, documents):
    assert last_usage(decode(dialect, STREAM, sse(documents))) == HEARD
