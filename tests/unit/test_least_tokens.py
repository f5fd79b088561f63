"""The fewest tokens of a text: a lower bound by which a request may be refused unasked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.core.conversation import Image, Message, Text, ToolResult
from gatewayz.core.estimates import least_conversation_tokens, least_tokens
from gatewayz.core.requests import ChatRequest, EmbeddingRequest


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("one two three", 3),
        ("don't stop", 3),
        ('{"key": "value"}', 2),
        (" " * 500, 0),
        ("=" * 80, 0),
        ("a" * 320, 10),
        ("Привет, мир", 2),
        ("عالم جميل", 2),
        ("नमस्ते दुनिया", 2),
        ("今天天气很好啊我们走", 2),
        ("안녕하세요 여러분", 2),
        ("\U0001f600\U0001f600", 0),
    ],
)
def test_a_word_is_a_token_at_the_least(text, tokens):
    assert least_tokens(text) == tokens


@given(st.text(), st.text())
def test_a_longer_text_has_no_fewer_tokens(text, more):
    assert least_tokens(f"{text} {more}") >= max(least_tokens(text), least_tokens(more))


def test_a_conversation_has_those_of_its_texts_and_an_embedding_those_of_its_longest():
    result = ToolResult(call_id="c", parts=(Text("four five"),))
    image = Image(url="https://example.com/cat.png")
    messages = (Message("user", (Text("one two three"), image)), Message("tool", (result,)))
    chat = ChatRequest(dialect="openai_chat", model="m", messages=messages)
    assert least_conversation_tokens(messages) == chat.least_context_tokens() == 5

    texts = ("one two", "one two three", (1, 2))
    embedding = EmbeddingRequest(dialect="openai_embeddings", model="m", texts=texts)
    assert embedding.least_context_tokens() == 3
    assert chat.least_context_tokens() <= chat.context_tokens()
