"""A bucket that is dearer than its fallback has a price of its own, or nobody is admitted who uses it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.dear_buckets import buckets_in_use
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.pricing import why_unpriced
from gatewayz.catalog.report import why_not_sold
from gatewayz.core.calls import Principal
from gatewayz.core.conversation import (
    Audio,
    File,
    Image,
    Message,
    Opaque,
    OpaqueTool,
    Text,
    Tool,
    ToolResult,
)
from gatewayz.core.faults import Fault
from gatewayz.core.money import DEARER_BUCKETS, FREE, price_from_pico, reprice
from gatewayz.core.requests import ChatRequest, CountRequest, EmbeddingRequest, ImageRequest
from gatewayz.providers.spec import Provider
from gatewayz.routing.candidates import OfferHealth
from gatewayz.routing.plan import Planner
from gatewayz.routing.rules import RoutingRules

FIVE_MINUTES, ONE_HOUR = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
TEXT_PRICE = {"input": 1_000_000, "output": 2_000_000}


def chat(*parts, tools=(), message=None, **extra):
    said = Message("user", parts or (Text("Hi"),), extra=message or {})
    return ChatRequest(
        dialect="openai_chat", model="acme/one", messages=(said,), tools=tools, extra=extra
    )


def offer(upstream_id="one", listed=None, **more):
    price = price_from_pico(TEXT_PRICE | (listed or {}))
    return Offer(model="acme/one", provider="house", upstream_id=upstream_id, price=price, **more)


def why(one, request):
    return why_unpriced(one, buckets_in_use(request))


USES = [
    ("audio_input", chat(Audio("UklGRg==", "wav"))),
    ("audio_input", chat(File(name="talk", content="data:audio/mpeg;base64,AAAA"))),
    ("audio_input", chat(File(name="film", content="data:video/mp4;base64,AAAA"))),
    ("audio_input", chat(Opaque("openai_chat", {"type": "video_url", "video_url": {"url": "x"}}))),
    ("audio_output", chat(modalities=["text", "audio"])),
    ("audio_output", chat(audio={"voice": "alloy", "format": "wav"})),
    ("image_output", chat(modalities=["image", "text"])),
    ("image_output", ImageRequest(dialect="openai_images", model="acme/one", prompt="a fox")),
]
MARKS = [
    ("cache_write", chat(Text("Hi", extra={"cache_control": FIVE_MINUTES}))),
    ("cache_write_1h", chat(Text("Hi", extra={"cache_control": ONE_HOUR}))),
    ("cache_write_1h", chat(message={"cache_control": ONE_HOUR})),
    ("cache_write_1h", chat(cache_control=ONE_HOUR)),
    ("cache_write_1h", chat(tools=(Tool("f", extra={"cache_control": ONE_HOUR}),))),
    (
        "cache_write_1h",
        chat(tools=(OpaqueTool("anthropic_messages", {"cache_control": ONE_HOUR}),)),
    ),
    (
        "cache_write",
        chat(ToolResult("c", (Text("42", extra={"cache_control": FIVE_MINUTES}),))),
    ),
]


@pytest.mark.parametrize(("bucket", "request_"), USES)
def test_who_uses_a_dear_bucket_without_a_price_is_told_which(bucket, request_):
    assert why(offer(), request_) == (
        f"unpriced: its price names no {bucket}, which this request uses"
    )
    assert why(offer(listed={bucket: 40_000_000}), request_) == ""
    assert why(replace(offer(), price=FREE), request_) == ""


@pytest.mark.parametrize(("bucket", "request_"), MARKS)
@pytest.mark.parametrize("native", ["claude-sonnet-4.5", "anthropic/Claude-4-Opus"])
def test_marks_of_a_cache_count_where_caches_are_written_on_request(bucket, request_, native):
    assert bucket in why(offer(native), request_)
    assert why(offer(native, {bucket: 6_000_000}), request_) == ""
    # Others ignore the mark: nothing is written, and nothing is refused.
    assert why(offer("gpt-5.1"), request_) == ""


@pytest.mark.parametrize(
    "request_",
    [
        chat(),
        chat(Image("data:image/png;base64,AAAA")),
        chat(File(name="a.pdf", content="data:application/pdf;base64,AAAA")),
        chat(modalities=["text"]),
        chat(Text("data:audio/mpeg is a type")),
        EmbeddingRequest(dialect="openai_embeddings", model="acme/one", texts=("a",)),
        CountRequest(dialect="anthropic_count", model="acme/one", chat=chat(Audio("AA", "wav"))),
    ],
)
def test_what_fills_no_dear_bucket_is_admitted_at_a_price_of_text(request_):
    assert why(offer("claude-x"), request_) == ""


def test_a_model_that_makes_images_in_a_chat_is_sold_to_nobody_without_their_price():
    maker = offer(outputs=("text", "image"))
    assert "image_output" in why(maker, chat())
    assert why_not_sold(maker) == "unpriced: its price names no image_output"
    for listed in ({"image_output": 30_000_000}, {"images": 40_000_000_000}, {"pixels": 25_000}):
        priced = offer(listed=listed, outputs=("text", "image"))
        assert (why(priced, chat()), why_not_sold(priced)) == ("", "")


def test_a_price_knows_which_dear_buckets_it_does_not_name():
    price = price_from_pico(TEXT_PRICE | {"audio_input": 3_000_000})
    assert price.unpriced_buckets == tuple(one for one in DEARER_BUCKETS if one != "audio_input")
    later = reprice(price, {"input": 2_000_000, "image_output": 9_000_000})
    assert later.unpriced_buckets == ("cache_write", "cache_write_1h", "audio_output")
    assert later.audio_input == 6_000_000


@given(st.sets(st.sampled_from(DEARER_BUCKETS)), st.sampled_from(USES + MARKS))
def test_admitted_means_that_every_bucket_in_use_has_a_figure_of_its_own(named, use):
    bucket, request = use
    one = offer("claude-y", dict.fromkeys(named, 5_000_000))
    assert (why(one, request) == "") == (bucket in named)


class Calm:
    def offer_health(self, provider, upstream_id, account=""):
        return OfferHealth()

    def credential_health(self, provider, credential):
        return OfferHealth()


def plan(request, *offers, billing="prepaid"):
    providers = {
        name: Provider(
            id=name, name=name, dialect="openai_chat", base_url="http://x", auth="none", own=True
        )
        for name in ("house", "other")
    }
    catalog = Catalog([Model(id="acme/one", offers=offers)], providers)
    planner = Planner(catalog, RoutingRules(), lambda: 0.5)
    found = planner.plan(request, Principal("a", "k", billing=billing), Calm())
    return [candidate.offer.provider for candidate in found.candidates]


def test_a_plan_leaves_out_the_offers_that_say_nothing_of_sound():
    sound = chat(Audio("UklGRg==", "wav"))
    deaf, hears = offer(), replace(offer(listed={"audio_input": 3_000_000}), provider="other")
    assert plan(sound, deaf, hears) == ["other"]
    assert set(plan(chat(), deaf, hears)) == {"house", "other"}
    with pytest.raises(Fault) as refused:
        plan(sound, deaf)
    assert refused.value.kind == "unpriced"
    assert "audio_input" in refused.value.message
    assert plan(sound, deaf, billing="house") == ["house"]
