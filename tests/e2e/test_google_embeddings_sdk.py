"""Google's embeddings by the OpenAI SDK: by key and by account; batches, counts, money."""

import base64
import json
import struct

import openai
import pytest

from gatewayz.simulator.embeddings import vector_from_text
from tests.support.running_gateway import run_gateway

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
async def gateway(tmp_path):
    file = tmp_path / "key.json"
    rows = {
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
    async with run_gateway(tmp_path, providers=(), more=rows, models=models) as running:
        account = running.upstream.accounts.create_service_account(running.upstream.url)
        file.write_text(json.dumps(account))
        yield running


BOTH = pytest.mark.parametrize("model", ["test/google-ai-studio", "test/google-vertex"])


@BOTH
@pytest.mark.parametrize("form", ["float", "base64"])
async def test_vectors_come_in_the_form_that_was_asked_for(gateway, model, form):
    reply = await gateway.client().embeddings.create(
        model=model, input=["one", "two"], encoding_format=form, dimensions=16
    )
    vectors = [item.embedding for item in reply.data]
    if form == "base64":
        vectors = [list(struct.unpack("<16f", base64.b64decode(vector))) for vector in vectors]
    assert [
        [struct.unpack("<f", struct.pack("<f", value))[0] for value in vector] for vector in vectors
    ] == [vector_from_text("one", 16), vector_from_text("two", 16)]
    assert [item.index for item in reply.data] == [0, 1]
    assert (reply.model, reply.object) == (model, "list")


async def test_each_is_asked_in_its_own_words(gateway):
    client = gateway.client()
    await client.embeddings.create(
        model="test/google-ai-studio",
        input="one",
        dimensions=4,
        user="me",
        extra_body={"input_type": "query"},
    )
    asked = gateway.upstream.requests[-1]
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
    assert gateway.last.dropped == ("user", "input_type")
    await client.embeddings.create(model="test/google-vertex", input="one", dimensions=4)
    asked = gateway.upstream.requests[-1]
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
    gateway, model, count, requests
):
    texts = [f"text {number}" for number in range(count)]
    reply = await gateway.client().embeddings.create(model=model, input=texts)
    assert [item.index for item in reply.data] == list(range(count))
    assert reply.data[-1].embedding == pytest.approx(vector_from_text(texts[-1]))
    asked = [
        request
        for request in gateway.upstream.requests
        if request.path.endswith((":batchEmbedContents", ":predict"))
    ]
    assert len(asked) == requests


async def test_what_vertex_counts_is_charged_and_what_nobody_counts_is_estimated(gateway):
    reply = await gateway.client().embeddings.create(
        model="test/google-vertex", input=["a text of some length"] * 3
    )
    counted = gateway.upstream.invoices[-1].prompt_tokens
    assert reply.usage.prompt_tokens == gateway.last.usage.input == counted
    assert gateway.last.cost == counted * 150
    assert not gateway.last.usage.estimated
    await gateway.client().embeddings.create(
        model="test/google-ai-studio", input="a text of some length"
    )
    assert gateway.last.usage.estimated
    assert gateway.last.cost == gateway.last.usage.input * 150 > 0


@BOTH
async def test_token_ids_and_too_many_texts_are_refused_by_name(gateway, model):
    with pytest.raises(openai.BadRequestError, match="not token ids"):
        await gateway.client().embeddings.create(model=model, input=[1, 2, 3])
    assert not [
        request
        for request in gateway.upstream.requests
        if request.method == "POST" and not request.path.endswith("/token")
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
async def test_each_error_is_the_sdks_class(gateway, provider, scene, error):
    with pytest.raises(error) as caught:
        await gateway.client().embeddings.create(model=f"{provider}/{scene}", input="one")
    assert caught.value.body["message"]
