"""Completions by the official OpenAI SDK, over providers that chat."""

import openai
import pytest

from tests.support.running_gateway import model_with_offers, run_gateway

ASK = "Say it again, please"


@pytest.fixture
async def gateway(tmp_path):
    models = [
        model_with_offers(("first", "echo"), ("second", "echo")),
        model_with_offers(("first", "fault-500"), ("second", "echo"), model="test/failing"),
    ]
    async with run_gateway(tmp_path, models=models) as running:
        yield running


@pytest.mark.parametrize("prompt", [ASK, [ASK]])
async def test_a_prompt_is_answered(gateway, prompt):
    completion = await gateway.client().completions.create(
        model="test/model", prompt=prompt, max_tokens=50, temperature=0.5, seed=7, user="me"
    )
    [choice] = completion.choices
    assert (choice.text, choice.index, choice.finish_reason, choice.logprobs) == (
        ASK,
        0,
        "stop",
        None,
    )
    assert (completion.object, completion.model) == ("text_completion", "test/model")
    assert completion.id.startswith("cmpl-")
    [invoice] = gateway.upstream.invoices
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (
        invoice.prompt_tokens,
        invoice.completion_tokens,
    )
    assert completion.usage.cost > 0
    assert gateway.sent["messages"] == [{"role": "user", "content": ASK}]
    assert {name: gateway.sent[name] for name in ("max_tokens", "temperature", "seed", "user")} == {
        "max_tokens": 50,
        "temperature": 0.5,
        "seed": 7,
        "user": "me",
    }


async def test_a_stream_adds_up_to_the_whole(gateway):
    stream = await gateway.client().completions.create(
        model="test/model", prompt=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == ASK
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert len({chunk.id for chunk in chunks}) == 1
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert [usage.completion_tokens for usage in usages] == [
        gateway.upstream.invoices[0].completion_tokens
    ]
    assert chunks[-1].choices == []
    assert gateway.last.fault == ""


async def test_a_stream_tells_usage_only_when_asked(gateway):
    chunks = [
        chunk
        async for chunk in await gateway.client().completions.create(
            model="test/model", prompt=ASK, stream=True
        )
    ]
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


async def test_several_choices_come_apart(gateway):
    completion = await gateway.client().completions.create(
        model="test/model", prompt=ASK, n=3, best_of=3
    )
    assert [(choice.index, choice.text) for choice in completion.choices] == [
        (number, ASK) for number in range(3)
    ]
    assert gateway.sent["n"] == 3
    texts = dict.fromkeys(range(3), "")
    async for chunk in await gateway.client().completions.create(
        model="test/model", prompt=ASK, n=3, stream=True
    ):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == dict.fromkeys(range(3), ASK)


@pytest.mark.parametrize(
    ("model", "more", "text", "reason"),
    [
        ("first/length", {}, "This is cut", "length"),
        ("first/filter", {}, "I was", "content_filter"),
        ("first/echo", {"stop": "again"}, "Say it ", "stop"),
        ("first/reasoning", {}, ASK, "stop"),
        ("first/think-tags", {}, None, "stop"),
        ("first/refusal", {}, "I cannot help with that.", "stop"),
    ],
)
async def test_why_it_stopped_and_what_has_no_place(gateway, model, more, text, reason):
    completion = await gateway.client().completions.create(model=model, prompt=ASK, **more)
    assert completion.choices[0].finish_reason == reason
    assert text is None or completion.choices[0].text == text
    chunks = [
        chunk
        async for chunk in await gateway.client().completions.create(
            model=model, prompt=ASK, stream=True, **more
        )
    ]
    assert "".join(chunk.choices[0].text for chunk in chunks) == completion.choices[0].text


async def test_log_probabilities_have_the_older_shape(gateway):
    completion = await gateway.client().completions.create(
        model="first/logprobs", prompt=ASK, logprobs=2
    )
    logprobs = completion.choices[0].logprobs
    assert "".join(logprobs.tokens) == ASK
    assert logprobs.token_logprobs == [-0.25] * len(logprobs.tokens)
    assert [len(top) for top in logprobs.top_logprobs] == [1] * len(logprobs.tokens)
    assert logprobs.text_offset == [
        ASK.index(token) if number else 0 for number, token in enumerate(logprobs.tokens)
    ]
    assert (gateway.sent["logprobs"], gateway.sent["top_logprobs"]) == (True, 2)
    pieces = [
        chunk.choices[0]
        async for chunk in await gateway.client().completions.create(
            model="first/logprobs", prompt=ASK, logprobs=0, stream=True
        )
    ]
    all_logprobs = [piece.logprobs for piece in pieces if piece.logprobs]
    assert "".join(token for piece in all_logprobs for token in piece.tokens) == ASK
    assert [offset for piece in all_logprobs for offset in piece.text_offset] == [
        sum(len(piece.text) for piece in pieces[:number]) for number in range(len(all_logprobs))
    ]
    assert "top_logprobs" not in gateway.sent


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("suffix", "the end"),
        ("echo", True),
        ("best_of", 4),
        ("prompt", ["one", "two"]),
        ("prompt", [1, 2]),
        ("prompt", [[1], [2]]),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(gateway, name, value):
    with pytest.raises(openai.BadRequestError) as caught:
        await gateway.client().completions.create(
            **{"model": "test/model", "prompt": ASK, name: value}
        )
    assert (caught.value.param, caught.value.code) == (name, "unsupported_value")
    assert not gateway.upstream.requests


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": ""},
        {"prompt": 5},
        {"prompt": []},
        {"n": 0},
        {"max_tokens": 0},
        {"logprobs": 6},
        {"stop": 5},
        {"stream": "yes"},
        {"suffix": 5},
    ],
)
async def test_bad_input_names_the_field(gateway, body):
    with pytest.raises(openai.BadRequestError) as caught:
        await gateway.client().completions.create(model="test/model", prompt=ASK, extra_body=body)
    assert caught.value.param == next(iter(body))


async def test_unknown_fields_are_named_as_dropped(gateway):
    raw = await gateway.client().completions.with_raw_response.create(
        model="test/model", prompt=ASK, extra_body={"min_p": 0.1}
    )
    assert raw.headers["x-gatewayz-dropped"] == "min_p"
    assert "min_p" not in gateway.sent


async def test_a_failing_provider_is_left_for_the_next(gateway):
    completion = await gateway.client().completions.create(model="test/failing", prompt=ASK)
    assert completion.choices[0].text == ASK
    assert [(row.provider, row.fault) for row in gateway.last.attempts] == [
        ("first", "upstream_error"),
        ("second", ""),
    ]


@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("nobody/knows", openai.NotFoundError, 404),
        ("first/fault-400", openai.BadRequestError, 400),
        ("first/fault-429", openai.RateLimitError, 429),
        ("first/fault-503", openai.InternalServerError, 503),
        ("first/fault-context", openai.BadRequestError, 400),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_each_error_is_the_sdks_class(gateway, model, error, status, streamed):
    with pytest.raises(error) as caught:
        await gateway.client().completions.create(model=model, prompt=ASK, stream=streamed)
    assert caught.value.status_code == status


async def test_a_stream_that_breaks_says_so(gateway):
    texts = ""
    with pytest.raises(openai.APIError):
        async for chunk in await gateway.client().completions.create(
            model="first/fault-cut-3", prompt=ASK, stream=True
        ):
            texts += chunk.choices[0].text
    assert texts
    assert gateway.last.fault == "upstream_cut"
