"""What OpenAI Chat can carry, as random values."""

import json
import string
from typing import Any

from hypothesis import strategies as st

from gatewayz.core.conversation import (
    Audio,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from gatewayz.core.events import Kind, Stop
from gatewayz.core.replies import Block, Choice, Reply
from gatewayz.core.requests import ChatRequest, Effort, ResponseFormat, Sampling
from gatewayz.core.usage import Usage

SEAL_PREFIX = "gwz."
"""No random text looks like a seal: Hypothesis tries the constants that it finds in the code."""

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda text: SEAL_PREFIX not in text
)
words = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=8)
counts = st.integers(0, 10**6)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
usages = st.builds(
    Usage,
    input=counts,
    cache_read=counts,
    cache_write=counts,
    audio_input=counts,
    image_input=counts,
    output=counts,
    reasoning=counts,
    audio_output=counts,
).filter(lambda usage: usage.reasoning <= usage.output + usage.reasoning)


@st.composite
def choices(draw):
    """Reasoning, then text or a refusal, then tool calls: the order of a message."""
    blocks = []
    if draw(st.booleans()):
        blocks.append(Block(Kind.REASONING, draw(texts)))
    if draw(st.booleans()):
        blocks.append(Block(Kind.TEXT, draw(texts)))
    elif draw(st.booleans()):
        blocks.append(Block(Kind.REFUSAL, draw(texts)))
    names = draw(st.lists(words, max_size=3))
    blocks += [
        Block(
            Kind.TOOL,
            json.dumps(draw(st.dictionaries(words, json_values, max_size=2))),
            f"call_{number}_{name}",
            name,
        )
        for number, name in enumerate(names)
    ]
    stop = Stop.TOOL if names else draw(st.sampled_from([Stop.END, Stop.LENGTH, Stop.FILTER]))
    return Choice(tuple(blocks), stop)


@st.composite
def replies(draw):
    drawn = draw(st.lists(choices(), min_size=1, max_size=3))
    return Reply(
        id=draw(words), model=draw(words), choices=tuple(drawn), usage=draw(st.none() | usages)
    )


extras = st.dictionaries(
    words.map(lambda word: f"x_{word}"),
    json_values.filter(lambda value: value is not None),
    max_size=2,
)
text_parts = st.builds(Text, texts, extras)
media = (
    st.builds(Image, texts, st.sampled_from(["", "low", "high"]))
    | st.builds(Audio, words, st.sampled_from(["wav", "mp3"]))
    | st.builds(File, words, words, words)
    | st.builds(
        lambda value: Opaque("openai_chat", {"type": "x_part", "value": value}), json_values
    )
)


@st.composite
def messages(draw):
    role = draw(st.sampled_from(["system", "developer", "user", "assistant", "tool"]))
    if role == "tool":
        shown = tuple(draw(st.lists(text_parts, min_size=1, max_size=2)))
        return Message("tool", (ToolResult(draw(words), shown),), "", draw(extras))
    if role == "assistant":
        parts: list[Any] = []
        if draw(st.booleans()):
            parts.append(Reasoning(draw(texts)))
        if draw(st.booleans()):
            parts.append(Refusal(draw(texts)))
        parts += draw(st.lists(text_parts, max_size=2))
        parts += draw(st.lists(st.builds(ToolCall, words, words, texts), max_size=2))
        return Message("assistant", tuple(parts), draw(st.just("") | words), draw(extras))
    told = draw(
        st.lists(text_parts | media if role == "user" else text_parts, min_size=1, max_size=3)
    )
    return Message(role, tuple(told), draw(st.just("") | words), draw(extras))


schemas = st.dictionaries(words, json_values, max_size=3)
tools = st.builds(Tool, words, texts | st.just(""), st.none() | schemas, st.none() | st.booleans())
samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(0, 100),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    presence_penalty=st.none() | st.floats(-2, 2),
    frequency_penalty=st.none() | st.floats(-2, 2),
    logit_bias=st.none() | st.dictionaries(words, st.integers(-100, 100), max_size=2),
    logprobs=st.none() | st.booleans(),
    top_logprobs=st.none() | st.integers(0, 20),
    stop=st.lists(texts, max_size=3).map(tuple),
    n=st.integers(1, 8),
)
formats = st.builds(ResponseFormat, kind=st.sampled_from(["text", "json_object"])) | st.builds(
    ResponseFormat,
    kind=st.just("json_schema"),
    name=words,
    description=st.just("") | texts,
    schema=schemas,
    strict=st.none() | st.booleans(),
)
tool_choices = (
    st.sampled_from([ToolChoice("auto"), ToolChoice("none"), ToolChoice("required")])
    | words.map(lambda name: ToolChoice("named", name))
    | st.builds(
        lambda mode, names: ToolChoice(mode, allowed=tuple(names)),
        st.sampled_from(["auto", "required"]),
        st.lists(words, min_size=1, max_size=2),
    )
)
efforts = st.builds(
    Effort,
    effort=st.just("") | st.sampled_from(["low", "high"]),
    budget=st.none() | st.integers(1, 9000),
    enabled=st.none() | st.booleans(),
    hidden=st.booleans(),
).filter(lambda one: one != Effort())


@st.composite
def requests(draw):
    offered = tuple(draw(st.lists(tools, max_size=2)))
    return ChatRequest(
        dialect="openai_chat",
        model=draw(words),
        messages=tuple(draw(st.lists(messages(), min_size=1, max_size=4))),
        tools=offered,
        # Without tools there is nothing to choose.
        tool_choice=draw(st.none() | tool_choices) if offered else None,
        parallel_tools=draw(st.none() | st.booleans()) if offered else None,
        sampling=draw(samplings),
        max_output=draw(st.none() | st.integers(1, 10**6)),
        format=draw(st.none() | formats),
        reasoning=draw(st.none() | efforts),
        user=draw(st.just("") | words),
        streamed=draw(st.booleans()),
        extra=draw(extras),
    )
