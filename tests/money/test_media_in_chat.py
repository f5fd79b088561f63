"""Pictures and sound in a chat's answer: paid, marked and shown also where their provider does not count them."""

from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from gatewayz.core.calls import Call, Principal
from gatewayz.core.conversation import Message, Text
from gatewayz.core.events import Frame, UsageReported
from gatewayz.core.money import price_from_pico, rates_from_usd
from gatewayz.core.requests import ChatRequest
from gatewayz.core.usage import Usage
from gatewayz.dialects.registry import UPSTREAMS
from gatewayz.engine.media_output import TOKENS_PER_PICTURE, MediaCounter, count_media
from gatewayz.engine.usage_meter import UsageMeter
from tests.contract.test_usage_places import OPTIONS, STREAM, sse
from tests.support.billing_gateway import run_billing_gateway
from tests.support.running_gateway import BASE_PATHS
from tests.support.scripted_upstream import ScriptedUpstream, answer_events, answer_json
from tests.unit.test_output_limits import candidate

TOKENS = {"input": "0.30", "output": "2.50", "image_output": "30.00", "audio_output": "80.00"}
PIECE = {"input": "0.30", "output": "2.50", "images": "0.04"}
PNG = "iVBORw0KGgo" * 50
PICTURE: dict[str, Any] = {
    "type": "image_url",
    "image_url": {"url": f"data:image/png;base64,{PNG}"},
}
SOUND: dict[str, Any] = {
    "id": "a",
    "data": "A" * 64_000,
    "transcript": "Hello there",
    "expires_at": 1,
}
SECOND = 20
"""Tokens of a second of sound, which `SOUND` is."""
MEDIA: dict[str, dict[str, Any]] = {
    "picture": {"images": [PICTURE]},
    "two pictures and text": {"images": [PICTURE, PICTURE], "content": "Here"},
    "sound": {"audio": SOUND},
    "sound and text": {"audio": SOUND, "content": "Here"},
}
EXPECTED = {
    "picture": {"image_output": TOKENS_PER_PICTURE},
    "two pictures and text": {"image_output": 2 * TOKENS_PER_PICTURE},
    "sound": {"audio_output": SECOND},
    "sound and text": {"audio_output": SECOND},
}
ASKED: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Draw a fox, and say its name"}],
    "modalities": ["text", "image", "audio"],
    "audio": {"voice": "alloy", "format": "pcm16"},
}


@pytest.fixture
def kind():
    """One database is enough: what an answer costs is decided above the store."""
    return "sqlite"


