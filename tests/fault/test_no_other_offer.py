"""Many routes at one provider, and one provider alone: others are asked first, and where there are
none, nobody is refused for a preference.
"""

import asyncio

import openai
import pytest

from tests.support.running_gateway import model_with_offers, run_gateway

HI = [{"role": "user", "content": "Hello"}]
ROUTES = tuple(("first", f"route-{number}") for number in range(10))


async def ask(here, model="test/model"):
    return await here.client().chat.completions.create(model=model, messages=HI)


def asked(here):
    return [request.path.split("/")[1] for request in here.upstream.requests]


@pytest.mark.parametrize("scene", ["fault-503", "fault-500", "fault-rst-before", "fault-html-200"])
@pytest.mark.parametrize("others", [("second",), ("second", "third")])
async def test_after_a_failure_of_a_provider_the_others_come_before_its_other_routes(
    tmp_path, scene, others
):
    rows = (*ROUTES, *((name, f"at-{name}") for name in others))
    async with run_gateway(tmp_path, models=[model_with_offers(*rows)]) as here:
        for _, route in ROUTES:
            here.upstream.script(route, [scene] * 3)
        for name in others[:-1]:
            here.upstream.script(f"at-{name}", [scene] * 3)
        here.upstream.script(f"at-{others[-1]}", ["echo"])
        assert (await ask(here)).choices
        assert asked(here) == ["first", *others]


@pytest.mark.parametrize(("retry", "status", "error"), [("30", 429, openai.RateLimitError)])
async def test_a_rest_that_a_provider_asked_for_is_told_as_that_with_its_time(
    tmp_path, retry, status, error
):
    async with run_gateway(tmp_path, models=[model_with_offers(("first", "model"))]) as here:
        here.upstream.script("model", [f"fault-429-retry-{retry}", "echo"])
        for _ in range(3):
            with pytest.raises(error) as caught:
                await ask(here)
            headers = caught.value.response.headers
            assert caught.value.status_code == status
            assert 0 < int(headers["retry-after"]) <= int(retry) + 1
        # It asked to be left alone, and was.
        assert asked(here) == ["first"]


@pytest.mark.parametrize("scene", ["fault-401", "fault-402", "fault-403"])
async def test_an_open_breaker_is_told_with_the_true_time(tmp_path, scene):
    async with run_gateway(tmp_path, models=[model_with_offers(("first", "model"))]) as here:
        here.upstream.script("model", [scene] * 3)
        with pytest.raises(openai.InternalServerError) as caught:
            await ask(here)
        assert 200 < int(caught.value.response.headers["retry-after"]) <= 331


async def test_a_healthy_provider_alone_gets_every_call_after_its_breaker_has_closed(tmp_path):
    breaker = {"failures": 2, "open_s": 0.2, "jitter": 0.0, "slow_start_s": 60.0}
    models = [model_with_offers(("first", "model"))]
    async with run_gateway(tmp_path, models=models, routing={"breaker": breaker}) as here:
        here.upstream.script("model", ["fault-401", *["echo"] * 50])
        with pytest.raises(openai.InternalServerError):
            await ask(here)
        await asyncio.sleep(0.3)
        assert (await ask(here)).choices
        answers = await asyncio.gather(*(ask(here) for _ in range(40)))
        assert len(answers) == 40
