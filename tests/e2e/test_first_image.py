"""The first image of whoever pays: one provider's key is enough, and a name means something before it costs something."""

import openai
import pytest

from tests.support.billing_gateway import run_billing_gateway
from tests.support.image_gateway import IMAGE_PROVIDER_ROWS

SEEDED = {"seed": True, "sync_every_s": 0}
ROWS = {**IMAGE_PROVIDER_ROWS, "xai": {"base_url": "SIM/xai/v1", "key": "k-xai"}}


@pytest.fixture
def kind():
    """One database is enough: which model is meant is decided above the store."""
    return "sqlite"


def one_key(provider):
    return {provider: ROWS[provider]}


@pytest.mark.parametrize(
    ("provider", "model", "nanos"),
    [
        ("deepinfra", "stabilityai/sd3.5", 60_000_000),
        ("openai", "openai/gpt-image-1-mini", None),
        ("xai", "x-ai/grok-imagine-image", 20_000_000),
        ("fal", "fal-ai/flux/schnell", 3_000_000),
    ],
)
async def test_an_image_without_a_model_is_drawn_and_paid_with_one_providers_key(
    tmp_path, location, provider, model, nanos
):
    more = one_key(provider)
    async with run_billing_gateway(
        tmp_path, location, dollars=5, models=[], catalog=SEEDED, more=more
    ) as here:
        answer = await here.client().images.generate(prompt="a lighthouse in fog")
        assert answer.data
        call = await here.call()
        assert (call["model"], call["provider"]) == (model, provider)
        assert call["cost"] == await here.usage_total() > 0
        assert nanos is None or call["cost"] == nanos
        await here.assert_balanced()


async def test_with_no_key_at_all_the_refusal_is_about_the_first_default(tmp_path, location):
    async with run_billing_gateway(
        tmp_path, location, dollars=5, models=[], catalog=SEEDED
    ) as here:
        with pytest.raises(openai.APIStatusError, match="sd3.5"):
            await here.client().images.generate(prompt="a lighthouse in fog")


@pytest.mark.parametrize("name", ["stabilityai/sd9.5", "dall-e-33", "gpt-image-one", "flux-schnel"])
async def test_an_unknown_name_of_an_image_model_is_a_404_with_near_names(tmp_path, location, name):
    more = one_key("deepinfra")
    async with run_billing_gateway(
        tmp_path, location, dollars=5, models=[], catalog=SEEDED, more=more
    ) as here:
        with pytest.raises(openai.NotFoundError, match="does not exist") as caught:
            await here.client().images.generate(model=name, prompt="x")
        near = caught.value.message.partition("near it: ")[2].rstrip(".").split(", ")
        assert set(near) <= {"stabilityai/sd3.5", "black-forest-labs/flux-2-max"}
        assert near[0]
        assert "models: [" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "does"),
    [
        ("fal/fal-ai/veo3", "makes video"),
        ("fal/fal-ai/minimax/hailuo-02/standard/text-to-video", "makes video"),
        ("fal/fal-ai/trellis", "makes three-dimensional models"),
        ("openai/sora-2", "makes video"),
        ("openai/whisper-1", "writes down speech"),
    ],
)
async def test_what_a_model_does_comes_before_what_it_costs(tmp_path, location, name, does):
    more = one_key("fal") | one_key("openai")
    async with run_billing_gateway(
        tmp_path, location, dollars=5, models=[], catalog=SEEDED, more=more
    ) as here:
        for key in (here.key, here.house_key):
            with pytest.raises(openai.NotFoundError, match=does):
                await here.client(api_key=key).images.generate(model=name, prompt="x")


async def test_whoever_pays_is_shown_only_what_can_be_bought(tmp_path, location):
    more = {"featherless": {"base_url": "SIM/v1", "key": "k"}} | one_key("openai")
    async with run_billing_gateway(
        tmp_path, location, dollars=5, models=[], catalog=SEEDED, more=more
    ) as here:
        paying, house = [
            {model.id: model async for model in here.client(api_key=key).models.list()}
            for key in (here.key, here.house_key)
        ]
        assert {id for id in house if id.startswith("featherless")}
        assert house.keys() > paying.keys()
        assert all(model.pricing is not None for model in paying.values())
        assert "openai/gpt-5-pro" not in house
        unsold = min(house.keys() - paying.keys())
        with pytest.raises(openai.NotFoundError):
            await here.client().models.retrieve(unsold)
        await here.client(api_key=here.house_key).models.retrieve(unsold)