def chat_answer(message, usage):
    """The answer in OpenAI's chat, whole or streamed as it is asked."""
    reports = {} if usage is None else {"usage": usage}
    head = {"id": "c", "created": 1, "model": "m"}

    def script(request):
        if not request.body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return answer_json(
                {**head, "object": "chat.completion", "choices": [choice], **reports}
            )
        chunk = {**head, "object": "chat.completion.chunk"}
        choices = (
            [{"index": 0, "delta": message}],
            [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        )
        ends = [{**chunk, "choices": [], **reports}] if reports else []
        return answer_events(*({**chunk, "choices": one} for one in choices), *ends, "[DONE]")

    return script


def gemini_answer(parts, usage):
    content = {"role": "model", "parts": parts}
    document = {"candidates": [{"index": 0, "content": content, "finishReason": "STOP"}]}
    document |= {"usageMetadata": usage} if usage is not None else {}
    return lambda request: (
        answer_events(document) if ":stream" in request.path else answer_json(document)
    )


@asynccontextmanager
async def run_media_gateway(tmp_path, location, script, price, dialect="openai_chat"):
    """A gateway whose customer's model is played by the script."""
    async with ScriptedUpstream(script) as upstream:
        row = {"dialect": dialect, "base_url": upstream.url + BASE_PATHS[dialect], "key": "sk-s"}
        offered = {"provider": "scripted", "upstream_id": "gpt-4o-audio", "price": price}
        models = [{"id": "test/model", "offers": [offered]}]
        async with run_billing_gateway(
            tmp_path, location, dollars=20, providers=(), more={"scripted": row}, models=models
        ) as here:
            yield here


async def ask(here, **fields):
    headers = {"Authorization": f"Bearer {here.key}"}
    body = {"model": "test/model", **ASKED, **fields}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{here.url}/v1/chat/completions", json=body, headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.text()


REPORTS = {
    "none": None,
    "zeros": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    "only the text": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize("report", REPORTS)
async def test_what_is_drawn_or_said_is_paid_where_nobody_counts_it(
    tmp_path, location, media, report
):
    script = chat_answer({"role": "assistant", "content": None, **MEDIA[media]}, REPORTS[report])
    async with run_media_gateway(tmp_path, location, script, TOKENS) as here:
        for streamed in (False, True):
            text = await ask(here, stream=streamed, stream_options={"include_usage": True})
            record = await here.call()
            usage = record["usage"]
            assert record["estimated"]
            assert EXPECTED[media].items() <= usage.items()
            assert usage["input"] >= 5
            assert bool(usage.get("output")) is (report == "only the text" or media != "picture")
            dear = 30_000 * usage.get("image_output", 0) + 80_000 * usage.get("audio_output", 0)
            assert record["cost"] == dear + 300 * usage["input"] + 2_500 * usage.get("output", 0)
            assert '"estimated":true' in text
            completion = sum(
                usage.get(name, 0) for name in ("output", "image_output", "audio_output")
            )
            assert f'"completion_tokens":{completion}' in text
        await here.assert_balanced()


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_gemini_draws_is_paid_as_a_picture_where_its_count_has_no_details(
    tmp_path, location, streamed
):
    parts = [{"text": "Here"}, {"inlineData": {"mimeType": "image/png", "data": PNG}}]
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 1_291, "totalTokenCount": 1_300}
    script = gemini_answer(parts, usage)
    async with run_media_gateway(tmp_path, location, script, TOKENS, "gemini") as here:
        await ask(here, stream=streamed, modalities=["text", "image"], audio=None)
        record = await here.call()
        assert record["usage"]["image_output"] == pytest.approx(TOKENS_PER_PICTURE, abs=5)
        assert sum(record["usage"].get(name, 0) for name in ("output", "image_output")) == 1_291
        await here.assert_balanced()


async def test_a_count_with_details_is_the_providers_own(tmp_path, location):
    details = {"image_tokens": 1_120}
    usage = {"prompt_tokens": 9, "completion_tokens": 1_130, "total_tokens": 1_139}
    script = chat_answer(
        {"role": "assistant", "content": "Here", **MEDIA["picture"]},
        {**usage, "completion_tokens_details": details},
    )
    async with run_media_gateway(tmp_path, location, script, TOKENS) as here:
        await ask(here)
        record = await here.call()
        assert not record["estimated"]
        assert record["usage"] == {"input": 9, "output": 10, "image_output": 1_120}
        await here.assert_balanced()


@pytest.mark.parametrize("report", REPORTS)
async def test_pictures_with_a_price_each_are_held_and_paid_by_the_piece(
    tmp_path, location, report
):
    media = MEDIA["two pictures and text"]
    script = chat_answer({"role": "assistant", "content": None, **media}, REPORTS[report])
    async with run_media_gateway(tmp_path, location, script, PIECE) as here:
        for streamed in (False, True):
            await ask(here, stream=streamed, modalities=["text", "image"], audio=None)
            record = await here.call()
            usage = record["usage"]
            assert usage["images"] == 2
            by_token = 300 * usage["input"] + 2_500 * usage["output"]
            assert record["cost"] == by_token + 2 * 40_000_000
            assert record["held"] > 40_000_000
        await here.assert_balanced()


@pytest.mark.parametrize("media", MEDIA)
def test_a_client_that_leaves_pays_what_was_drawn_or_said_so_far(media):
    request = ChatRequest(
        dialect="openai_chat",
        model="m",
        messages=(Message("user", (Text("Draw a fox"),)),),
        streamed=True,
        extra={"audio": {"format": "pcm16"}},
    )
    call = Call(
        id="call",
        endpoint="/v1/chat/completions",
        request=request,
        principal=Principal("payer", "k", billing="prepaid"),
        received_at=0.0,
        received_ms=0,
        deadline=100.0,
    )
    meter, offer = UsageMeter(call), candidate().offer
    delta = {"role": "assistant", **MEDIA[media]}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    decoder = UPSTREAMS["openai_chat"].decoder(STREAM, OPTIONS)
    frames = decoder.feed(sse([{**chunk, "choices": [{"index": 0, "delta": delta}]}]))
    meter.watch(frames, offer)
    usage = meter.usage(offer)
    assert usage.estimated
    assert {name: getattr(usage, name) for name in EXPECTED[media]} == EXPECTED[media]
    assert usage.prompt >= 3
    # A report on the way that says nothing of it changes nothing.
    meter.watch([Frame((UsageReported(Usage(input=9, output=1)),))], offer)
    usage = meter.usage(offer)
    assert {name: getattr(usage, name) for name in EXPECTED[media]} == EXPECTED[media]


PRICE = price_from_pico(rates_from_usd(TOKENS))


@pytest.mark.parametrize(
    ("output", "pictures", "text", "image_output", "rest"),
    [
        # Nothing but the text is counted: what is expected comes on top.
        (0, 1, 0, TOKENS_PER_PICTURE, 0),
        (40, 2, 40, 2 * TOKENS_PER_PICTURE, 40),
        # They are in the count.
        (1_300, 1, 10, 1_290, 10),
        (2_100, 1, 100, 2_000, 100),
        # More than pictures can have is something else: thoughts.
        (60_000, 1, 0, 6_240, 53_760),
        (1_300, 0, 10, 0, 1_300),
    ],
)
def test_tokens_that_are_not_the_texts_are_the_pictures(output, pictures, text, image_output, rest):
    media = MediaCounter()
    media.add({"images": [PICTURE] * pictures, "annotations": []})
    usage = count_media(Usage(output=output), media, text, PRICE)
    assert (usage.image_output, usage.output) == (image_output, rest)
    assert usage.estimated is bool(pictures)


@pytest.mark.parametrize(
    ("sound_format", "tokens"), [("pcm16", SECOND), ("wav", SECOND), ("", SECOND), ("mp3", 61)]
)
def test_the_length_of_a_sound_is_told_by_its_bytes_and_its_format(sound_format, tokens):
    media = MediaCounter(sound_format)
    for _ in range(2):
        media.add({"audio": {"data": "A" * 32_000}})
        media.add({"audio": {"transcript": "Hello"}})
        media.add({"images": [{"url": "https://found.example/fox"}], "audio": None})
    assert media.sound_tokens == tokens
    assert not media.pictures


def test_what_costs_the_same_is_not_called_an_estimate():
    media = MediaCounter()
    media.add({"images": [PICTURE]})
    price = price_from_pico(rates_from_usd({"input": "0.30", "output": "2.50"}))
    assert count_media(Usage(output=1_300), media, 10, price) == Usage(output=1_300)
