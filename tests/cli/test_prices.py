"""Prices from the command line, on both databases: set, begun later, given back; never against the file."""

import pytest

from tests.support.commands import Commands


@pytest.fixture
def gatewayz(location, tmp_path):
    return Commands(location, tmp_path / "data")


def price(gatewayz, model="openai/gpt-4o", provider="openai"):
    (found,) = [
        one for one in gatewayz.json("models", "--all", "--find", model) if one["id"] == model
    ]
    return next(offer["price"] for offer in found["offers"] if offer["provider"] == provider)


def test_a_price_is_set_shown_and_given_back(gatewayz):
    assert price(gatewayz) == "2.5 / 10"
    said = gatewayz(
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
    assert "openai/gpt-4o costs 3 / 12.5" in said
    assert price(gatewayz) == "3 / 12.5"
    gatewayz("prices", "set", "openai/gpt-4o", "input=4", "output=16", "--from", "7d")
    assert price(gatewayz) == "3 / 12.5"
    assert [row["price"] for row in gatewayz.json("prices", "show", "openai/gpt-4o")] == [
        "4 / 16",
        "3 / 12.5",
    ]
    gatewayz("prices", "clear", "openai/gpt-4o")
    assert price(gatewayz) == "2.5 / 10"
    assert [row["price"] for row in gatewayz.json("prices", "show", "openai/gpt-4o")] == [
        "4 / 16",
        "as lists say",
        "3 / 12.5",
    ]
    gatewayz("prices", "set", "openai/gpt-4o", "free")
    assert price(gatewayz) == "free"
    actions = [entry["action"] for entry in gatewayz.json("audit", "list")]
    assert actions.count("catalog.price") == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gpt-4o", "input=1"], "names no offer"),
        (["openai/gpt-4o", "1"], "is no figure"),
        (["openai/gpt-4o", "inputs=1"], "no bucket named 'inputs'"),
        (["openai/gpt-4o", "input=-1"], "0 or more"),
        (["openai/gpt-4o", "input=0"], "not known to be free"),
        (["openai/gpt-4o", "input=1", "-t", "fast:input=2"], "service tier 'fast'"),
        (["openai/gpt-4o", "input=1", "-t", ">x:input=2"], "is no tier"),
        (["openai/gpt-4o", "input=1", "--from", "2020-01-01"], "now or later"),
    ],
)
def test_a_price_that_is_none_is_refused_in_plain_words(gatewayz, words, said):
    assert said in gatewayz("prices", "set", *words, status=2)
    assert gatewayz.json("prices", "show", "openai/gpt-4o") == []


def test_a_price_that_the_file_has_set_is_changed_there(gatewayz, tmp_path):
    config = tmp_path / "gatewayz.yaml"
    config.write_text(
        'models: [{id: openai/gpt-4o, offers: [{provider: openai, upstream_id: gpt-4o, price: {input: "1", output: "2"}}]}]'
    )
    assert (
        "The configuration file sets this price (models.openai/gpt-4o.offers.openai)"
        in gatewayz("prices", "set", "openai/gpt-4o", "input=5", "--config", str(config), status=2)
    )
