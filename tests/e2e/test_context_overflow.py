"""A prompt that is too long is told in the words of the client's API, whoever said it and how."""

import anthropic
import openai
import pytest

from gatewayz.core.faults import ContextOverflow, Fault
from gatewayz.dialects.anthropic import errors as anthropic_errors
from gatewayz.dialects.openai import errors as openai_errors
from gatewayz.providers.error_classes import context_overflow
from tests.support.scripted_upstream import answer_json, run_scripted_gateway

HI = [{"role": "user", "content": "Hello"}]
WORDS = [
    ("This model's maximum context length is 128000 tokens. However, your messages resulted in "
     "200000 tokens. Please reduce the length of the messages.", 200_000, 128_000),
    ("Your messages resulted in too much: Input tokens exceed the configured limit of 272000 tokens. "
     "Your messages resulted in 300001 tokens.", 300_001, 272_000),
    ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
     1_200_000, 1_048_576),
    ("The input token count exceeds the maximum number of tokens allowed 1048576.", None, 1_048_576),
    ("This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
     537_812, 131_072),
    ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum "
     "context length", 40_000, 32_768),
    ("Invalid request: Your request exceeded model token limit: 262144 (requested: 300000)",
     300_000, 262_144),
    ("Please reduce the length of the messages or completion. Current length is 9000 while limit is "
     "8192", 9_000, 8_192),
    ("The prompt is too long: 40000, model maximum context length: 32767", 40_000, 32_767),
    ("Range of input length should be [1, 129024]", None, 129_024),
    ("request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
     5_000, 4_096),
    ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 5_000, 4_096),
    ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
     5_000, 4_096),
    ("prompt token count of 200,001 exceeds the limit of 128,000", 200_001, 128_000),
    ("Request body too large for gpt-4o model. Max size: 8000 tokens.", None, 8_000),
    ("Input is too long for requested model.", None, None),
    ("invalid params, context window exceeds limit (2013)", None, None),
    ("Prompt exceeds max length", None, None),
    ("too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 9000. Try "
     "using a shorter prompt.", 9_000, 4_081),
]  # fmt: skip
WITH_OUTPUT = [
    "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (3000 in "
    "the messages, 2000 in the completion). Please reduce the length of the messages or completion.",
    "This endpoint's maximum context length is 4096 tokens. However, you requested about 5000 tokens "
    "(3000 of text input, 2000 in the output). Please reduce the length of either one.",
    "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested "
    "a total of 5000 tokens: 3000 tokens from the input messages and 2000 tokens for the completion.",
    "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length "
    "is 4096 tokens and your request has 3000 input tokens (2000 > 4096 - 3000).",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 3000 "
    "`inputs` tokens and 2000 `max_new_tokens`",
]
BODIES = {
    "openai_chat": lambda words: {"error": {"message": words, "type": "BadRequestError", "code": 400}},
    "gemini": lambda words: {"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}},
    "anthropic_messages": lambda words: {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": words},
    },
}  # fmt: skip


def refusing(dialect, words):
    """A script that refuses with these words."""
    return lambda request: answer_json(BODIES[dialect](words), 400)


@pytest.mark.parametrize(("words", "tokens", "limit"), WORDS)
def test_the_figures_of_every_wording_are_read(words, tokens, limit):
    assert context_overflow(words) == ContextOverflow(tokens, limit)


@pytest.mark.parametrize("words", WITH_OUTPUT)
def test_the_limit_of_the_answer_is_read_where_it_counts_too(words):
    assert context_overflow(words) == ContextOverflow(3_000, 4_096, 2_000)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("dialect", ["openai_chat", "gemini"])
async def test_every_wording_reaches_each_client_in_its_own_words(tmp_path, dialect, streamed):
    async with run_scripted_gateway(tmp_path, dialect) as scripted:
        claude, chatgpt = scripted.gateway.anthropic_client(), scripted.gateway.client()
        for words, tokens, limit in WORDS:
            scripted.upstream.script = refusing(dialect, words)
            asked = {"model": "test/model", "messages": HI, "stream": streamed, "max_tokens": 10}
            with pytest.raises(anthropic.BadRequestError) as messages:
                await claude.messages.create(**asked)
            error = messages.value.body["error"]
            assert error["type"] == "invalid_request_error", words
            assert error["message"].startswith("prompt is too long"), words
            if tokens and limit:
                expected = f"prompt is too long: {tokens} tokens > {limit} maximum"
                assert error["message"].startswith(expected)
            assert words in error["message"]

            with pytest.raises(openai.BadRequestError) as chat:
                await chatgpt.chat.completions.create(**asked)
            assert chat.value.code == "context_length_exceeded", words
            assert chat.value.type == "invalid_request_error"
            if limit:
                start = f"This model's maximum context length is {limit} tokens."
                assert chat.value.body["message"].startswith(start)


@pytest.mark.parametrize("words", WITH_OUTPUT)
async def test_a_limit_that_does_not_fit_is_told_so_that_it_can_be_lowered(tmp_path, words):
    script = refusing("openai_chat", words)
    async with run_scripted_gateway(tmp_path, "openai_chat", script) as scripted:
        with pytest.raises(anthropic.BadRequestError) as caught:
            await scripted.gateway.anthropic_client().messages.create(
                model="test/model", messages=HI, max_tokens=2_000
            )
        assert caught.value.body["error"]["message"].startswith(
            "input length and `max_tokens` exceed context limit: 3000 + 2000 > 4096, "
        )


async def test_words_that_are_the_apis_own_already_are_not_said_twice(tmp_path):
    words = "prompt is too long: 210000 tokens > 200000 maximum"
    async with run_scripted_gateway(
        tmp_path, "anthropic_messages", refusing("anthropic_messages", words)
    ) as scripted:
        asked = {"model": "test/model", "messages": HI, "max_tokens": 10}
        with pytest.raises(anthropic.BadRequestError) as messages:
            await scripted.gateway.anthropic_client().messages.create(**asked)
        assert messages.value.body["error"]["message"] == words
        with pytest.raises(openai.BadRequestError) as chat:
            await scripted.gateway.client().chat.completions.create(**asked)
        assert chat.value.code == "context_length_exceeded"
        assert "your messages resulted in 210000 tokens" in chat.value.body["message"]


def test_a_refusal_of_ours_is_told_in_the_same_words():
    fault = Fault("too_long", "Shorten it.", overflow=ContextOverflow(120_000, 100_000))
    error = anthropic_errors.error_body(fault, "01")["error"]
    assert error["message"] == "prompt is too long: 120000 tokens > 100000 maximum. Shorten it."
    assert anthropic_errors.http_status(fault) == openai_errors.http_status(fault) == 400
    assert openai_errors.error_object(fault)["code"] == "context_length_exceeded"
