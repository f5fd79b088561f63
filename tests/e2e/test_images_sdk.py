"""Images by the official OpenAI SDK: wires, forms, sizes, streams, money, failover."""

import asyncio
import base64
import re
from typing import Any

import openai
import pytest

from gatewayz.core.money import usd_text
from gatewayz.observe.exposition import render_metrics
from tests.support.image_gateway import PER_IMAGE, image_model, run_image_gateway
from tests.support.running_gateway import wait_until

PNG = b"\x89PNG\r\n"


@pytest.fixture
async def gateway(tmp_path):
    models = [
        image_model(
            ("deepinfra", "fault-500", {"images": "0.01"}),
            ("together", "picture-together", PER_IMAGE),
            model="test/failing",
        ),
        image_model(("fal", "fal-ai/flux/picture", {"pixels": "0.02"}), model="test/megapixels"),
        image_model(
            (
                "openai",
                "gpt-image-1",
                {"input": "5.00", "image_output": "40.00", "output": "10.00"},
            ),
            model="test/tokens",
        ),
        image_model(
            ("deepinfra", "picture", {"images": "0.03"}),
            ("fal", "owner/picture-direct", {"pixels": "0.02"}),
            model="test/mixed",
        ),
        image_model(
            ("openai", "gpt-image-1", PER_IMAGE),
            ("together", "picture", PER_IMAGE),
            model="test/breaking",
        ),
        image_model(
            (
                "google-ai-studio",
                "picture",
                {"input": "0.30", "output": "2.50", "image_output": "30.00"},
            ),
            model="test/gemini",
        ),
        image_model(("deepinfra", "picture", PER_IMAGE), ("fal", "fal-ai/flux/picture", PER_IMAGE)),
    ]
    async with run_image_gateway(tmp_path, models=models) as running:
        yield running


def image_in(item):
    content = base64.b64decode(item.b64_json)
    assert content.startswith(PNG)
    return int.from_bytes(content[16:20]), int.from_bytes(content[20:24])


def posts(gateway):
    return [request for request in gateway.upstream.requests if request.method == "POST"]


async def test_a_request_without_a_model_goes_to_the_default_provider(gateway):
    response = await gateway.client().images.generate(prompt="a cat", size="512x256")
    assert image_in(response.data[0]) == (512, 256)
    request = gateway.upstream.requests[-1]
    assert request.path == "/deepinfra/v1/openai/images/generations"
    assert request.headers["authorization"] == "Bearer k-deepinfra"
    assert request.content == {
        "model": "stabilityai/sd3.5",
        "prompt": "a cat",
        "size": "512x256",
        "response_format": "b64_json",
    }


async def test_a_model_that_nobody_knows_is_an_id_at_the_provider_that_was_asked_for(gateway):
    await gateway.client().images.generate(
        prompt="a cat", model="owner/picture", extra_body={"provider": "together"}
    )
    assert (gateway.upstream.requests[-1].path, gateway.sent["model"]) == (
        "/together/v1/images/generations",
        "owner/picture",
    )


