"""Images and embeddings out of a wallet: what is held, what is charged, and what a caller without credit is told."""

import asyncio

import openai
import pytest

from tests.support.billing_gateway import DOLLAR, run_billing_gateway
from tests.support.image_gateway import IMAGE_PROVIDERS, PER_IMAGE, image_model

MODELS = [
    image_model(("deepinfra", "picture", PER_IMAGE)),
    image_model(
        ("deepinfra", "fault-500", {"images": "0.01"}),
        ("together", "picture", PER_IMAGE),
        model="test/failing",
    ),
    image_model(("fal", "fal-ai/flux/picture-forever", PER_IMAGE), model="test/queued"),
    image_model(("openai", "vectors", {"input": "0.02", "output": "0"}), model="test/embedder")
    | {
        "offers": [
            {
                "provider": "openai",
                "upstream_id": "vectors",
                "price": {"input": "0.02", "output": "0"},
                "serves": ["embedding"],
            }
        ]
    },
]


@pytest.fixture
def kind():
    """One database is enough: what an image costs is decided above the store."""
    return "sqlite"


@pytest.fixture
async def gateway(tmp_path, location):
    async with run_billing_gateway(
        tmp_path, location, dollars=0.10, models=MODELS, more=IMAGE_PROVIDERS
    ) as one:
        yield one


async def test_images_are_held_and_charged_by_the_piece(gateway):
    await gateway.client().images.generate(model="test/picture", prompt="a cat", n=2)
    assert await gateway.usage_total() == 0.08 * DOLLAR
    with pytest.raises(openai.APIStatusError) as caught:
        await gateway.client().images.generate(model="test/picture", prompt="a cat")
    assert (caught.value.status_code, caught.value.code) == (402, "insufficient_credit")
    assert len(gateway.upstream.requests) == 1
    await gateway.assert_balanced()


async def test_the_dearest_candidate_is_held_and_the_one_that_served_is_charged(gateway):
    await gateway.client().images.generate(model="test/failing", prompt="a cat")
    record = await gateway.call()
    assert (record["cost"], record["usage"]["images"]) == (0.04 * DOLLAR, 1)
    assert [row.fault for row in await gateway.attempts(record["id"])] == ["upstream_error", ""]
    assert await gateway.usage_total() == 0.04 * DOLLAR
    await gateway.assert_balanced()


async def test_a_queued_request_that_its_client_left_costs_nothing(gateway):
    task = asyncio.create_task(
        gateway.client().images.generate(model="test/queued", prompt="a cat")
    )
    while not [one for one in gateway.upstream.requests if one.path.endswith("/status")]:
        await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await gateway.assert_balanced()
    assert await gateway.usage_total() == 0
    assert (await gateway.call())["fault"] == "client_gone"


async def test_embeddings_are_charged_by_the_token(gateway):
    made = await gateway.client().embeddings.create(
        model="test/embedder", input=["a text of some length"] * 50
    )
    assert await gateway.usage_total() == made.usage.prompt_tokens * 20
    assert made.usage.cost == pytest.approx(made.usage.prompt_tokens * 20 / DOLLAR)
    await gateway.assert_balanced()


@pytest.mark.parametrize(("size", "kept"), [(8, True), (4_096, False)])
async def test_vectors_that_are_too_many_are_not_kept_for_a_repeated_request(gateway, size, kept):
    for _ in range(2):
        given = {
            "model": "test/embedder",
            "input": ["fog"] * 20,
            "dimensions": size,
            "encoding_format": "float",
        }
        try:
            await gateway.client().embeddings.create(
                **given, extra_headers={"Idempotency-Key": "once"}
            )
        except openai.ConflictError as refused:
            assert refused.code == "replay_unavailable"
            assert not kept
        await gateway.wait_until_idle()
    assert len(gateway.upstream.requests) == 1
