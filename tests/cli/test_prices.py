"""Prices from the command line, on both databases: set, begun later, given back; never against the file."""

import pytest

from gatewayz.catalog.offers import Offer
from gatewayz.catalog.sources import Listing, QuarantinedPrice
from gatewayz.store.files.listings import FileListings
from tests.support.commands import Commands
from tests.support.databases import on_sqlite


@pytest.fixture
def gatewayz(location, tmp_path):
    return Commands(location, tmp_path / "data")


def price(gatewayz, model="openai/gpt-4o", provider="openai"):
    (listed,) = [
        row for row in gatewayz.json("models", "--all", "--find", model) if row["id"] == model
    ]
    return next(offer["price"] for offer in listed["offers"] if offer["provider"] == provider)


def test_a_price_is_set_shown_and_given_back(gatewayz):
    assert price(gatewayz) == "2.5 / 10"
    message = gatewayz(
        "prices",
        "set",
        "openai/gpt-4o",
        "input=3",
        "output=12.50",
        "cache-read=0.30",
        "--tier",
        ">200000:input=6,output=25",
        "--tier",
        "priority:input=9",
    )
    assert "openai/gpt-4o costs 3 / 12.5" in message
    assert "Now 1,000 tokens in and 1,000 out cost $0.0155" in message
    assert price(gatewayz) == "3 / 12.5"
    gatewayz("prices", "set", "openai/gpt-4o", "input=4", "output=16", "--from", "7d")
    assert price(gatewayz) == "3 / 12.5"
    assert [row["price"] for row in gatewayz.json("prices", "show", "openai/gpt-4o")] == [
        "4 / 16",
        "3 / 12.5, cache_read 0.3",
    ]
    gatewayz("prices", "clear", "openai/gpt-4o")
    assert price(gatewayz) == "2.5 / 10"
    assert [row["price"] for row in gatewayz.json("prices", "show", "openai/gpt-4o")] == [
        "4 / 16",
        "as lists say",
        "3 / 12.5, cache_read 0.3",
    ]
    said = gatewayz(
        "prices", "set", "openai/gpt-4o", "input=4", "output=16", "cache-read=1", "searches=0.01"
    )
    assert "costs 4 / 16, 0.01 a search, cache_read 1;" in said
    gatewayz("prices", "set", "openai/gpt-4o", "free")
    assert price(gatewayz) == "free"
    actions = [entry["action"] for entry in gatewayz.json("audit", "list")]
    assert actions.count("catalog.price") == 5


@on_sqlite
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gpt-4o", "input=1"], "names no offer"),
        (["openai/gpt-4o", "1"], "is no figure"),
        (["openai/gpt-4o", "inputs=1"], "no bucket named 'inputs'"),
        (["openai/gpt-4o", "input=-1"], "must be from 0"),
        (["openai/gpt-4o", "input=0", "output=0", "--sure"], "not known to be free"),
        (["openai/gpt-4o", "input=1", "output=5", "-t", "fast:input=2"], "service tier 'fast'"),
        (["openai/gpt-4o", "input=1", "output=5", "-t", ">x:input=2"], "is no tier"),
        (["openai/gpt-4o", "input=1", "output=5", "--from", "2020-01-01"], "now or later"),
    ],
)
def test_a_price_that_is_none_is_refused_in_plain_words(gatewayz, words, message):
    assert message in gatewayz("prices", "set", *words, status=2)
    assert gatewayz.json("prices", "show", "openai/gpt-4o") == []


def test_a_price_that_the_file_has_set_is_changed_there(gatewayz, tmp_path):
    config = tmp_path / "gatewayz.yaml"
    config.write_text(
        'models: [{id: openai/gpt-4o, offers: [{provider: openai, upstream_id: gpt-4o, price: {input: "1", output: "2"}}]}]'
    )
    assert (
        "The configuration file sets this price (models.openai/gpt-4o.offers.openai)"
        in gatewayz(
            "prices",
            "set",
            "openai/gpt-4o",
            "input=5",
            "output=9",
            "--config",
            str(config),
            status=2,
        )
    )