async def test_each_provider_is_asked_in_its_own_words(gateway):
    fields = {
        "prompt": "a cat",
        "n": 2,
        "size": "1024x768",
        "quality": "hd",
        "style": "vivid",
        "response_format": "b64_json",
        "extra_body": {
            "seed": 7,
            "negative_prompt": "dogs",
            "provider_options": {"together": {"steps": 4}, "fal": {"guidance_scale": 3.5}},
        },
    }
    sent = {}
    for model in (
        "deepinfra/picture",
        "openai/gpt-image-1",
        "openai/dall-e-3",
        "together/picture",
        "fal/owner/picture-direct",
        "vertex/endpoints/picture",
    ):
        response = await gateway.client().images.generate(model=model, **fields)
        assert [image_in(item) for item in response.data] == [(1024, 768)] * 2
        sent[model] = posts(gateway)[-1]
    common = {"prompt": "a cat", "n": 2, "size": "1024x768"}
    more = {"seed": 7, "negative_prompt": "dogs"}
    assert sent["deepinfra/picture"].content == {
        "model": "picture",
        **common,
        **more,
        "response_format": "b64_json",
    }
    assert sent["openai/gpt-image-1"].content == {
        "model": "gpt-image-1",
        **common,
        "quality": "high",
    }
    assert sent["openai/dall-e-3"].content == {
        "model": "dall-e-3",
        **common,
        "quality": "hd",
        "style": "vivid",
        "response_format": "b64_json",
    }
    assert sent["together/picture"].content == {
        "model": "picture",
        "prompt": "a cat",
        "n": 2,
        "width": 1024,
        "height": 768,
        **more,
        "response_format": "base64",
        "steps": 4,
    }
    fal = sent["fal/owner/picture-direct"]
    assert (fal.path, fal.headers["authorization"]) == ("/fal/owner/picture-direct", "Key k-fal")
    assert fal.content == {
        "prompt": "a cat",
        "num_images": 2,
        "image_size": "landscape_4_3",
        **more,
        "guidance_scale": 3.5,
    }
    vertex = sent["vertex/endpoints/picture"]
    assert vertex.path == "/vertex/v1/projects/p/locations/l/endpoints/picture:predict"
    assert vertex.content == {
        "instances": [{"prompt": "a cat", "width": 1024, "height": 768, **more}] * 2
    }


async def test_gemini_draws_one_image_a_request_and_is_charged_for_all(gateway):
    response = await gateway.client().images.generate(
        model="test/gemini",
        prompt="a cat",
        n=3,
        size="1792x1024",
        quality="high",
        extra_body={"seed": 7, "style": "vivid"},
    )
    assert [image_in(item) for item in response.data] == [(1344, 768)] * 3
    requests = posts(gateway)
    assert [request.path for request in requests] == [
        "/gemini/v1beta/models/picture:generateContent"
    ] * 3
    assert requests[0].headers["x-goog-api-key"] == "k-gemini"
    config = {"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "16:9"}}
    assert [request.content["generationConfig"] for request in requests] == [
        {**config, "seed": 7 + number} for number in range(3)
    ]
    assert gateway.last.dropped == ("quality", "style")
    assert (
        gateway.last.usage.image_output
        == sum(invoice.completion_tokens for invoice in gateway.upstream.invoices)
        == 3 * 1_290
    )
    assert (
        gateway.last.cost
        == 3 * 1_290 * 30_000
        + sum(invoice.prompt_tokens for invoice in gateway.upstream.invoices) * 300
    )


async def test_images_that_gemini_made_before_it_failed_are_kept(gateway):
    gateway.upstream.script("picture", ["picture", "fault-500"])
    response = await gateway.client().images.generate(model="test/gemini", prompt="a cat", n=3)
    assert len(response.data) == gateway.last.usage.images == 1


@pytest.mark.parametrize(
    ("scene", "status"),
    [("fault-503", 503), ("exchange-finish_image_safety", 400), ("fault-429", 429)],
)
async def test_gemini_refuses_in_its_own_words(gateway, scene, status):
    with pytest.raises(openai.APIStatusError) as caught:
        await gateway.client().images.generate(model=f"google-ai-studio/{scene}", prompt="a cat")
    assert caught.value.status_code == status


async def test_what_a_provider_cannot_be_told_is_named(gateway):
    raw = await gateway.client().images.with_raw_response.generate(
        model="fal/owner/picture-direct",
        prompt="x",
        quality="high",
        extra_body={"background": "opaque"},
    )
    assert raw.headers["x-gatewayz-dropped"] == "quality, background"
    assert raw.headers["x-gatewayz-provider"] == "fal"


async def test_unknown_fields_reach_a_provider_of_the_dialect_and_come_back_from_it(gateway):
    response = await gateway.client().images.generate(
        model="together/picture-together", prompt="x", extra_body={"steps": 9}
    )
    assert gateway.sent["steps"] == 9
    assert response.data[0].timings == {"inference": 0.31}


@pytest.mark.parametrize(
    "model",
    ["fal/owner/picture", "fal/owner/picture-direct", "together/picture-url", "openai/dall-e-3"],
)
async def test_an_address_is_fetched_where_the_client_wants_bytes_and_passed_on_where_not(
    gateway, model
):
    linked = await gateway.client().images.generate(model=model, prompt="x", response_format="url")
    assert re.fullmatch(rf"{gateway.upstream.url}/files/1024x1024-0\.png", linked.data[0].url)
    assert not linked.data[0].b64_json
    assert not [
        request for request in gateway.upstream.requests if request.path.startswith("/files/")
    ]
    fetched = await gateway.client().images.generate(
        model=model, prompt="x", response_format="b64_json"
    )
    assert image_in(fetched.data[0]) == (1024, 1024)
    assert not fetched.data[0].url


async def test_bytes_for_a_client_that_wants_an_address_come_in_a_data_url(gateway):
    response = await gateway.client().images.generate(
        model="deepinfra/picture", prompt="x", response_format="url"
    )
    assert response.data[0].url.startswith("data:image/png;base64,iVBOR")


async def test_a_redirected_file_is_fetched(gateway):
    response = await gateway.client().images.generate(
        model="together/picture-file-moved", prompt="x", extra_body={"response_format": "b64_json"}
    )
    assert image_in(response.data[0]) == (1024, 1024)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("missing", "HTTP 404"),
        ("html", "not an image"),
        ("circle", "redirected"),
        ("large", "bytes"),
        ("away", "not a public address"),
        ("inside", "not a public address"),
    ],
)
async def test_a_file_that_cannot_be_had_is_the_providers_fault(gateway, wrong, why):
    with pytest.raises(openai.InternalServerError) as caught:
        await gateway.client().images.generate(
            model=f"together/picture-file-{wrong}", prompt="x", response_format="b64_json"
        )
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_broken")
    body: Any = caught.value.body
    assert why in body["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": ""},
        {"prompt": 5},
        {"size": "huge"},
        {"size": "0x10"},
        {"size": "1024"},
        {"size": "1024X1024"},
        {"size": "9000x9000"},
        {"size": 1024},
        {"n": 0},
        {"n": 11},
        {"n": 1.5},
        {"quality": "best"},
        {"style": "odd"},
        {"response_format": "png"},
        {"provider": 5},
        {"provider_options": {"fal": 5}},
        {"stream": "yes"},
        {"prompt": "x" * 40_000},
        {"seed": -1},
    ],
)
async def test_bad_input_names_the_field(gateway, body):
    with pytest.raises(openai.BadRequestError) as caught:
        await gateway.client().images.generate(
            model="test/picture", prompt="a cat", extra_body=body
        )
    assert caught.value.param.partition(".")[0] == next(iter(body))
    assert not gateway.upstream.requests


