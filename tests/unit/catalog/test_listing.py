"""Providers' own lists: every kept one means what it says, whatever its unit; hostile ones leave nothing behind."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.catalog.listing_prices import MAX_QUARANTINED, baseline_from_models
from gatewayz.catalog.listing_reader import MAX_OFFERS, listing_from_body
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.seed import seed_files
from gatewayz.catalog.sources import CatalogSources
from gatewayz.core.faults import Fault
from gatewayz.core.money import MAX_PICO_PER_TOKEN, Price, cost, price_from_pico
from gatewayz.core.usage import BUCKETS, Usage
from gatewayz.providers.listing_formats import (
    ListingFormat,
    first_value,
    listing_formats,
    listing_url,
)
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import Provider
from gatewayz.simulator.faults import SendBytes
from gatewayz.simulator.listings import DUPLICATES, HOSTILE, listing_names, load_listing
from tests.support.examples import examples

PROVIDERS = providers_from(provider_rows(), {"CLOUDFLARE_ACCOUNT_ID": "acc"}, {})
SEEDED = baseline_from_models(
    {model.id: model for model in merge_catalog(CatalogSources(seed_files(), {}, ()), PROVIDERS)}
)
NOW_S = 1_800_000_000
ME = Provider(id="openrouter", name="x", dialect="openai_chat", base_url="http://x")
FORM = listing_formats()["openrouter"]


def read(name, baseline=SEEDED):
    exchange = load_listing(name)
    return exchange, listing_from_body(
        exchange.content(),
        PROVIDERS[exchange.provider],
        listing_formats()[exchange.provider],
        baseline,
        NOW_S,
    )


@pytest.mark.parametrize("name", listing_names())
def test_a_list_means_what_its_provider_says(name):
    exchange, listing = read(name)
    offers = {offer.upstream_id: offer for offer in listing.offers}
    assert set(offers) == set(exchange.means["offers"])
    for native, means in exchange.means["offers"].items():
        offer = offers[native]
        fields = {
            **{bucket: getattr(offer.price, bucket) for bucket in BUCKETS if offer.price},
            "model": offer.model,
            "context": offer.context,
            "max_output": offer.max_output,
            "inputs": list(offer.inputs),
            "quantization": offer.quantization,
            "created": listing.created.get(offer.model),
            "free": bool(offer.price and offer.price.free),
            "held": next(
                (price.reason for price in listing.quarantined if price.upstream_id == native), ""
            ),
        }
        assert {key: fields[key] for key in means if key != "held"} == {
            key: value for key, value in means.items() if key != "held"
        }
        assert means.get("held", "") in fields["held"]
        assert bool(fields["held"]) == ("held" in means)


def test_every_unit_is_used_by_a_list_that_is_kept():
    units = {listing_formats()[load_listing(name).provider].unit for name in listing_names()}
    assert units == {form.unit for form in listing_formats().values()}


@pytest.mark.parametrize("name", listing_formats())
def test_a_format_belongs_to_a_provider_and_leads_somewhere(name):
    url = listing_url(PROVIDERS[name], listing_formats()[name])
    assert url.startswith(("https://", "http://"))
    assert " " not in url
    assert set(listing_formats()[name].prices) <= set(BUCKETS)
    assert bool(listing_formats()[name].prices) == (listing_formats()[name].unit != "none")


def test_cloudflares_list_stands_beside_its_models():
    url = listing_url(
        PROVIDERS["cloudflare-workers-ai"], listing_formats()["cloudflare-workers-ai"]
    )
    assert (
        url
        == "https://api.cloudflare.com/client/v4/accounts/acc/ai/models/search?task=Text+Generation&per_page=100"
    )


@pytest.mark.parametrize(
    ("paths", "value"),
    [
        (("a.b",), 1),
        (("x", "a.b"), 1),
        (("list[].n",), 3),
        (("list[].n|max",), 5),
        (("list[].n|min",), 3),
        (("list[1].n",), 5),
        (("list[9].n",), None),
        (("list[k=two].n",), 5),
        (("list[k=none].n",), None),
        (("a[].b",), None),
        (("a.b.c",), None),
        ((), None),
        (("words[]|max",), "b"),
    ],
)
def test_a_path_finds_what_it_names(paths, value):
    row = {"a": {"b": 1}, "list": [{"k": "one", "n": 3}, {"k": "two", "n": 5}], "words": ["a", "b"]}
    assert first_value(row, paths) == value


def body_of(name):
    sent = [action.data for action in HOSTILE[name]() if isinstance(action, SendBytes)]
    return b"".join(sent).partition(b"\r\n\r\n")[2]


def test_repeated_rows_are_one_offer():
    listing = listing_from_body(body_of("again-500"), ME, FORM, SEEDED, NOW_S)
    assert len(listing.offers) == 24
    assert listing.duplicate_rows == 24 * (DUPLICATES - 1)


def test_prices_in_a_wrong_unit_are_not_believed_not_one():
    good = listing_from_body(body_of("good"), ME, FORM, SEEDED, NOW_S)
    assert all(offer.price for offer in good.offers)
    listing = listing_from_body(body_of("million-times"), ME, FORM, SEEDED, NOW_S)
    assert {offer.price for offer in listing.offers} == {None}
    assert len(listing.quarantined) == 14


def test_when_many_prices_are_far_off_the_unit_is_in_doubt():
    body = (
        body_of("million-times")
        .replace(b'"0.4000000000"', b'"0.0000400000"')
        .replace(b'"1.1000000000"', b'"0.0001100000"')
    )
    listing = listing_from_body(body, ME, FORM, SEEDED, NOW_S)
    assert listing.doubt_reason.startswith("the unit of this list is in doubt: 4 of 4")
    assert {offer.price for offer in listing.offers} == {None}


def test_wrong_types_leave_only_what_can_be_used():
    listing = listing_from_body(body_of("wrong-types"), ME, FORM, SEEDED, NOW_S)
    offers = {offer.upstream_id: offer for offer in listing.offers}
    assert set(offers) == {f"somebody/{letter}" for letter in "abcdefgh"}
    assert {name for name, offer in offers.items() if offer.price is not None} == {"somebody/h"}
    assert {offer.context for offer in offers.values()} == {None, 128_000}
    assert listing.unusable_rows == 6


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("half", "no JSON"),
        ("deep", "no JSON"),
        ("empty", "lists no model"),
        ("no-rows", "no rows at data"),
    ],
)
def test_what_is_no_list_is_a_fault(name, match):
    with pytest.raises(Fault, match=match):
        listing_from_body(body_of(name), ME, FORM, SEEDED, NOW_S)


def test_a_list_is_bounded():
    listing = listing_from_body(body_of("many"), ME, FORM, SEEDED, NOW_S)
    assert len(listing.offers) == MAX_OFFERS
    bad = json.dumps(
        {
            "data": [
                {"id": f"a/{number}", "pricing": {"prompt": "-1"}}
                for number in range(MAX_QUARANTINED * 2)
            ]
        }
    ).encode()
    assert len(listing_from_body(bad, ME, FORM, SEEDED, NOW_S).quarantined) == MAX_QUARANTINED


LISTED = ListingFormat(
    unit="usd_per_million", prices={"input": ("in",), "output": ("out",), "cache_read": ("cached",)}
)
KEPT = price_from_pico(
    {"input": 1_000_000, "output": 4_000_000, "cache_read": 100_000},
    {("", 200_000): {"input": 2_000_000, "output": 6_000_000}},
)


def relisted(price, **row):
    baseline = baseline_from_models(
        {
            "a/b": Model(
                id="a/b", offers=(Offer(model="a/b", provider="me", upstream_id="b", price=price),)
            )
        }
    )
    provider = Provider(id="me", name="Me", dialect="openai_chat", base_url="http://x")
    listing = listing_from_body(
        json.dumps({"data": [{"id": "b", **row}]}).encode(), provider, LISTED, baseline, NOW_S
    )
    return listing.offers[0]


def test_a_list_that_says_the_same_changes_nothing():
    assert relisted(KEPT, **{"in": 1, "out": 4}).price == KEPT


def test_what_a_list_does_not_name_keeps_its_proportion():
    price = relisted(KEPT, **{"in": 2, "out": 5}).price
    assert (price.input, price.output, price.cache_read, price.reasoning) == (
        2_000_000,
        5_000_000,
        200_000,
        5_000_000,
    )
    assert cost(Usage(input=200_001), price) == 200_001 * 4_000
    assert price.source == "me's own list"


def test_a_price_that_jumps_is_held_and_the_one_before_stays():
    offer = relisted(KEPT, **{"in": 10, "out": 4})
    assert offer.price is None
    assert offer.quarantine_reason == ""


def test_a_zero_that_means_no_charge_of_its_own_is_no_price():
    assert relisted(None, **{"in": 2, "out": 5, "cached": 0}).price.cache_read == 2_000_000


figures = st.one_of(
    st.floats(),
    st.integers(-(10**20), 10**20),
    st.text(max_size=12),
    st.none(),
    st.booleans(),
    st.lists(st.integers(), max_size=2),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
)


@examples(400)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"id": st.text(max_size=8)}, optional={"in": figures, "out": figures, "cached": figures}
        ),
        max_size=6,
    )
)
def test_no_list_makes_a_price_that_fails_the_gates(listed):
    me = Provider(id="me", name="Me", dialect="openai_chat", base_url="http://x")
    body = (
        json.dumps({"data": listed}, allow_nan=False)
        if not any(
            isinstance(value, float) and not abs(value) < 1e308
            for row in listed
            for value in row.values()
        )
        else "{}"
    )
    try:
        listing = listing_from_body(body.encode(), me, LISTED, baseline_from_models({}), NOW_S)
    except Fault:
        return
    for offer in listing.offers:
        if offer.price is not None:
            assert all(
                0 <= getattr(offer.price, bucket) <= MAX_PICO_PER_TOKEN
                for bucket in ("input", "output", "cache_read")
            )
            assert cost(Usage(input=10**6, output=10**6), offer.price) > 0
            assert isinstance(offer.price, Price)
