"""What a provider reports is held to what the call can have used: never charged beyond, marked, and
told to the operator; a report that says less, or nothing, is a marked estimate.
"""

import json

import pytest

from gatewayz.catalog.offers import Offer
from gatewayz.core.calls import Call, Principal
from gatewayz.core.conversation import File, Image, Message, OpaqueTool, Text
from gatewayz.core.events import (
    FINISHED,
    BlockDelta,
    BlockStarted,
    ChoiceEnded,
    Event,
    Frame,
    Kind,
    Stop,
    UsageReported,
)
from gatewayz.core.requests import ChatRequest, CountRequest, EmbeddingRequest, ImageRequest
from gatewayz.core.usage import BUCKETS, Usage
from gatewayz.engine.usage_bounds import (
    MAX_CONTEXT_TOKENS,
    MAX_IMAGE_TOKENS,
    MAX_OUTPUT_TOKENS,
    MAX_UNSIZED_PIXELS,
    PROMPT_OVERHEAD_TOKENS,
    bound_usage,
)
from gatewayz.engine.usage_meter import UsageMeter
from tests.support.prices import price_from_usd

PRICE = price_from_usd({"input": "1.00", "output": "2.00"})
OFFER = Offer(
    model="m", provider="p", upstream_id="u", price=PRICE, context=128_000, max_output=500
)
HELLO = (Message("user", (Text("Hello there"),)),)
ABSURD = 10**9


def chat(**more):
    return ChatRequest(dialect="openai_chat", model="m", **{"messages": HELLO, **more})


def image(**more):
    return ImageRequest(dialect="openai_images", model="m", prompt="a fox", **more)


@pytest.mark.parametrize(
    ("request_", "offer", "reported", "charged"),
    [
        (chat(max_output=20), OFFER, {"output": ABSURD}, {"output": 20}),
        (chat(max_output=20), OFFER, {"output": 5, "reasoning": 100}, {"output": 5, "reasoning": 15}),
        (chat(), OFFER, {"output": ABSURD}, {"output": 500}),
        (chat(), Offer(model="m", provider="p", upstream_id="u"), {"output": ABSURD}, {"output": MAX_OUTPUT_TOKENS}),
        (chat(), OFFER, {"input": ABSURD, "output": 1}, {"input": PROMPT_OVERHEAD_TOKENS + 64 + 33, "output": 1}),
        (chat(), OFFER, {"cache_write_1h": ABSURD}, {"cache_write_1h": PROMPT_OVERHEAD_TOKENS + 64 + 33}),
        (chat(), OFFER, {"searches": 5_000}, {"searches": 10}),
        (chat(tools=(OpaqueTool("x", {"type": "web_search"}, searches=2),)), OFFER, {"searches": 9}, {"searches": 2}),
        (image(size=(1024, 1024)), OFFER, {"pixels": 10**12, "images": 1}, {"pixels": 2 * 10**6, "images": 1}),
        (image(n=2), OFFER, {"images": 40, "pixels": 10**9}, {"images": 2, "pixels": 2 * MAX_UNSIZED_PIXELS}),
        (image(), OFFER, {"image_output": ABSURD}, {"image_output": 32_768}),
        (EmbeddingRequest(dialect="d", model="m", texts=("word", (1, 2, 3))), OFFER, {"input": ABSURD}, {"input": 4 + 3 + 128}),
        (CountRequest(dialect="d", model="m", chat=chat()), OFFER, {"input": 7}, {"input": 0}),
    ],
)  # fmt: skip
def test_a_report_beyond_what_the_call_can_have_used_is_clamped_and_marked(
    request_, offer, reported, charged
):
    usage, beyond = bound_usage(Usage(**reported), request_, offer)
    found = {bucket: getattr(usage, bucket) for bucket in BUCKETS if bucket in charged}
    # The exact overhead of a prompt is no law; that the bound is near it is one.
    prompt = {"input", "cache_write_1h"}
    assert {name: found[name] for name in found if name not in prompt} == {
        name: charged[name] for name in charged if name not in prompt
    }
    assert all(abs(found[name] - charged[name]) < 64 for name in found if name in prompt)
    assert usage.repaired
    assert "at most" in beyond


@pytest.mark.parametrize(
    ("request_", "reported"),
    [
        (chat(max_output=20), {"input": 12, "output": 20}),
        (chat(), {"input": 3_000, "cache_read": 2_000, "output": 500}),
        (chat(messages=(Message("user", (Image("https://example.org/a.png"),)),)), {"input": MAX_IMAGE_TOKENS}),
        (chat(messages=(Message("user", (File(id="file-1"),)),)), {"input": 120_000}),
        (chat(tools=(OpaqueTool("x", {"type": "web_search"}, searches=3),)), {"input": 400_000}),
        (image(size=(1000, 1000)), {"pixels": 1_008 * 1_008, "images": 1}),
    ],
)  # fmt: skip
def test_a_report_that_can_be_true_is_left_as_it_is(request_, reported):
    usage = Usage(**reported)
    assert bound_usage(usage, request_, OFFER) == (usage, "")
    assert usage.prompt <= MAX_CONTEXT_TOKENS