@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("nobody/knows", openai.NotFoundError, 404),
        ("deepinfra/fault-400", openai.BadRequestError, 400),
        ("deepinfra/fault-filter", openai.BadRequestError, 400),
        ("deepinfra/fault-429", openai.RateLimitError, 429),
        ("deepinfra/fault-401", openai.InternalServerError, 503),
        ("deepinfra/fault-no-images", openai.InternalServerError, 502),
        ("deepinfra/fault-half-json", openai.InternalServerError, 502),
        ("deepinfra/fault-error-200", openai.InternalServerError, 502),
        ("fal/x/fault-filter", openai.BadRequestError, 400),
        ("fal/x/fault-quota", openai.InternalServerError, 503),
        ("fal/x/fault-late-503", openai.InternalServerError, 503),
        ("fal/x/fault-late-filter", openai.BadRequestError, 400),
        ("fal/x/picture-nsfw", openai.BadRequestError, 400),
        ("vertex/endpoints/nothing", openai.NotFoundError, 404),
    ],
)
async def test_each_error_is_the_sdks_class(gateway, model, error, status):
    with pytest.raises(error) as caught:
        await gateway.client().images.generate(model=model, prompt="x")
    assert caught.value.status_code == status
    assert caught.value.body["message"]


@pytest.mark.parametrize(
    "model",
    ["fal/fal-ai/veo3", "fal/fal-ai/kling-video/v2/text-to-video", "fal/owner/picture-video"],
)
async def test_a_model_that_makes_video_is_a_404_that_says_so(gateway, model):
    with pytest.raises(openai.NotFoundError, match="makes video"):
        await gateway.client().images.generate(model=model, prompt="x")


