"""Every row of the verdict table: what the client gets, what the breaker did, that the upstream was left clean."""

from typing import Any

import openai
import pytest

from tests.support.clocks import ManualClock
from tests.support.running_gateway import model_with_offers, run_gateway

OPEN_FOR_HOUSE = "closed, open for 1 account"
"""What five answers come to that the bodies of one account may have caused."""
HI: list[Any] = [{"role": "user", "content": "Hello there"}]

# fault, next candidate tried, breaker of the offer, breaker of the credential, status when nothing is left, attempts
TABLE = [
    ("fault-401", True, "closed", "open", 503),
    ("fault-403", True, "open", "closed", 503),
    ("fault-402", True, "closed", "open", 503),
    ("fault-quota", True, "closed", "open", 503),
    ("fault-404", True, "closed", "closed", 404),
    ("fault-500", True, "closed", "closed", 502),
    ("fault-502", True, "closed", "closed", 502),
    ("fault-503", True, "closed", "closed", 503),
    ("fault-504", True, "closed", "closed", 504),
    ("fault-408", True, "closed", "closed", 504),
    ("fault-529", True, "closed", "closed", 503),
    ("fault-429", True, "cooling", "closed", 429),
    ("fault-rst-before", True, "closed", "closed", 502),
    ("fault-close-before", True, "closed", "closed", 502),
    ("fault-no-http", True, "closed", "closed", 502),
    ("fault-html-200", True, "closed", "closed", 502),
    ("fault-null-200", True, "closed", "closed", 502),
    ("fault-list-200", True, "closed", "closed", 502),
    ("fault-text-200", True, "closed", "closed", 502),
    ("fault-empty-200", True, "closed", "closed", 502),
    ("fault-object-200", True, "closed", "closed", 502),
    ("fault-no-choices", True, "closed", "closed", 502),
    ("fault-error-200", True, "closed", "closed", 502),
    ("fault-usage-8", True, "closed", "closed", 502),
    ("fault-half-json", True, "closed", "closed", 502),
    ("fault-redirect", True, "closed", "closed", 502),
    ("fault-gzip-truncated", True, "closed", "closed", 502),
    ("fault-gzip-bomb", True, "closed", "closed", 502),
    ("fault-wrong-length", True, "closed", "closed", 502),
    ("fault-400", False, "closed", "closed", 400),
    ("fault-413", False, "closed", "closed", 413),
    ("fault-422", False, "closed", "closed", 422),
    ("fault-context", False, "closed", "closed", 400),
]
STREAMED = [
    ("fault-sse-error-first", True, "closed", "closed", 503),
    ("fault-empty-stream", True, "closed", "closed", 502),
    ("fault-done-only", True, "closed", "closed", 502),
    ("fault-garbage-sse", True, "closed", "closed", 502),
    ("fault-chunk-overflow", True, "closed", "closed", 502),
    ("fault-line-10mb", True, "closed", "closed", 502),
    ("fault-cut-0", True, "closed", "closed", 502),
    ("fault-rst-0", True, "closed", "closed", 502),
]
CASES = [
    (row, streamed)
    for row in TABLE
    for streamed in (False, True)
    if not (streamed and row[0] in {"fault-wrong-length"})
] + [(row, True) for row in STREAMED]


def state(here, provider, upstream_id):
    return here.built.gateway._health.operator_breaker_states().get(
        (provider, upstream_id), "closed"
    )


def credential_state(here, provider):
    health = here.built.gateway._health.credential_health(provider, f"{provider}#1")
    return "closed" if health.usable else "open"


