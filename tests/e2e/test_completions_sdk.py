"""Completions through the official OpenAI SDK, over providers that chat: text, streams, choices, log probabilities, errors."""

import openai
import pytest

from tests.support.house import house, offers

ASK = "Say it again, please"


@pytest.fixture
async def here(tmp_path):
    models = [
        offers(("first", "echo"), ("second", "echo")),
        offers(("first", "fault-500"), ("second", "echo"), model="test/failing"),
    ]
    async with house(tmp_path, models=models) as one:
        yield one


@pytest.mark.parametrize("prompt", [ASK, [ASK]])
async def test_a_prompt_is_answered(here, prompt):
    made = await here.client().completions.create(
        model="test/model", prompt=prompt, max_tokens=50, temperature=0.5, seed=7, user="me"
    )
    [choice] = made.choices
    assert (choice.text, choice.index, choice.finish_reason, choice.logprobs) == (
        ASK,
        0,
        "stop",
        None,
    )
    assert (made.object, made.model) == ("text_completion", "test/model")
    assert made.id.startswith("cmpl-")
    [invoice] = here.upstream.invoices
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (
        invoice.prompt_tokens,
        invoice.completion_tokens,
    )
    assert made.usage.cost > 0
    assert here.sent["messages"] == [{"role": "user", "content": ASK}]
    assert {name: here.sent[name] for name in ("max_tokens", "temperature", "seed", "user")} == {
        "max_tokens": 50,
        "temperature": 0.5,
        "seed": 7,
        "user": "me",
    }


async def test_a_stream_adds_up_to_the_whole(here):
    stream = await here.client().completions.create(
        model="test/model", prompt=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == ASK
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert len({chunk.id for chunk in chunks}) == 1
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert [usage.completion_tokens for usage in usages] == [
        here.upstream.invoices[0].completion_tokens
    ]
    assert chunks[-1].choices == []
    assert here.last.fault == ""


async def test_a_stream_tells_usage_only_when_asked(here):
    chunks = [
        chunk
        async for chunk in await here.client().completions.create(
            model="test/model", prompt=ASK, stream=True
        )
    ]
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


async def test_several_choices_come_apart(here):
    made = await here.client().completions.create(model="test/model", prompt=ASK, n=3, best_of=3)
    assert [(choice.index, choice.text) for choice in made.choices] == [
        (number, ASK) for number in range(3)
    ]
    assert here.sent["n"] == 3
    texts = dict.fromkeys(range(3), "")
    async for chunk in await here.client().completions.create(
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
async def test_why_it_stopped_and_what_has_no_place(here, model, more, text, reason):
    made = await here.client().completions.create(model=model, prompt=ASK, **more)
    assert made.choices[0].finish_reason == reason
    assert text is None or made.choices[0].text == text
    chunks = [
        chunk
        async for chunk in await here.client().completions.create(
            model=model, prompt=ASK, stream=True, **more
        )
    ]
    assert "".join(chunk.choices[0].text for chunk in chunks) == made.choices[0].text


async def test_log_probabilities_have_the_older_shape(here):
    made = await here.client().completions.create(model="first/logprobs", prompt=ASK, logprobs=2)
    told = made.choices[0].logprobs
    assert "".join(told.tokens) == ASK
    assert told.token_logprobs == [-0.25] * len(told.tokens)
    assert [len(top) for top in told.top_logprobs] == [1] * len(told.tokens)
    assert told.text_offset == [
        ASK.index(token) if number else 0 for number, token in enumerate(told.tokens)
    ]
    assert (here.sent["logprobs"], here.sent["top_logprobs"]) == (True, 2)
    pieces = [
        chunk.choices[0]
        async for chunk in await here.client().completions.create(
            model="first/logprobs", prompt=ASK, logprobs=0, stream=True
        )
    ]
    told = [piece.logprobs for piece in pieces if piece.logprobs]
    assert "".join(token for one in told for token in one.tokens) == ASK
    assert [offset for one in told for offset in one.text_offset] == [
        sum(len(piece.text) for piece in pieces[:number]) for number in range(len(told))
    ]
    assert "top_logprobs" not in here.sent


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
async def test_what_cannot_be_done_is_refused_by_name(here, name, value):
    with pytest.raises(openai.BadRequestError) as caught:
        await here.client().completions.create(
            **{"model": "test/model", "prompt": ASK, name: value}
        )
    assert (caught.value.param, caught.value.code) == (name, "unsupported_value")
    assert not here.upstream.requests


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
async def test_bad_input_names_the_field(here, body):
    with pytest.raises(openai.BadRequestError) as caught:
        await here.client().completions.create(model="test/model", prompt=ASK, extra_body=body)
    assert caught.value.param == next(iter(body))


async def test_unknown_fields_are_named_as_dropped(here):
    raw = await here.client().completions.with_raw_response.create(
        model="test/model", prompt=ASK, extra_body={"min_p": 0.1}
    )
    assert raw.headers["x-gatewayz-dropped"] == "min_p"
    assert "min_p" not in here.sent


async def test_a_failing_provider_is_left_for_the_next(here):
    made = await here.client().completions.create(model="test/failing", prompt=ASK)
    assert made.choices[0].text == ASK
    assert [(row.provider, row.fault) for row in here.last.attempts] == [
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
async def test_each_error_is_the_sdks_class(here, model, error, status, streamed):
    with pytest.raises(error) as caught:
        await here.client().completions.create(model=model, prompt=ASK, stream=streamed)
    assert caught.value.status_code == status


async def test_a_stream_that_breaks_says_so(here):
    texts = ""
    with pytest.raises(openai.APIError):
        async for chunk in await here.client().completions.create(
            model="first/fault-cut-3", prompt=ASK, stream=True
        ):
            texts += chunk.choices[0].text
    assert texts
    assert here.last.fault == "upstream_cut"