async def test_a_chat_with_a_model_of_images_is_refused_with_the_reason(gateway):
    with pytest.raises(openai.BadRequestError, match="serves no chat requests"):
        await gateway.client().chat.completions.create(
            model="test/picture", messages=[{"role": "user", "content": "hi"}]
        )


async def test_a_failing_provider_is_left_for_the_next_and_its_price_is_charged(gateway):
    raw = await gateway.client().images.with_raw_response.generate(
        model="test/failing", prompt="a cat", n=3
    )
    assert len(raw.parse().data) == 3
    assert (raw.headers["x-gatewayz-provider"], raw.headers["x-gatewayz-attempts"]) == (
        "together",
        "2",
    )
    assert raw.headers["x-gatewayz-cost"] == "0.12"
    outcome = gateway.last
    assert [(row.provider, row.fault) for row in outcome.attempts] == [
        ("deepinfra", "upstream_error"),
        ("together", ""),
    ]
    assert (outcome.usage.images, usd_text(outcome.cost)) == (3, "0.12")
    billed = [invoice for invoice in gateway.upstream.invoices if not invoice.fault]
    assert sum(invoice.images for invoice in billed) == outcome.usage.images


async def test_megapixels_are_charged_as_the_provider_bills_them(gateway):
    await gateway.client().images.generate(
        model="test/megapixels", prompt="x", n=2, size="1536x1024"
    )
    [invoice] = gateway.upstream.invoices
    assert gateway.last.usage.pixels == invoice.pixels == 2 * 2 * 10**6
    assert usd_text(gateway.last.cost) == "0.08"


async def test_tokens_are_charged_where_the_provider_counts_them(gateway):
    response = await gateway.client().images.generate(
        model="test/tokens", prompt="a grey cat on a mat"
    )
    [invoice] = gateway.upstream.invoices
    usage = gateway.last.usage
    assert (usage.input, usage.image_output) == (invoice.prompt_tokens, invoice.completion_tokens)
    assert (response.usage.input_tokens, response.usage.output_tokens) == (
        invoice.prompt_tokens,
        invoice.completion_tokens,
    )
    assert gateway.last.cost == invoice.prompt_tokens * 5_000 + invoice.completion_tokens * 40_000


async def test_a_stream_shows_partial_images_and_ends_with_the_whole_ones(gateway):
    stream = await gateway.client().images.generate(
        model="openai/gpt-image-1", prompt="a cat", stream=True, partial_images=2, size="64x32"
    )
    events = [event async for event in stream]
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + [
        "image_generation.completed"
    ]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]
    assert image_in(events[-1]) == (64, 32)
    assert events[-1].usage.output_tokens == gateway.last.usage.image_output == 272
    assert gateway.last.fault == ""


@pytest.mark.parametrize(
    "model", ["deepinfra/picture", "fal/owner/picture-direct", "vertex/endpoints/picture"]
)
async def test_a_provider_that_does_not_stream_serves_a_client_that_does(gateway, model):
    stream = await gateway.client().images.generate(
        model=model, prompt="a cat", stream=True, n=2, response_format="b64_json"
    )
    events = [event async for event in stream]
    assert [(event.type, image_in(event)) for event in events] == [
        ("image_generation.completed", (1024, 1024))
    ] * 2
    assert "stream" not in posts(gateway)[-1].content


@pytest.mark.parametrize(
    "broken", ["fault-cut-0", "fault-sse-error-0", "fault-empty-stream", "fault-json-for-stream"]
)
async def test_a_stream_that_breaks_off_before_an_image_fails_over(gateway, broken):
    gateway.upstream.script("gpt-image-1", [broken])
    stream = await gateway.client().images.generate(model="test/breaking", prompt="x", stream=True)
    assert [event.type async for event in stream] == ["image_generation.completed"]
    assert [(row.provider, bool(row.fault)) for row in gateway.last.attempts] == [
        ("openai", True),
        ("together", False),
    ]