async def text_of(client, model, *, streamed, text="Hello there"):
    messages = [{"role": "user", "content": text}]
    if not streamed:
        return (
            (await client.chat.completions.create(model=model, messages=messages))
            .choices[0]
            .message.content
        )
    stream = await client.chat.completions.create(model=model, messages=messages, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


@pytest.mark.parametrize(
    ("row", "streamed"),
    CASES,
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
async def test_a_row_of_the_table(tmp_path, row, streamed):
    fault, goes_on, offer, credential, status = row
    models = [
        model_with_offers(("first", fault), ("second", "echo"), model="m/both"),
        model_with_offers(("first", fault), model="m/alone"),
    ]
    async with run_gateway(tmp_path, models=models) as here:
        client = here.client()
        if goes_on:
            assert await text_of(client, "m/both", streamed=streamed) == "Hello there"
            assert [attempt.provider for attempt in here.last.attempts] == ["first", "second"]
            assert here.last.attempts[0].fault
            assert here.last.served == "second"
            assert here.last.fault == ""
        else:
            with pytest.raises(openai.APIStatusError) as caught:
                await text_of(client, "m/both", streamed=streamed)
            assert caught.value.status_code == status
            assert len(here.upstream.requests) == 1
        assert state(here, "first", fault) == offer
        assert credential_state(here, "first") == credential
        if offer == credential == "closed":
            with pytest.raises(openai.APIStatusError) as caught:
                await text_of(client, "m/alone", streamed=streamed)
            assert caught.value.status_code == status
            assert "canary" not in str(caught.value.body)
        await here.wait_until_idle()
        assert here.upstream.open_streams == 0
        books: Any = here.built.books
        assert not books.open


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_filter_is_the_dialects_filter_stop(tmp_path, streamed):
    async with run_gateway(
        tmp_path, models=[model_with_offers(("first", "fault-filter"), ("second", "echo"))]
    ) as here:
        client = here.client()
        if streamed:
            stream = await client.chat.completions.create(
                model="test/model", messages=HI, stream=True
            )
            reasons = [chunk.choices[0].finish_reason async for chunk in stream]
        else:
            reasons = [
                (await client.chat.completions.create(model="test/model", messages=HI))
                .choices[0]
                .finish_reason
            ]
        assert reasons[-1] == "content_filter"
        assert len(here.upstream.requests) == 1
        assert here.last.cost == 0


async def test_a_parameter_that_is_named_as_unsupported_is_left_out_once(tmp_path):
    async with run_gateway(tmp_path, models=[model_with_offers(("first", "model"))]) as here:
        here.upstream.script("model", ["fault-unsupported-temperature", "echo"])
        reply = await here.client().chat.completions.create(
            model="test/model", messages=HI, temperature=0.5
        )
        assert reply.choices[0].message.content == "Hello there"
        assert here.upstream.requests[0].content["temperature"] == 0.5
        assert "temperature" not in here.sent
        assert here.last.dropped == ("temperature",)
        here.upstream.script("model", ["fault-unsupported-temperature"])
        with pytest.raises(openai.BadRequestError):
            await here.client().chat.completions.create(
                model="test/model", messages=HI, temperature=0.5
            )


async def test_too_long_goes_only_to_a_larger_context(tmp_path):
    small, large = (
        model_with_offers(("first", "fault-context"), ("second", "echo"), context=1_000),
        model_with_offers(("third", "hello"), context=9_000),
    )
    model = {**small, "offers": [*small["offers"], *large["offers"]]}
    async with run_gateway(tmp_path, models=[model]) as here:
        reply = await here.client().chat.completions.create(model="test/model", messages=HI)
        assert (reply.choices[0].message.content or "").startswith("Hello! How")
        assert [attempt.provider for attempt in here.last.attempts] == ["first", "third"]


async def test_at_most_three_attempts_that_failed_there_but_refused_ones_are_free(tmp_path):
    names = tuple(f"p{number}" for number in range(8))
    dead = model_with_offers(
        *((name, "fault-401") for name in names[:7]), (names[7], "echo"), model="m/refused"
    )
    broken = model_with_offers(
        *((name, "fault-500") for name in names[:7]), (names[7], "echo"), model="m/broken"
    )
    async with run_gateway(tmp_path, providers=names, models=[dead]) as here:
        reply = await here.client().chat.completions.create(model="m/refused", messages=HI)
        assert reply.choices[0].message.content == "Hello there"
        assert len(here.last.attempts) == 8
    async with run_gateway(tmp_path, providers=names, models=[broken]) as here:
        with pytest.raises(openai.InternalServerError):
            await here.client().chat.completions.create(model="m/broken", messages=HI)
        assert len(here.last.attempts) == 3


async def test_the_breaker_opens_after_five_and_lets_one_probe_through(tmp_path):
    models = [model_with_offers(("first", "model"), ("second", "echo"))]
    async with run_gateway(
        tmp_path,
        models=models,
        routing={"breaker": {"failures": 5, "open_s": 300, "jitter": 0.0, "slow_start_s": 1}},
    ) as here:
        clock = here.built.gateway._health._clock = ManualClock()
        here.upstream.script("model", ["fault-500"])
        client = here.client()
        for number in range(7):
            # Another conversation each time: the same one would stay with the provider that served it.
            assert (
                await text_of(client, "test/model", streamed=False, text=f"talk {number}")
                == f"talk {number}"
            )
        asked = [one.path.split("/")[1] for one in here.upstream.requests]
        assert asked.count("first") == 5
        assert state(here, "first", "model") == OPEN_FOR_HOUSE
        clock.advance(301)
        here.upstream.script("model", ["echo"])
        await text_of(client, "test/model", streamed=False, text="probe")
        for number in range(3):
            clock.advance(2)
            await text_of(client, "test/model", streamed=False, text=f"after {number}")
        assert here.last.served == "first"
        assert state(here, "first", "model") == "closed"


async def test_a_clients_own_mistakes_move_no_breaker(tmp_path):
    async with run_gateway(tmp_path, models=[model_with_offers(("first", "fault-400"))]) as here:
        for _ in range(12):
            with pytest.raises(openai.BadRequestError):
                await here.client().chat.completions.create(model="test/model", messages=HI)
        assert state(here, "first", "fault-400") == "closed"


async def test_when_all_are_open_one_probe_a_second_is_a_last_resort(tmp_path):
    async with run_gateway(tmp_path, models=[model_with_offers(("first", "model"))]) as here:
        here.upstream.script("model", ["fault-500"] * 5 + ["echo"])
        client = here.client()
        for _ in range(5):
            with pytest.raises(openai.InternalServerError):
                await text_of(client, "test/model", streamed=False)
        assert state(here, "first", "model") == OPEN_FOR_HOUSE
        assert await text_of(client, "test/model", streamed=False) == "Hello there"
        assert state(here, "first", "model") == "closed"


async def test_with_all_out_the_client_is_told_when_to_come_back(tmp_path):
    async with run_gateway(tmp_path, models=[model_with_offers(("first", "model"))]) as here:
        here.upstream.script("model", ["fault-500"])
        client = here.client()
        for _ in range(6):
            with pytest.raises(openai.InternalServerError):
                await text_of(client, "test/model", streamed=False)
        with pytest.raises(openai.InternalServerError) as caught:
            await text_of(client, "test/model", streamed=False)
        assert caught.value.status_code == 503
        assert int(caught.value.response.headers["retry-after"]) >= 1
        assert len(here.upstream.requests) == 6


async def test_several_keys_are_tried_like_candidates(tmp_path):
    keys: list[dict[str, Any]] = [{"key": "sk-a"}, {"key": "sk-b", "weight": 3}]
    async with run_gateway(
        tmp_path, keys=keys, models=[model_with_offers(("first", "model"))]
    ) as here:
        here.upstream.script("model", ["fault-401", "echo"])
        assert await text_of(here.client(), "test/model", streamed=False) == "Hello there"
        used = [one.headers["authorization"] for one in here.upstream.requests]
        assert sorted(used) == ["Bearer sk-a", "Bearer sk-b"]
        await text_of(here.client(), "test/model", streamed=False)
        assert len(here.upstream.requests) == 3


async def test_a_limited_provider_rests_until_it_said(tmp_path):
    async with run_gateway(
        tmp_path, models=[model_with_offers(("first", "model"), ("second", "echo"))]
    ) as here:
        here.upstream.script("model", ["fault-429-retry-30", "echo"])
        for _ in range(3):
            assert await text_of(here.client(), "test/model", streamed=False) == "Hello there"
        asked = [one.path.split("/")[1] for one in here.upstream.requests]
        assert asked.count("first") == 1


@pytest.mark.parametrize(
    # Of what says no time, our own rest is the true one.
    ("said", "shown"),
    [("7", 7), ("0", 1), ("-1", 1), ("1e9", 3600), ("soon", 5)],
)
async def test_every_form_of_retry_after_is_survived(tmp_path, said, shown):
    async with run_gateway(
        tmp_path, models=[model_with_offers(("first", f"fault-429-retry-{said}"))]
    ) as here:
        with pytest.raises(openai.RateLimitError) as caught:
            await text_of(here.client(), "test/model", streamed=False)
        assert int(caught.value.response.headers["retry-after"]) == shown
