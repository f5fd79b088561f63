"""Embeddings by the official OpenAI SDK: forms, batches, token ids, dimensions, failover, money."""

import base64
import struct

import openai
import pytest

from gatewayz.core.money import usd_text
from gatewayz.simulator.embeddings import vector_from_text
from tests.support.running_gateway import run_gateway

PRICE = {"input": "0.02"}


def embedding_model(*rows, model="test/embedder"):
    return {
        "id": model,
        "known_offers": False,
        "offers": [
            {"provider": provider, "upstream_id": upstream, "price": PRICE, "serves": ["embedding"]}
            for provider, upstream in rows
        ],
    }


@pytest.fixture
async def gateway(tmp_path):
    models = [
        embedding_model(("first", "vectors"), ("second", "vectors")),
        embedding_model(("first", "fault-503"), ("second", "vectors"), model="test/failing"),
        embedding_model(("first", "vectors-no-usage"), model="test/uncounted"),
    ]
    async with run_gateway(
        tmp_path, models=models, more={"openai": {"base_url": "SIM/openai/v1", "key": "k"}}
    ) as running:
        yield running


@pytest.mark.parametrize("model", ["first/vectors", "openai/vectors", "openai/vectors-floats"])
@pytest.mark.parametrize("encoding", [openai.omit, "float", "base64"])
async def test_vectors_come_in_the_form_that_was_asked_for(gateway, model, encoding):
    response = await gateway.client().embeddings.create(
        model=model, input=["one", "two"], encoding_format=encoding
    )
    vectors = [item.embedding for item in response.data]
    if encoding == "base64":
        vectors = [list(struct.unpack("<8f", base64.b64decode(vector))) for vector in vectors]
    assert [list(vector) for vector in vectors] == [
        vector_from_text("one"),
        vector_from_text("two"),
    ]
    assert [item.index for item in response.data] == [0, 1]
    assert (response.model, response.object) == (model, "list")


async def test_only_a_provider_that_makes_base64_is_asked_for_it(gateway):
    for model, sent_fields in (
        ("first/vectors", {}),
        ("openai/vectors", {"encoding_format": "base64"}),
    ):
        await gateway.client().embeddings.create(
            model=model, input="one", dimensions=4, user="me", extra_body={"input_type": "query"}
        )
        assert gateway.sent == {
            "model": "vectors",
            "input": "one",
            "dimensions": 4,
            "user": "me",
            "input_type": "query",
            **sent_fields,
        }
        assert gateway.last.dropped == ()


@pytest.mark.parametrize("texts", ["one", ["one", "two"], [1, 2, 3], [[1, 2], [3]], ["one"] * 300])
async def test_texts_and_token_ids_alone_and_in_batches(gateway, texts):
    response = await gateway.client().embeddings.create(
        model="test/embedder", input=texts, dimensions=16
    )
    count = len(texts) if isinstance(texts, list) and not isinstance(texts[0], int) else 1
    assert [len(item.embedding) for item in response.data] == [16] * count
    assert gateway.sent["input"] == texts


async def test_what_was_used_is_charged_and_shown(gateway):
    raw = await gateway.client().embeddings.with_raw_response.create(
        model="test/embedder", input=["a text of some length"] * 5
    )
    [invoice] = gateway.upstream.invoices
    usage = raw.parse().usage
    assert (
        usage.prompt_tokens
        == usage.total_tokens
        == gateway.last.usage.input
        == invoice.prompt_tokens
    )
    assert (
        raw.headers["x-gatewayz-cost"]
        == usd_text(gateway.last.cost)
        == usd_text(invoice.prompt_tokens * 20)
    )
    assert not gateway.last.usage.estimated


async def test_a_provider_that_counts_nothing_is_estimated(gateway):
    response = await gateway.client().embeddings.create(
        model="test/uncounted", input="a text of some length"
    )
    assert gateway.last.usage.estimated
    assert gateway.last.usage.input == response.usage.prompt_tokens == 5
    assert gateway.last.cost > 0


async def test_a_failing_provider_is_left_for_the_next(gateway):
    await gateway.client().embeddings.create(model="test/failing", input="one")
    assert [(row.provider, row.fault) for row in gateway.last.attempts] == [
        ("first", "upstream_overloaded"),
        ("second", ""),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"input": ""},
        {"input": []},
        {"input": 5},
        {"input": ["a", ""]},
        {"input": ["a", 1]},
        {"input": [[]]},
        {"input": [1, "a"]},
        {"input": [-1]},
        {"input": ["a"] * 2049},
        {"dimensions": 0},
        {"dimensions": "8"},
        {"encoding_format": "int8"},
        {"user": 5},
        {"provider": []},
    ],
)
async def test_bad_input_names_the_field(gateway, body):
    with pytest.raises(openai.BadRequestError) as caught:
        await gateway.client().embeddings.create(
            model="test/embedder", input="one", extra_body=body
        )
    assert caught.value.param.partition("[")[0] == next(iter(body))
    assert not gateway.upstream.requests


@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("nobody/knows", openai.NotFoundError, 404),
        ("first/fault-400", openai.BadRequestError, 400),
        ("first/fault-429", openai.RateLimitError, 429),
        ("first/fault-no-data", openai.InternalServerError, 502),
        ("first/fault-half-json", openai.InternalServerError, 502),
        ("first/fault-error-200", openai.InternalServerError, 502),
        ("first/fault-hang-before", openai.InternalServerError, 504),
    ],
)
async def test_each_error_is_the_sdks_class(gateway, model, error, status):
    with pytest.raises(error) as caught:
        await gateway.client().embeddings.create(
            model=model, input="one", extra_headers={"x-request-timeout-ms": "700"}
        )
    assert caught.value.status_code == status
    assert caught.value.body["message"]


async def test_a_model_of_embeddings_does_not_chat(gateway):
    with pytest.raises(openai.BadRequestError, match="serves no chat requests"):
        await gateway.client().chat.completions.create(
            model="test/embedder", messages=[{"role": "user", "content": "hi"}]
        )