async def test_a_stream_that_breaks_after_an_image_ends_with_an_error_and_is_charged_for_it(
    gateway,
):
    gateway.upstream.script("gpt-image-1", ["fault-cut-1"])
    events = []
    with pytest.raises(openai.APIError):
        async for event in await gateway.client().images.generate(
            model="test/breaking", prompt="x", stream=True, n=3
        ):
            events.append(event.type)
    assert events == ["image_generation.completed"]
    assert gateway.last.usage.images == 1


async def test_the_breaker_moves_as_for_chat(gateway):
    for _ in range(6):
        await gateway.client().images.generate(model="test/failing", prompt="x")
    assert (
        len([request for request in posts(gateway) if request.path.startswith("/deepinfra")]) == 5
    )
    assert [row.provider for row in gateway.last.attempts] == ["together"]


@pytest.mark.parametrize("model", ["fal/fal-ai/flux/picture-wait"])
async def test_a_queued_request_is_asked_after_until_it_is_done(gateway, model):
    response = await gateway.client().images.generate(
        model=model, prompt="a cat", n=2, response_format="b64_json"
    )
    assert len(response.data) == 2
    paths = [
        (request.method, request.path.rpartition("/")[2]) for request in gateway.upstream.requests
    ]
    assert paths[0] == ("POST", "picture-wait")
    assert paths.count(("GET", "status")) >= 2
    assert not [request for request in gateway.upstream.requests if request.method == "PUT"]
    assert all(
        request.headers["authorization"] == "Key k-fal" for request in gateway.upstream.requests
    )


async def test_a_client_that_leaves_the_queue_cancels_its_request_upstream(gateway):
    task = asyncio.create_task(
        gateway.client().images.generate(model="fal/fal-ai/flux/picture-forever", prompt="x")
    )
    while not [
        request for request in gateway.upstream.requests if request.path.endswith("/status")
    ]:
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gateway.wait_until_idle()
    await wait_until(
        lambda: [request for request in gateway.upstream.requests if request.method == "PUT"]
    )
    [cancelled] = [request for request in gateway.upstream.requests if request.method == "PUT"]
    assert cancelled.path.startswith("/fal-queue/fal-ai/flux/requests/")
    assert cancelled.path.endswith("/cancel")
    assert (gateway.last.fault, gateway.last.cost) == ("client_gone", 0)


async def test_time_that_runs_out_in_the_queue_cancels_too(gateway):
    with pytest.raises(openai.InternalServerError) as caught:
        await gateway.client().images.generate(
            model="fal/fal-ai/flux/picture-forever",
            prompt="x",
            extra_headers={"x-request-timeout-ms": "900"},
        )
    assert caught.value.status_code == 504
    await gateway.wait_until_idle()
    assert [request.method for request in gateway.upstream.requests].count("PUT") == 1


async def test_a_call_for_images_leaves_one_record_and_counts_in_the_metrics(gateway):
    await gateway.client().images.generate(model="test/picture", prompt="x")
    records = list(gateway.built.books.records)
    assert [(record.endpoint, record.model) for record in records] == [
        ("/v1/images/generations", "test/picture")
    ]
    gateway.built.bus.flush()
    page = render_metrics(gateway.built.metrics.snapshot())
    assert b'endpoint="/v1/images/generations"' in page
    assert b'gatewayz_images_total{model="test/picture",provider="deepinfra"} 1.0' in page


async def test_the_cheapest_for_these_images_comes_first_where_that_is_wished(gateway):
    for size, cheapest in (("256x256", "fal"), ("2048x2048", "deepinfra")):
        await gateway.client().images.generate(
            model="test/mixed", prompt="x", size=size, extra_body={"provider": {"sort": "price"}}
        )
        assert gateway.last.served == cheapest
    with pytest.raises(openai.BadRequestError, match="price of image is above"):
        await gateway.client().images.generate(
            model="test/failing",
            prompt="x",
            extra_body={"provider": {"max_price": {"image": "0.001"}}},
        )
