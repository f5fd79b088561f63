"""Random conversations, well formed in every dialect, and requests of Anthropic's clients."""

import base64
import json
import string
from typing import Any

import msgspec
from hypothesis import strategies as st

from gatewayz.core.conversation import (
    File,
    Image,
    Message,
    Opaque,
    OpaqueTool,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from gatewayz.core.requests import ChatRequest, Effort, ResponseFormat, Sampling
from gatewayz.dialects.openai.chat.conversation import adapt_file
from gatewayz.dialects.openai.chat.schema import function_parameters
from tests.property.strategies import extras, json_values, words
from tests.property.strategies import texts as plain_texts

NAME = "anthropic_messages"
texts = plain_texts.map(lambda text: f"·{text}·")
"""Texts that begin and end in ink: blanks at the edges are not the same everywhere."""
objects = st.dictionaries(words, json_values, max_size=3).map(
    lambda value: msgspec.json.encode(value).decode()
)
ids = st.text(string.ascii_letters + string.digits + "_-", min_size=4, max_size=10)
images = st.builds(
    Image, st.sampled_from(["data:image/png;base64,iVBORw0KGgo=", "https://example.org/a.png"])
)
pages = texts.map(lambda text: "data:text/plain;base64," + base64.b64encode(text.encode()).decode())
files = st.builds(File, st.just(""), words, st.just("data:application/pdf;base64,JVBERi0=") | pages)
schemas = st.dictionaries(words, json_values, max_size=2).map(
    lambda value: {**value, "type": "object"}
)


@st.composite
def dialogues(draw, marks=st.just({})):
    """A system prompt, then turns in which every call has its result.

    `marks` are the extras of blocks.
    """
    text_parts = st.builds(Text, texts, marks)
    messages = (
        [Message("system", tuple(draw(st.lists(text_parts, min_size=1, max_size=2))))]
        if draw(st.booleans())
        else []
    )
    taken = draw(st.lists(ids, min_size=8, max_size=8, unique=True))
    for _ in range(draw(st.integers(1, 3))):
        messages.append(
            Message(
                "user", tuple(draw(st.lists(text_parts | images | files, min_size=1, max_size=3)))
            )
        )
        calls = [
            ToolCall(taken.pop(), draw(words), draw(objects), draw(marks))
            for _ in range(draw(st.integers(0, 2)))
        ]
        answer = draw(st.lists(text_parts, min_size=0 if calls else 1, max_size=2))
        messages.append(Message("assistant", (*answer, *calls)))
        messages += [Message("tool", (draw(results(call.id, marks)),)) for call in calls]
        if calls:
            messages.append(Message("assistant", (draw(text_parts),)))
    messages.append(Message("user", (draw(text_parts),)))
    return tuple(messages)


@st.composite
def results(draw, call_id, marks):
    parts = [Text(draw(texts)), *draw(st.lists(images, max_size=1))]
    return ToolResult(call_id, tuple(parts), draw(st.booleans()), draw(marks))


marks: st.SearchStrategy[dict[str, Any]] = (
    st.just({}) | st.just({"cache_control": {"type": "ephemeral"}}) | extras
)
own_tools = st.builds(Tool, words, texts | st.just(""), schemas, st.none() | st.booleans(), marks)
server_tools = st.just(
    OpaqueTool(
        NAME, {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}, searches=3
    )
)
choices = st.sampled_from([ToolChoice("auto"), ToolChoice("required")]) | words.map(
    lambda name: ToolChoice("named", name)
)
efforts = st.one_of(
    st.builds(Effort, effort=st.sampled_from(["low", "high", "max"])),
    st.builds(
        Effort, budget=st.integers(1_024, 9_000), enabled=st.just(True), hidden=st.booleans()
    ),
    st.builds(
        Effort, effort=st.just("") | st.just("medium"), enabled=st.booleans(), hidden=st.booleans()
    ),
)
samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 1),
    top_p=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(0, 100),
    stop=st.lists(texts, max_size=3).map(tuple),
)
thoughts = st.one_of(
    st.builds(
        lambda text, seal: Reasoning(
            text, ({"type": "reasoning.text", "text": text, "signature": f"gwz.maker.{seal}"},)
        ),
        texts,
        ids,
    ),
    st.builds(
        lambda seal: Reasoning("", ({"type": "reasoning.encrypted", "data": f"gwz.maker.{seal}"},)),
        ids,
    ),
)
opaque = json_values.map(lambda value: Opaque(NAME, {"type": "x_block", "value": value}))


@st.composite
def anthropic_requests(draw):
    """What a client of Anthropic's can say, in the form in which this dialect says it back."""
    messages = [_with(draw, message) for message in draw(dialogues(marks))]
    choice = draw(st.none() | choices)
    return ChatRequest(
        dialect=NAME,
        model=draw(words),
        messages=tuple(messages),
        tools=tuple(draw(st.lists(own_tools | server_tools, max_size=2))),
        tool_choice=choice,
        parallel_tools=draw(st.none() | st.booleans()) if choice is not None else None,
        sampling=draw(samplings),
        max_output=draw(st.integers(10_000, 10**6)),
        format=draw(
            st.none() | st.builds(ResponseFormat, kind=st.just("json_schema"), schema=schemas)
        ),
        reasoning=draw(st.none() | efforts),
        user=draw(st.just("") | words),
        streamed=draw(st.booleans()),
        wants_usage=True,
        extra=draw(extras),
    )


def _with(draw, message):
    """A user may say what only this dialect knows, and an assistant may have thought first."""
    if message.role == "user" and draw(st.booleans()):
        return msgspec.structs.replace(message, parts=(*message.parts, draw(opaque)))
    if message.role == "assistant" and draw(st.booleans()):
        return msgspec.structs.replace(
            message, parts=(*draw(st.lists(thoughts, min_size=1, max_size=2)), *message.parts)
        )
    return message


def essence(request):
    """What must arrive in any dialect: who said what, in order, and what the model is to do."""
    system, said, calls, answers = [], [], [], []
    seen: list[Any] = []
    for message in request.messages:
        for part in map(adapt_file, message.parts):
            # A text is a text, whether it comes as a file or not.
            match part:
                case Text(text=text) if message.role in {"system", "developer"}:
                    system.append(text)
                case Text(text=text):
                    said.append((message.role, text))
                case ToolCall(id=call_id, name=name, arguments=arguments):
                    calls.append((call_id, name, json.loads(arguments)))
                case ToolResult(call_id=call_id, parts=parts):
                    result_text = "".join(inner.text for inner in parts if isinstance(inner, Text))
                    answers.append((call_id, result_text.removeprefix("Error: ")))
                    seen += [inner.url for inner in parts if isinstance(inner, Image)]
                case Image(url=url):
                    seen.append(url)
                case File(name=name, content=content):
                    # Some want the ending of a file in its name, and all that is empty in a schema.
                    seen.append((name.removesuffix(".pdf"), content))
    tools = [
        (tool.name, tool.description, function_parameters(tool.parameters))
        for tool in request.tools
    ]
    choice = request.tool_choice
    return {
        "system": system,
        "said": said,
        "calls": calls,
        "answers": answers,
        "seen": sorted(seen, key=str),
        "tools": tools,
        "choice": (choice.mode, choice.name) if choice is not None and tools else None,
        "stop": request.sampling.stop,
        "limit": request.max_output,
    }
