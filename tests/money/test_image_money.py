"""Images and embeddings out of a wallet: what is held, what is charged, and what a caller without credit is told."""

import asyncio

import openai
import pytest

from tests.support.gallery import MAKERS, PER_IMAGE, made_by
from tests.support.paying import DOLLAR, paying

MODELS = [
    made_by(("deepinfra", "picture", PER_IMAGE)),
    made_by(
        ("deepinfra", "fault-500", {"images": "0.01"}),
        ("together", "picture", PER_IMAGE),
        model="test/failing",
    ),
    made_by(("fal", "fal-ai/flux/picture-forever", PER_IMAGE), model="test/queued"),
    made_by(("openai", "vectors", {"input": "0.02"}), model="test/embedder")
    | {
        "offers": [
            {
                "provider": "openai",
                "upstream_id": "vectors",
                "price": {"input": "0.02"},
                "serves": ["embedding"],
            }
        ]
    },
]


@pytest.fixture
async def here(tmp_path, location):
    async with paying(tmp_path, location, dollars=0.10, models=MODELS, more=MAKERS) as one:
        yield one


async def test_images_are_held_and_charged_by_the_piece(here):
    await here.client().images.generate(model="test/picture", prompt="a cat", n=2)
    assert await here.spent() == 0.08 * DOLLAR
    with pytest.raises(openai.APIStatusError) as caught:
        await here.client().images.generate(model="test/picture", prompt="a cat")
    assert (caught.value.status_code, caught.value.code) == (402, "insufficient_credit")
    assert len(here.upstream.requests) == 1
    await here.balanced()


async def test_the_dearest_candidate_is_held_and_the_one_that_served_is_charged(here):
    await here.client().images.generate(model="test/failing", prompt="a cat")
    record = await here.call()
    assert (record["cost"], record["usage"]["images"]) == (0.04 * DOLLAR, 1)
    assert [row.fault for row in await here.attempts(record["id"])] == ["upstream_error", ""]
    assert await here.spent() == 0.04 * DOLLAR
    await here.balanced()


async def test_a_queued_request_that_its_client_left_costs_nothing(here):
    task = asyncio.create_task(here.client().images.generate(model="test/queued", prompt="a cat"))
    while not [one for one in here.upstream.requests if one.path.endswith("/status")]:
        await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await here.balanced()
    assert await here.spent() == 0
    assert (await here.call())["fault"] == "client_gone"


async def test_embeddings_are_charged_by_the_token(here):
    made = await here.client().embeddings.create(
        model="test/embedder", input=["a text of some length"] * 50
    )
    assert await here.spent() == made.usage.prompt_tokens * 20
    assert made.usage.cost == pytest.approx(made.usage.prompt_tokens * 20 / DOLLAR)
    await here.balanced()


@pytest.mark.parametrize(("size", "kept"), [(8, True), (4_096, False)])
async def test_vectors_that_are_too_many_are_not_kept_for_a_repeated_request(here, size, kept):
    for _ in range(2):
        given = {
            "model": "test/embedder",
            "input": ["fog"] * 20,
            "dimensions": size,
            "encoding_format": "float",
        }
        try:
            await here.client().embeddings.create(
                **given, extra_headers={"Idempotency-Key": "once"}
            )
        except openai.ConflictError as refused:
            assert refused.code == "replay_unavailable"
            assert not kept
        await here.settled()
    assert len(here.upstream.requests) == 1
