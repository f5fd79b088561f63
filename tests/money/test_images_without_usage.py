"""Images whose provider reports no tokens: what is sold by the token is estimated, marked and shown; what is sold by the piece is not."""

import pytest

from gatewayz.core.events import BlockStarted, Frame, Kind
from gatewayz.core.requests import ImageRequest
from gatewayz.engine.usage_meter import UsageMeter
from tests.money.test_media_in_chat import run_media_gateway
from tests.support.billing_gateway import run_billing_gateway
from tests.support.image_gateway import IMAGE_PROVIDERS, image_model
from tests.support.scripted_upstream import answer_json
from tests.unit.test_output_limits import call_of, candidate

BY_TOKEN = {"input": "5.00", "output": "10.00", "image_output": "30.00"}
PRICES = {
    "token": BY_TOKEN,
    "piece": {"images": "0.04"},
    "pixel": {"pixels": "0.04"},
}


@pytest.fixture
def kind():
    """One database is enough: what an image costs is decided above the store."""
    return "sqlite"


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize(("quality", "tokens"), [("low", 408), ("medium", 1_584), (None, 6_240)])
async def test_missing_tokens_are_an_estimate_where_tokens_are_paid(
    tmp_path, location, price, quality, tokens
):
    model = image_model(("deepinfra", "picture", PRICES[price]))
    async with run_billing_gateway(
        tmp_path, location, dollars=5, models=[model], more=IMAGE_PROVIDERS
    ) as here:
        asked = {"quality": quality} if quality else {}
        answer = await here.client().images.generate(
            model="test/picture", prompt="a cat", n=2, **asked
        )
        call = await here.call()
        assert call["cost"] == await here.usage_total() > 0
        assert bool(call["estimated"]) is (price == "token")
        if price == "token":
            prompt = call["usage"]["input"]
            assert prompt >= 1
            assert call["usage"]["image_output"] == 2 * tokens
            assert call["cost"] == 5_000 * prompt + 30_000 * 2 * tokens
            assert answer.usage.output_tokens == 2 * tokens
            assert answer.usage.estimated is True
        else:
            assert answer.usage is None
        await here.assert_balanced()


async def test_reported_tokens_are_no_estimate(tmp_path, location):
    model = image_model(("deepinfra", "picture-tokens", BY_TOKEN))
    async with run_billing_gateway(
        tmp_path, location, dollars=5, models=[model], more=IMAGE_PROVIDERS
    ) as here:
        await here.client().images.generate(model="test/picture", prompt="a cat")
        call = await here.call()
        assert not call["estimated"]
        assert call["usage"]["image_output"] == 272
        await here.assert_balanced()


def images_answer(usage):
    """An answer of as many images as were asked for, with this report."""
    image = {"b64_json": "iVBORw0KGgo" * 10}
    return lambda request: answer_json(
        {"created": 1, "data": [image] * (request.body.get("n") or 1), "usage": usage}
    )


FALSE_REPORTS = [
    {"input_tokens": 9, "output_tokens": 10**9},
    {"input_tokens": 9, "output_tokens": 300_000, "output_tokens_details": {"text_tokens": 8}},
    {"input_tokens": 10**9, "output_tokens": 272},
    {"input_tokens": 0, "output_tokens": 272},
    {"output_tokens": 272},
    {"input_tokens": 9, "output_tokens": 0},
]


@pytest.mark.parametrize("report", FALSE_REPORTS)
@pytest.mark.parametrize("quality", ["low", None])
async def test_a_report_that_cannot_be_is_charged_as_an_estimate_and_within_the_hold(
    tmp_path, location, report, quality
):
    asked = {"quality": quality} if quality else {}
    tokens = 408 if quality else 6_240
    async with run_media_gateway(tmp_path, location, images_answer(report), BY_TOKEN) as here:
        for n in (1, 3):
            answer = await here.client().images.generate(
                model="test/model", prompt="a red fox", n=n, **asked
            )
            record = await here.call()
            usage, is_true = record["usage"], report["output_tokens"] == 272
            assert record["cost"] <= record["held"]
            assert record["estimated"]
            assert usage["image_output"] == (272 if is_true else n * tokens)
            assert 1 <= usage["input"] <= 9
            assert (answer.usage.input_tokens, answer.usage.output_tokens) == (
                usage["input"],
                usage["image_output"],
            )
            assert answer.usage.cost == record["cost"] / 10**9
        await here.assert_balanced()


@pytest.mark.parametrize(("quality", "tokens"), [("low", 408), ("medium", 1_584), ("", 6_240)])
@pytest.mark.parametrize("begun", [0, 1, 2])
def test_a_client_that_leaves_with_partial_images_pays_for_those_that_had_begun(
    quality, tokens, begun
):
    request = ImageRequest(
        dialect="openai_images", model="m", prompt="a red fox", n=4, quality=quality, streamed=True
    )
    meter, offer = UsageMeter(call_of(request)), candidate().offer
    frames = [Frame((BlockStarted(number, Kind.IMAGE),)) for number in range(begun)]
    meter.watch([*frames, Frame(())], offer)
    usage = meter.usage(offer)
    assert usage.estimated
    assert (usage.images, usage.image_output) == (begun, begun * tokens)
    assert bool(usage.input) is bool(begun)