NEEDS_BOTH = [
    ["openai/gpt-4o-mini", "input=0.15"],
    ["openai/gpt-4o-mini", "output=0.6"],
    ["openai/gpt-4o", "cache-read=1"],
    ["openai/gpt-4o", "input=3", "audio-input=40"],
]
NEEDS_SURE = [
    ["openai/gpt-4o", "input=0.0025", "output=0.01"],
    ["openai/gpt-4o", "input=250", "output=1000"],
    ["openai/gpt-4o", "input=2.5", "output=0"],
    ["openai/gpt-4o", "input=2.5", "output=10", "cache-read=0.00125"],
    ["openai/gpt-4o", "input=2.5", "output=10", "requests=0.99"],
    ["openai/gpt-4o", "requests=0.001"],
    ["perplexity/sonar", "input=1", "output=1"],
]
HAS_NO_EFFECT = [
    (["nosuch/x", "input=1", "output=2"], "no provider 'nosuch'"),
    (["opanai/gpt-4o", "input=1", "output=2"], "did you mean 'openai'"),
    (["deepinfra/stabilityai/sd9", "images=0.06"], "would hold for nothing"),
    (["openai/gpt-4oo", "input=1", "output=2"], "Did you mean 'gpt-4o'"),
    (["openai/gpt-4o", "input=3", "input=4", "output=9"], "stands twice"),
    (["deepinfra/stabilityai/sd3.5", "input=1", "output=2"], "names none of images, pixels"),
    (["openai/gpt-image-1-mini", "input=2", "output=8", "--sure"], "names none of images, pixels"),
    (["openai/text-embedding-3-small", "images=1", "--sure"], "names none of input"),
    (["openai/gpt-4o", "images=0.1", "--sure"], "names none of output"),
    (["openai/gpt-5-pro", "input=15", "output=120"], "answers on the Responses API only"),
    (["fal/fal-ai/trellis", "images=0.1"], "makes three-dimensional models"),
    (["openai/gpt-4o", "free", "-t", "priority:input=9"], "no tiers"),
    (["openai/gpt-4o", "input=3", "output=9", "-t", ">0:input=9"], "no effect"),
]


@on_sqlite
def test_no_base_rate_is_zero_because_nobody_named_it(gatewayz):
    for words in NEEDS_BOTH:
        assert "and no " in gatewayz("prices", "set", *words, status=2)
        assert gatewayz.json("prices", "show", words[0]) == []


@on_sqlite
def test_a_price_far_from_what_is_known_must_be_meant(gatewayz):
    for words in NEEDS_SURE:
        assert "--sure" in gatewayz("prices", "set", *words, status=2), words
        assert gatewayz.json("prices", "show", words[0]) == []
    gatewayz("prices", "set", *NEEDS_SURE[0], "--sure")
    assert price(gatewayz) == "0.0025 / 0.01"


@on_sqlite
def test_a_price_without_effect_is_an_error(gatewayz):
    for words, message in HAS_NO_EFFECT:
        assert message in gatewayz("prices", "set", *words, status=2), words
    assert "nothing would change" in gatewayz("prices", "clear", "openai/gpt-4o", status=2)


CALL_COSTS = [
    (["deepinfra/stabilityai/sd3.5", "images=0.07"], "Now an image costs $0.07."),
    (["deepinfra/stabilityai/sd3.5", "pixels=0.07"], "Now a megapixel costs $0.07."),
    (
        ["openai/gpt-image-1-mini", "input=2", "output=8", "image-output=9"],
        "Now 1,000 tokens of an image cost $0.009.",
    ),
    (["openai/text-embedding-3-small", "input=0.03", "output=0"], "out cost $0.00003."),
]


@on_sqlite
def test_after_every_change_it_is_said_what_a_call_of_that_kind_costs(gatewayz):
    for words, message in CALL_COSTS:
        assert message in gatewayz("prices", "set", *words), words
    assert "Now an image costs $0.06." in gatewayz("prices", "clear", CALL_COSTS[0][0][0])


@on_sqlite
def test_a_quarantined_price_is_accepted_by_name(gatewayz, tmp_path):
    assert "is quarantined" in gatewayz("prices", "accept", "openrouter/nobody/dear", status=2)
    rates = {"input": 900_000_000, "output": 950_000_000}
    offer = Offer(
        model="nobody/dear",
        provider="openrouter",
        upstream_id="nobody/dear",
        quarantine_reason="input is above what nearly all models cost",
    )
    held = QuarantinedPrice("nobody/dear", "nobody/dear", offer.quarantine_reason, rates)
    FileListings(tmp_path / "data").save(
        Listing(provider="openrouter", read_s=1, offers=(offer,), quarantined=(held,))
    )
    message = gatewayz("prices", "accept", "openrouter/nobody/dear")
    assert "1,000 tokens in and 1,000 out cost $1.85" in message
    assert price(gatewayz, "nobody/dear", "openrouter") == "900 / 950"