def metered(*reports, text="Hello there my friend", kind=Kind.TEXT, request=None, finished=True):
    """The usage that is charged for an answer with these reports, and the meter."""
    call = Call(
        id="01HZZZZZZZZZZZZZZZZZZZZZZZ",
        endpoint="chat",
        request=request or chat(),
        principal=Principal(account="a", key="k"),
        received_at=0.0,
        received_ms=0,
        deadline=100.0,
    )
    meter = UsageMeter(call)
    events: list[Event] = [BlockStarted(0, kind), BlockDelta(0, text)] if text else []
    frames = [Frame(tuple(events))] if events else []
    frames += [Frame((UsageReported(Usage(**report)),)) for report in reports]
    frames += [Frame((ChoiceEnded(0, Stop.END, "stop"),)), FINISHED] if finished else []
    shown = [frame for batch in frames for frame in meter.watch([batch], OFFER)]
    reports_shown = [
        event for frame in shown for event in frame.events if isinstance(event, UsageReported)
    ]
    return meter.usage(OFFER), meter, reports_shown


@pytest.mark.parametrize(
    ("reports", "charged"),
    [
        ([{"input": 11, "output": 7}, {}], (11, 7, False)),
        ([{"input": 11, "output": 3}, {"input": 11, "output": 7}], (11, 7, False)),
        ([{"input": 11, "output": 7}, {"input": 11, "output": 2}], (11, 7, False)),
        ([{"input": 11}, {"output": 7}], (11, 7, False)),
        ([{}], (10, 5, True)),
        ([{"output": 7}], (10, 7, True)),
        ([{"input": 11}], (11, 5, True)),
        ([], (10, 5, True)),
    ],
)
def test_a_report_that_says_less_than_was_sent_and_delivered_is_a_marked_estimate(reports, charged):
    usage, _, shown = metered(*reports)
    tokens, output, estimated = charged
    assert (usage.prompt, usage.completion, usage.estimated) == (
        pytest.approx(tokens, abs=4),
        pytest.approx(output, abs=1),
        estimated,
    )
    # What is charged is what is shown.
    assert (shown[-1].usage, shown[-1].cost) == (usage, shown[-1].cost)
    assert shown[-1].cost == usage.prompt * 1_000 + usage.completion * 2_000
    assert shown[-1].final


@pytest.mark.parametrize("reports", [[{}], [], [{"input": 0, "output": 0}]])
def test_zeros_beside_an_answer_without_content_stay_zero(reports):
    usage, meter, _ = metered(*reports, text="")
    assert usage.completion == 0
    assert meter.full_cost(usage, OFFER) == 0


def test_a_prompt_that_cannot_have_been_is_charged_as_the_one_that_was_sent():
    for report in (
        {"input": ABSURD},
        {"cache_write_1h": ABSURD},
        {"input": 5, "audio_input": ABSURD},
    ):
        usage, meter, _ = metered({**report, "output": 7})
        assert usage.prompt == usage.input == pytest.approx(10, abs=6)
        assert (usage.output, usage.estimated, usage.repaired) == (7, True, True)
        assert "prompt tokens" in meter.beyond_bounds


def test_a_claim_beyond_the_bounds_is_kept_for_the_operator():
    usage, meter, shown = metered({"input": 11, "output": ABSURD}, request=chat(max_output=100))
    assert (usage.output, usage.repaired) == (100, True)
    assert meter.beyond_bounds == f"{ABSURD} completion tokens, at most 100"
    assert shown[-1].usage.output == 100


async def test_an_absurd_report_empties_no_wallet_and_is_alarmed(tmp_path, location):
    from tests.support.billing_gateway import run_billing_gateway

    log_path = tmp_path / "log.jsonl"
    async with run_billing_gateway(
        tmp_path, location, model="usage-huge", observe={"log": str(log_path)}
    ) as gateway:
        for streamed in (False, True):
            answer = await gateway.client().chat.completions.create(
                model="test/model",
                messages=[{"role": "user", "content": "Hello"}],
                max_tokens=100,
                stream=streamed,
            )
            if streamed:
                async for _ in answer:
                    pass
            record = await gateway.call()
            assert record["output_tokens"] <= 100
            assert record["cost"] <= record["held"]
        await gateway.assert_balanced()
    log = [json.loads(line) for line in log_path.read_text().splitlines()]
    alarms = [line for line in log if "at most" in str(line.get("message", ""))]
    assert len(alarms) == 2
