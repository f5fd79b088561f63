"""Google's embeddings through the official OpenAI SDK: the Gemini API by key, Vertex AI by account; batches, counts, money."""

import base64
import json
import struct

import openai
import pytest

from gatewayz.simulator.embeddings import vector_of
from tests.support.house import house

VERTEX = "SIM/{location}/v1/projects/acme/locations/{location}"
PRICE = {"input": "0.15"}


def sold(provider, upstream_id):
    return {
        "id": f"test/{provider}",
        "known_offers": False,
        "offers": [
            {
                "provider": provider,
                "upstream_id": upstream_id,
                "price": PRICE,
                "serves": ["embedding"],
            }
        ],
    }


@pytest.fixture
async def here(tmp_path):
    file = tmp_path / "key.json"
    more = {
        "google-ai-studio": {"base_url": "SIM/gemini/v1beta", "key": "k-gemini"},
        "google-vertex": {
            "base_url": VERTEX,
            "auth": "google",
            "key": str(file),
            "locations": ["global"],
        },
    }
    models = [
        sold("google-ai-studio", "gemini-embedding-001"),
        sold("google-vertex", "text-embedding-005"),
    ]
    async with house(tmp_path, providers=(), more=more, models=models) as one:
        file.write_text(json.dumps(one.upstream.accounts.service_account(one.upstream.url)))
        yield one


BOTH = pytest.mark.parametrize("model", ["test/google-ai-studio", "test/google-vertex"])


@BOTH
@pytest.mark.parametrize("form", ["float", "base64"])
async def test_vectors_come_in_the_form_that_was_asked_for(here, model, form):
    made = await here.client().embeddings.create(
        model=model, input=["one", "two"], encoding_format=form, dimensions=16
    )
    vectors = [item.embedding for item in made.data]
    if form == "base64":
        vectors = [list(struct.unpack("<16f", base64.b64decode(vector))) for vector in vectors]
    assert [
        [struct.unpack("<f", struct.pack("<f", one))[0] for one in vector] for vector in vectors
    ] == [vector_of("one", 16), vector_of("two", 16)]
    assert [item.index for item in made.data] == [0, 1]
    assert (made.model, made.object) == (model, "list")


async def test_each_is_asked_in_its_own_words(here):
    client = here.client()
    await client.embeddings.create(
        model="test/google-ai-studio",
        input="one",
        dimensions=4,
        user="me",
        extra_body={"input_type": "query"},
    )
    asked = here.upstream.requests[-1]
    assert asked.path == "/gemini/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert asked.headers["x-goog-api-key"] == "k-gemini"
    assert asked.content == {
        "requests": [
            {
                "model": "models/gemini-embedding-001",
                "content": {"parts": [{"text": "one"}]},
                "outputDimensionality": 4,
            }
        ]
    }
    assert here.last.dropped == ("user", "input_type")
    await client.embeddings.create(model="test/google-vertex", input="one", dimensions=4)
    asked = here.upstream.requests[-1]
    assert (
        asked.path
        == "/global/v1/projects/acme/locations/global/publishers/google/models/text-embedding-005:predict"
    )
    assert asked.headers["authorization"].startswith("Bearer ya29.")
    assert asked.content == {
        "instances": [{"content": "one"}],
        "parameters": {"outputDimensionality": 4},
    }


@pytest.mark.parametrize(
    ("model", "count", "requests"),
    [
        ("test/google-ai-studio", 250, 3),
        ("test/google-vertex", 251, 2),
        ("google-vertex/gemini-embedding-001", 3, 3),
    ],
)
async def test_more_texts_than_a_request_may_hold_are_several_requests(
    here, model, count, requests
):
    texts = [f"text {number}" for number in range(count)]
    made = await here.client().embeddings.create(model=model, input=texts)
    assert [item.index for item in made.data] == list(range(count))
    assert made.data[-1].embedding == pytest.approx(vector_of(texts[-1]))
    asked = [
        one
        for one in here.upstream.requests
        if one.path.endswith((":batchEmbedContents", ":predict"))
    ]
    assert len(asked) == requests


async def test_what_vertex_counts_is_charged_and_what_nobody_counts_is_estimated(here):
    made = await here.client().embeddings.create(
        model="test/google-vertex", input=["a text of some length"] * 3
    )
    counted = here.upstream.invoices[-1].prompt_tokens
    assert made.usage.prompt_tokens == here.last.usage.input == counted
    assert here.last.cost == counted * 150
    assert not here.last.usage.estimated
    await here.client().embeddings.create(
        model="test/google-ai-studio", input="a text of some length"
    )
    assert here.last.usage.estimated
    assert here.last.cost == here.last.usage.input * 150 > 0


@BOTH
async def test_token_ids_and_too_many_texts_are_refused_by_name(here, model):
    with pytest.raises(openai.BadRequestError, match="no token ids"):
        await here.client().embeddings.create(model=model, input=[1, 2, 3])
    assert not [
        one
        for one in here.upstream.requests
        if one.method == "POST" and not one.path.endswith("/token")
    ]


@pytest.mark.parametrize(
    ("scene", "error"),
    [
        ("fault-400", openai.BadRequestError),
        ("fault-429", openai.RateLimitError),
        ("fault-503", openai.InternalServerError),
        ("unknown", openai.NotFoundError),
    ],
)
@pytest.mark.parametrize("provider", ["google-ai-studio", "google-vertex"])
async def test_each_error_is_the_sdks_class(here, provider, scene, error):
    with pytest.raises(error) as caught:
        await here.client().embeddings.create(model=f"{provider}/{scene}", input="one")
    assert caught.value.body["message"]
