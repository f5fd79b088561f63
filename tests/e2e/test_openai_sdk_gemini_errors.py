"""Errors of a Gemini upstream as the official OpenAI SDK sees them, before and after text."""

import asyncio
from typing import Any

import openai
import pytest

from gatewayz.core.estimates import text_tokens
from tests.support.running_gateway import model_with_offers, run_gateway

HI: Any = [{"role": "user", "content": "Tell me something, please"}]


@pytest.fixture
async def gateway(tmp_path):
    async with run_gateway(tmp_path, dialect="gemini") as running:
        yield running


@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("fault-400", openai.BadRequestError, 400),
        ("fault-422", openai.BadRequestError, 400),
        ("fault-context", openai.BadRequestError, 400),
        ("fault-413", openai.BadRequestError, 400),
        ("fault-429", openai.RateLimitError, 429),
        ("fault-quota", openai.RateLimitError, 429),
        ("fault-401", openai.InternalServerError, 503),
        ("exchange-error_400_key", openai.InternalServerError, 503),
        ("fault-402", openai.InternalServerError, 503),
        ("fault-403", openai.InternalServerError, 503),
        ("fault-500", openai.InternalServerError, 502),
        ("fault-503", openai.InternalServerError, 503),
        ("fault-504", openai.InternalServerError, 504),
        ("nobody-knows", openai.NotFoundError, 404),
        ("fault-html-200", openai.InternalServerError, 502),
        ("fault-half-json", openai.InternalServerError, 502),
        ("fault-no-choices", openai.InternalServerError, 502),
        ("fault-error-200", openai.InternalServerError, 502),
        ("fault-empty-stream", openai.InternalServerError, 502),
        ("fault-garbage-sse", openai.InternalServerError, 502),
        ("fault-sse-error-first", openai.InternalServerError, 503),
        ("exchange-finish_malformed_function_call", openai.InternalServerError, 502),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_error_before_the_first_block_is_the_sdks_class(
    gateway, model, error, status, streamed
):
    with pytest.raises(error) as caught:
        await gateway.client().chat.completions.create(
            model=f"first/{model}", messages=HI, stream=streamed
        )
    assert caught.value.status_code == status
    assert caught.value.body["message"]
    assert "canary" not in str(caught.value)


async def test_how_long_to_wait_is_passed_on(gateway):
    with pytest.raises(openai.RateLimitError) as caught:
        await gateway.client().chat.completions.create(model="first/fault-429", messages=HI)
    assert caught.value.response.headers["retry-after"] == "34"


async def test_a_field_that_google_does_not_know_is_left_out_the_second_time(gateway):
    gateway.upstream.script("model", ["fault-unsupported-topK", "echo"])
    await gateway.client().chat.completions.create(
        model="first/model", messages=HI, extra_body={"top_k": 40}, temperature=0.5
    )
    assert gateway.sent["generationConfig"] == {"temperature": 0.5}


@pytest.mark.parametrize("kind", ["cut", "rst", "end", "sse-error"])
async def test_an_error_after_the_first_block_ends_the_stream_as_an_error(gateway, kind):
    text = ""
    with pytest.raises(openai.APIError):
        async for chunk in await gateway.client().chat.completions.create(
            model=f"first/fault-{kind}-3", messages=HI, stream=True
        ):
            text += chunk.choices[0].delta.content or ""
    assert text == " word0 word1 word2"
    assert gateway.last.fault in {"upstream_cut", "upstream_error"}


async def test_a_broken_answer_fails_over_before_the_first_block(tmp_path):
    models = [
        model_with_offers(
            ("first", "fault-no-choices"),
            ("second", "exchange-finish_malformed_function_call"),
            ("third", "echo"),
        )
    ]
    async with run_gateway(tmp_path, dialect="gemini", models=models) as gateway:
        for streamed in (False, True):
            reply = await gateway.client().chat.completions.create(
                model="test/model", messages=HI, stream=streamed
            )
            if streamed:
                async for _ in reply:
                    pass
            assert gateway.last.served == "third"


@pytest.mark.parametrize(
    "scene",
    ["unicode", "fault-invalid-utf8-2", "fault-bom-2", "fault-one-byte-2", "fault-json-for-stream"],
)
async def test_odd_streams_are_read_to_their_end(gateway, scene):
    chunks = [
        chunk
        async for chunk in await gateway.client().chat.completions.create(
            model=f"first/{scene}", messages=HI, stream=True
        )
    ]
    assert chunks[-1].choices[0].finish_reason == "stop"
    if scene == "unicode":
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text == "line\u2028sep\r\né\u0301👩‍👩‍👧data: not a frame\n\n\u0000ok"


@pytest.mark.parametrize(
    "scene", ["usage-cached-over", "usage-negative", "usage-floats", "usage-strings", "usage-huge"]
)
async def test_usage_that_makes_no_sense_is_repaired(gateway, scene):
    await gateway.client().chat.completions.create(model=f"first/{scene}", messages=HI)
    usage = gateway.last.usage
    assert usage.repaired
    assert min(usage.input, usage.output, usage.cache_read) >= 0


async def test_missing_usage_is_estimated_and_marked(gateway):
    async for _ in await gateway.client().chat.completions.create(
        model="first/usage-9", messages=HI, stream=True
    ):
        pass
    assert gateway.last.usage.estimated


async def test_a_client_that_leaves_stops_the_provider_and_pays_what_was_sent(gateway):
    stream = await gateway.client().chat.completions.create(
        model="first/slow", messages=HI, stream=True
    )
    texts = []
    async for chunk in stream:
        texts.append(chunk.choices[0].delta.content or "")
        if texts[-1] == " tick3":
            break
    await stream.close()
    await gateway.wait_until_idle()
    await asyncio.sleep(0)
    assert gateway.upstream.invoices[-1].aborted
    assert gateway.last.fault == "client_gone"
    # The simulator calls four bytes a token; what was sent is counted by the rates of real ones.
    sent = "".join(f" tick{n}" for n in range(20))[: 4 * gateway.upstream.invoices[-1].sent_tokens]
    least, most = round(text_tokens("".join(texts))), round(text_tokens(sent))
    assert 0 < least <= gateway.last.usage.completion <= most
