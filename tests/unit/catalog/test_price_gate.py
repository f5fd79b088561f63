"""Prices of the file go through the gate of all others: complete, in the right unit, or meant."""

import pytest

from gatewayz.core.faults import Fault
from gatewayz.settings import catalog_sources_from_settings, load_settings

KNOWN = {"provider": "openai", "upstream_id": "gpt-4o-mini"}


def sources(**offer):
    settings = {"models": [{"id": "openai/gpt-4o-mini", "offers": [{**KNOWN, **offer}]}]}
    return catalog_sources_from_settings(load_settings("", settings).settings)


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ({"input": "2.50"}, "and no output"),
        ({"output": "0.60"}, "and no input"),
        ({"cache_read": "0.60"}, "and no input"),
        ({"input": "0.00015", "output": "0.0006"}, "sure: true"),
        ({"input": "150", "output": "600"}, "sure: true"),
        ({"input": "0.15", "output": "0"}, "would cost nothing"),
        ({"requests": "0.01"}, "would cost nothing"),
        ({"input": "0.15", "output": "0.6", "requests": "0.9"}, "fee of a request"),
    ],
)
def test_a_price_of_the_file_that_is_a_slip_is_refused_by_its_place(price, message):
    with pytest.raises(Fault, match=message) as caught:
        sources(price=price)
    assert "models.openai/gpt-4o-mini.offers.openai: " in caught.value.message


def test_a_price_of_the_file_that_is_meant_holds():
    odd = {"input": "0.00015", "output": "0.0006"}
    for more in ({"price": {"input": "0.5", "output": "2"}}, {"price": odd, "sure": True}):
        (model,) = sources(**more).operator_models
        assert model.model.offers[0].price is not None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"free": True, "price": {"input": "1", "output": "1"}}, "not both"),
        ({"price": {"input": "1", "output": "1"}, "tiers": [{"above": 9}]}, "names no figure"),
        (
            {"price": {"input": "1", "output": "1"}, "tiers": [{"price": {"input": "1"}}]},
            "has no effect",
        ),
    ],
)
def test_a_setting_of_a_price_without_effect_is_an_error(more, message):
    with pytest.raises(Fault, match=message):
        sources(**more)
