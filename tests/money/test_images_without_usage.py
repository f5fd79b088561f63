"""Images whose provider reports no tokens: what is sold by the token is estimated, marked and shown; what is sold by the piece is not."""

import pytest

from tests.support.billing_gateway import run_billing_gateway
from tests.support.image_gateway import IMAGE_PROVIDERS, image_model

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
