"""Lists that vouch for each other: however slowly they drift together, and whatever they list, nothing
is sold far from what the package says, or from what was read first.
"""

import json

import pytest

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.kinds import why_understated
from gatewayz.catalog.listing_prices import baseline_from_models
from gatewayz.catalog.listing_reader import listing_from_body
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.price_checks import MAX_MEDIAN_RATIO
from gatewayz.catalog.price_memory import MAX_FIRST_RATIO, WINDOW_S
from gatewayz.catalog.seed import seed_files
from gatewayz.catalog.sources import CatalogSources, Listing
from gatewayz.core.money import Price, price_from_pico
from gatewayz.providers.listing_formats import listing_formats
from gatewayz.providers.registry import provider_rows, providers_from
from tests.unit.catalog.test_hostile_lists import SEED, START_S, row

PROVIDERS = providers_from(provider_rows(), {}, {})
FORM = listing_formats()["openrouter"]
LISTS = ("openrouter", "novita", "deepinfra")
"""Providers whose lists are read as if all of them had OpenRouter's form."""


class Readers:
    """Several lists, each read again and again, with all that the others have said."""

    def __init__(self, seed=SEED):
        self.seed = seed
        self.listings: dict[str, Listing] = {}
        self.confirmed: dict[tuple[str, str], Price] = {}
        self.now_s = START_S

    def models(self, listings):
        sources = CatalogSources(self.seed, listings, ())
        return {model.id: model for model in merge_catalog(sources, PROVIDERS)}

    def read(self, provider, *rows):
        baseline = baseline_from_models(self.models(self.listings), self.models({}), self.confirmed)
        body = json.dumps({"data": list(rows)}).encode()
        self.listings[provider] = listing_from_body(
            body, PROVIDERS[provider], FORM, baseline, self.now_s, self.listings.get(provider)
        )
        return self.listings[provider]

    def price(self, provider, native):
        catalog = Catalog(self.models(self.listings).values(), PROVIDERS)
        offer = catalog.index.offers_by_key.get((provider, native))
        return offer.price if offer is not None else None


def drift(readers, native, factor, start=1e-6, months=24):
    """Every list moves by the factor each time that the window allows; prices that were sold."""
    prompt, sold = start, []
    for _ in range(months * 2):
        for provider in LISTS:
            readers.read(provider, row(native, f"{prompt:.15f}", f"{prompt * 2:.15f}"))
            if price := readers.price(provider, native):
                sold.append(price.input)
        prompt = min(max(prompt * factor, 1e-13), 1.0)
        readers.now_s += WINDOW_S + 1
    return sold


@pytest.mark.parametrize("factor", [0.25, 0.6, 0.9, 1.1, 1.6, 4.0])
def test_lists_that_drift_together_get_no_further_than_one_large_step(factor):
    readers = Readers()
    sold = drift(readers, "nobody/one", factor)
    assert min(sold) * MAX_MEDIAN_RATIO >= 1_000_000
    assert max(sold) <= 1_000_000 * MAX_MEDIAN_RATIO
    # It is noticed, at each of them.
    assert all(readers.listings[provider].quarantined for provider in LISTS)


@pytest.mark.parametrize("factor", [0.25, 0.9, 1.1, 4.0])
def test_lists_that_drift_together_stay_near_the_package(factor):
    readers = Readers()
    native = "openai/gpt-4.1"
    sold = drift(readers, native, factor, start=2e-6)
    assert min(sold) * MAX_FIRST_RATIO >= 2_000_000
    assert max(sold) <= 2_000_000 * MAX_FIRST_RATIO


@pytest.mark.parametrize("steps", [(1, 4, 16, 64), (1, 0.25, 0.06, 0.015)])
def test_a_list_that_comes_later_does_not_carry_a_known_model_away_from_the_package(steps):
    readers = Readers()
    for provider, step in zip((*LISTS, "together"), steps, strict=True):
        readers.read(provider, row("openai/gpt-4.1", f"{2e-6 * step:.15f}", f"{8e-6 * step:.15f}"))
    for provider in (*LISTS, "together"):
        price = readers.price(provider, "openai/gpt-4.1")
        assert price is None or 200_000 <= price.input <= 20_000_000


def test_what_an_operator_confirmed_is_where_a_list_goes_on_from():
    readers = Readers()
    readers.read("openrouter", row("nobody/one"))
    dear = row("nobody/one", "0.00002", "0.00004")
    assert readers.read("openrouter", dear).quarantined
    rates = {"input": 20_000_000, "output": 40_000_000}
    readers.confirmed = {("openrouter", "nobody/one"): price_from_pico(rates)}
    assert not readers.read("openrouter", dear).quarantined
    readers.confirmed = {}
    readers.now_s += WINDOW_S + 1
    assert not readers.read("openrouter", row("nobody/one", "0.00003", "0.00006")).quarantined


RESEARCHERS = [
    "openai/o3-deep-research",
    "perplexity/sonar-deep-research",
    "openai/o4-mini-deep-research-2025-06-26",
    "google/deep-research-pro-preview-12-2025",
    "nobody/Deep_Research",
]


@pytest.mark.parametrize("native", RESEARCHERS)
@pytest.mark.parametrize("provider", LISTS)
def test_what_searches_as_often_as_it_likes_is_sold_at_no_listed_price(native, provider):
    seed = {
        name: file for name, file in seed_files().items() if name in {"openrouter", "perplexity"}
    }
    readers = Readers(seed)
    for _ in range(3):
        listed = row(native, "0.000002", "0.000008")
        listing = readers.read(provider, listed, row("nobody/two"))
        reasons = {price.upstream_id: price.reason for price in listing.quarantined}
        assert reasons[native] == "it searches as often as it likes"
        assert readers.price(provider, native) is None
        assert readers.price(provider, "nobody/two").input == 1_000_000
        readers.now_s += WINDOW_S + 1
    rates = {"input": 2_000_000, "output": 8_000_000}
    readers.confirmed = {(provider, native): price_from_pico(rates)}
    readers.read(provider, row(native, "0.000002", "0.000008"))
    assert readers.price(provider, native).input == 2_000_000


@pytest.mark.parametrize(
    "native", ["alibaba/tongyi-deepresearch-30b-a3b", "openai/o3", "deepseek/deepseek-r1"]
)
def test_a_model_that_is_named_for_research_and_searches_nothing_is_sold(native):
    assert why_understated(native) == ""
