"""Every field of a provider's price object is read, or named as unread in what is said of the reading."""

import msgspec
import pytest

from gatewayz.catalog.listing_prices import ListingBaseline
from gatewayz.catalog.listing_reader import listing_from_body
from gatewayz.catalog.offers import Offer
from gatewayz.core.money import price_from_pico
from gatewayz.providers.listing_formats import (
    ListingFormat,
    listing_formats,
    price_objects,
    unread_price_fields,
)
from gatewayz.providers.spec import Provider
from gatewayz.workers.catalog_sync import _listing_read_fact

NOTHING = ListingBaseline({}, {}, {})
NOW_S = 1_800_000_000


def read(name, rows, baseline=NOTHING):
    form = listing_formats()[name]
    body = msgspec.json.encode({form.root: rows} if form.root else rows)
    provider = Provider(id=name, name=name, dialect="openai_chat", base_url="http://x")
    return listing_from_body(body, provider, form, baseline, NOW_S)


def openrouter(native="acme/one", **pricing):
    usual = {"prompt": "0.000001", "completion": "0.000002"}
    return {"id": native, "pricing": usual | pricing}


def test_the_fees_and_dear_buckets_of_a_list_are_part_of_its_price():
    listing = read(
        "openrouter",
        [
            openrouter(
                request="0.005",
                web_search="0.01",
                image_output="0.00003",
                audio_output="0.00008",
                input_cache_write_1h="0.000002",
            )
        ],
    )
    price = listing.offers[0].price
    assert (price.requests, price.searches) == (5_000_000_000, 10_000_000_000)
    assert (price.image_output, price.audio_output) == (30_000_000, 80_000_000)
    assert price.cache_write_1h == 2_000_000
    assert price.unpriced_buckets == ("cache_write", "audio_input")
    assert listing.unread_fields == {}


@pytest.mark.parametrize(
    ("name", "row", "unread"),
    [
        ("openrouter", openrouter(discount=0.25), ["pricing.discount"]),
        (
            "openrouter",
            openrouter(
                overrides=[{"min_prompt_tokens": 200_000}], image="0.003", input_audio_cache="0"
            ),
            ["pricing.image", "pricing.overrides"],
        ),
        (
            "vercel-ai-gateway",
            {"id": "a/b", "pricing": {"input": "0.000001", "output": "0.000002", "video": "0.1"}},
            ["pricing.video"],
        ),
        (
            "deepinfra",
            {
                "id": "a/b",
                "metadata": {
                    "pricing": {"input_tokens": 1, "output_tokens": 2, "cache_write_tokens": 3}
                },
            },
            ["metadata.pricing.cache_write_tokens"],
        ),
        (
            "novita",
            {
                "id": "a/b",
                "input_token_price_per_m": 10_000,
                "output_token_price_per_m": 20_000,
                "title": "One",
                "audio_price_per_m": 5,
            },
            ["audio_price_per_m"],
        ),
        (
            "together",
            {"id": "a/b", "pricing": {"input": 1, "output": 2, "hourly": 0, "base": 0}},
            [],
        ),
        (
            "huggingface",
            {"id": "a/b", "providers": [{"pricing": {"input": 1, "output": 2, "cached": 0.5}}]},
            ["providers[].pricing.cached"],
        ),
    ],
)
def test_a_field_that_nobody_reads_is_named(name, row, unread):
    listing = read(name, [row])
    assert sorted(listing.unread_fields) == unread
    assert sorted(_listing_read_fact(listing).unread) == unread


def test_unread_fields_are_counted_and_bounded():
    rows = [
        openrouter(f"acme/{number}", discount=0.1, **{f"odd{number}": "1"}) for number in range(99)
    ]
    found = read("openrouter", rows).unread_fields
    assert found["pricing.discount"] == 99
    assert len(found) == 50


def test_hostile_price_objects_name_nothing_that_cannot_be_shown():
    rows = [{"id": "a/b", "pricing": {"\x00\x1b[31m": "1", "x" * 5_000: "2", "prompt": "0.000001"}}]
    found = read("openrouter", rows).unread_fields
    assert all(name.isprintable() and len(name) <= 200 for name in found)
    assert read("openrouter", [{"id": "a/b", "pricing": "cheap"}]).unread_fields == {}


def test_every_price_path_leads_into_an_object_that_is_looked_through():
    for name, form in listing_formats().items():
        objects = price_objects(form)
        # Cloudflare's prices are found by their unit, each in an object of its own.
        assert bool(objects) == (bool(form.prices) and name != "cloudflare-workers-ai")
    assert unread_price_fields({"pricing": {"a": "1"}}, price_objects(ListingFormat())) == []


def known(**listed):
    price = price_from_pico({"input": 1_000_000, "output": 2_000_000} | listed)
    one = Offer(model="acme/one", provider="openrouter", upstream_id="acme/one", price=price)
    return ListingBaseline({}, {}, {("openrouter", "acme/one"): one})


@pytest.mark.parametrize("told", [{}, {"request": "0"}, {"request": "0", "web_search": "0.005"}])
def test_a_fee_of_every_call_does_not_go_away_because_a_list_puts_it_elsewhere(told):
    listing = read("openrouter", [openrouter(**told)], known(requests=5_000_000_000))
    assert listing.offers[0].price.requests == 5_000_000_000
    raised = read("openrouter", [openrouter(request="0.006")], known(requests=5_000_000_000))
    assert raised.offers[0].price.requests == 6_000_000_000


def test_a_list_that_names_a_dear_bucket_at_its_fallback_has_named_it():
    listing = read("openrouter", [openrouter(audio="0.000001")], known())
    price = listing.offers[0].price
    assert price.audio_input == price.input
    assert "audio_input" not in price.unpriced_buckets
