"""Laws 3 and 5 of requests: they decode to what was encoded, and arrive whole in other dialects."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.core.conversation import Opaque, OpaqueTool, Reasoning, Tool
from gatewayz.core.faults import Fault
from gatewayz.core.requests import ChatRequest, Sampling
from gatewayz.dialects.anthropic.dropped import DROPPED
from gatewayz.dialects.kit.base import EncodeTarget
from gatewayz.dialects.kit.native import untranslatable
from gatewayz.dialects.registry import CLIENTS, UPSTREAMS
from gatewayz.simulator.messages_validation import check
from gatewayz.simulator.recorder import parse_request
from tests.property.dialogues import (
    NAME,
    anthropic_requests,
    choices,
    dialogues,
    essence,
    schemas,
    texts,
    words,
)
from tests.property.strategies import requests
from tests.support.examples import examples

CLIENT = {"openai_chat": CLIENTS["/v1/chat/completions"], NAME: CLIENTS["/v1/messages"]}
PAIRS = [(source_name, other) for source_name in CLIENT for other in CLIENT if source_name != other]
HEADERS = {"anthropic-version": "2023-06-01"}
MODELS = [
    "claude-3-5-haiku",
    "claude-3-7-sonnet",
    "claude-sonnet-4-5",
    "claude-opus-4-6",
    "claude-opus-4-8",
    "claude-fable-5",
    "other",
]


def encode(request, dialect, provider="maker", model="m"):
    draft = UPSTREAMS[dialect].encode(
        request, EncodeTarget(provider=provider, upstream_id=model, streamed=request.streamed)
    )
    return msgspec.structs.replace(draft, body=msgspec.json.decode(msgspec.json.encode(draft.body)))


def decode(body, dialect):
    return CLIENT[dialect].decode(json.dumps(body).encode(), {})


def open_details(details):
    """A thought's details as its provider sees them: the seals are open."""
    return tuple(
        {
            name: value.removeprefix("gwz.maker.") if isinstance(value, str) else value
            for name, value in detail.items()
        }
        for detail in details
    )


def with_open_seals(request):
    messages = [
        msgspec.structs.replace(
            message,
            parts=tuple(
                Reasoning(part.text, open_details(part.details))
                if isinstance(part, Reasoning)
                else part
                for part in message.parts
            ),
        )
        for message in request.messages
    ]
    return msgspec.structs.replace(request, messages=tuple(messages))


@examples(300)
@given(anthropic_requests())
def test_a_request_of_anthropics_is_understood_as_it_was_spelled(request):
    draft = encode(request, NAME, model=request.model)
    assert decode(draft.body, NAME) == with_open_seals(request)
    assert draft.dropped == ()
    assert dict(draft.headers) == HEADERS


@examples(150)
@given(anthropic_requests())
def test_no_seal_of_another_and_nothing_of_the_dialect_reaches_a_stranger(request):
    body, text = (
        encode(request, NAME, provider="stranger").body,
        json.dumps(encode(request, NAME, provider="stranger").body),
    )
    thoughts = [
        part
        for message in request.messages
        for part in message.parts
        if isinstance(part, Reasoning)
    ]
    assert not any(
        block["type"].endswith("thinking")
        for turn in body["messages"]
        if isinstance(turn["content"], list)
        for block in turn["content"]
    )
    assert "gwz." not in text
    assert ("seal" in encode(request, NAME, provider="stranger").dropped) or not thoughts
    crossed = encode(request, "openai_chat")
    assert "gwz." not in json.dumps(crossed.body)
    inner = [part for message in request.messages for part in message.parts]
    marked = {
        name
        for holder in [*request.messages, *inner, *request.tools]
        for name in getattr(holder, "extra", {})
    } | set(request.extra)
    assert marked <= set(crossed.dropped)
    assert not [
        name
        for name in marked
        if f'"{name}":' in json.dumps(crossed.body, separators=(",", ":"))
        and not any(
            name in json.dumps(part.arguments if hasattr(part, "arguments") else "")
            for part in inner
        )
        and not any(
            name in json.dumps(tool.parameters) for tool in request.tools if isinstance(tool, Tool)
        )
        and name not in json.dumps(request.format.schema if request.format else {})
    ]


@examples(150)
@given(anthropic_requests())
def test_what_a_client_would_miss_keeps_a_request_at_home(request):
    blocks = any(isinstance(part, Opaque) for message in request.messages for part in message.parts)
    tools = any(isinstance(tool, OpaqueTool) for tool in request.tools)
    choice = request.tool_choice
    demands = choice is not None and choice.mode in {"required", "named"} and not request.tools
    assert bool(untranslatable(request, "openai_chat")) == (blocks or tools or demands)
    assert untranslatable(request, NAME) == ""


neutral = st.builds(
    ChatRequest,
    dialect=st.sampled_from(list(CLIENT)),
    model=words,
    messages=dialogues(),
    streamed=st.booleans(),
    tools=st.lists(st.builds(Tool, words, texts | st.just(""), schemas), max_size=2).map(tuple),
    tool_choice=st.none() | choices,
    sampling=st.builds(Sampling, stop=st.lists(texts, max_size=2).map(tuple)),
    max_output=st.integers(1, 10**5),
    user=st.just("") | words,
)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@examples(200)
@given(request=neutral)
def test_between_dialects_what_was_said_arrives(source, target, request):
    request = msgspec.structs.replace(request, dialect=source)
    decoded = decode(encode(request, source).body, source)
    assert essence(decoded) == essence(request)
    translated = decode(encode(decoded, target).body, target)
    assert essence(translated) == essence(request)
    returned = decode(
        encode(msgspec.structs.replace(translated, dialect=target), source).body, source
    )
    assert essence(returned) == essence(request)


@examples(400)
@given(neutral, st.sampled_from(MODELS), st.data())
def test_whatever_chat_says_well_anthropic_does_not_refuse(request, model, data):
    """The dialogue is well formed; sampling, thinking and formats are whatever chat allows."""
    other = data.draw(requests())
    request = msgspec.structs.replace(
        request,
        dialect="openai_chat",
        sampling=other.sampling,
        reasoning=other.reasoning,
        format=other.format,
        max_output=other.max_output,
        parallel_tools=other.parallel_tools,
        extra=other.extra,
    )
    draft = encode(request, NAME, model=model)
    wire = parse_request(1, "POST", "/maker/v1/messages", HEADERS, json.dumps(draft.body).encode())
    assert check(wire) is None, check(wire)
    assert "gwz." not in json.dumps(draft.body)
    known = {*DROPPED, *other.extra}
    assert {name.partition(".")[0] for name in draft.dropped} <= known
    for name in (
        "seed",
        "logit_bias",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
    ):
        assert (getattr(request.sampling, name) is not None) == (name in draft.dropped)


@examples(500)
@given(
    st.binary(max_size=400)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "model",
                        "messages",
                        "role",
                        "content",
                        "type",
                        "text",
                        "source",
                        "tools",
                        "thinking",
                        "tool_choice",
                        "system",
                        "metadata",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=15,
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_body_of_a_client_is_anything_but_understood_or_refused(noise):
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        try:
            CLIENTS[path].decode(noise, {})
        except Fault as fault:
            assert fault.rule.status == 400
