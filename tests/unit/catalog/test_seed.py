"""The seed: what is committed holds the gates, and one key is enough to be told prices."""

from statistics import median

import pytest
from msgspec.structs import replace

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import DEPLOYMENT_REASON, merge_catalog
from gatewayz.catalog.price_checks import MAX_MEDIAN_RATIO, why_implausible, why_outlier
from gatewayz.catalog.report import (
    build_report,
    callable_models,
    format_price,
    why_not_callable,
    why_not_sold,
)
from gatewayz.catalog.seed import SeedRow, price_from_row, seed_files, seed_names
from gatewayz.catalog.sources import CatalogSources
from gatewayz.core.calls import Principal
from gatewayz.core.money import MAX_PICO_PER_TOKEN, cost
from gatewayz.core.requests import ChatRequest
from gatewayz.core.usage import Usage
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.routing.candidates import OfferHealth
from gatewayz.routing.plan import Planner
from gatewayz.routing.rules import RoutingRules

SEED = seed_files()
ROWS = [(provider, row) for provider, file in SEED.items() for row in file.rows]


class Calm:
    """Everything stands well."""

    def offer_health(self, provider, upstream_id, account=""):
        return OfferHealth()

    def credential_health(self, provider, credential):
        return OfferHealth()


def build_catalog(**environment):
    providers = providers_from(provider_rows(), environment, {})
    return Catalog(merge_catalog(CatalogSources(SEED, {}, ()), providers), providers)


def test_every_file_is_sorted_and_says_where_its_figures_are_from():
    for provider, file in SEED.items():
        assert file.provider == provider
        ids = [row.id for row in file.rows]
        assert ids == sorted(set(ids))
        assert all(source.version and source.read for source in file.sources.values())
        assert {row.source for row in file.rows} <= set(file.sources)


def test_no_price_in_the_seed_violates_the_gates():
    for provider, row in ROWS:
        if row.held or not row.price:
            continue
        assert why_implausible(row.price, row.serves or ("chat",), free=row.free) == "", (
            provider,
            row.id,
        )
        assert all(
            0 <= pico <= MAX_PICO_PER_TOKEN
            for listed in row.tiers.values()
            for pico in listed.values()
        )
        assert row.free == (not any(row.price.values())) or row.free
        price_from_row(row, "v", "s")


def test_no_sold_price_is_far_from_the_median_of_the_models_offers():
    by_model: dict[str, list[tuple[str, SeedRow]]] = {}
    for provider, row in ROWS:
        if row.price and not row.held and not row.free:
            by_model.setdefault(row.model, []).append((provider, row))
    for model, offers in by_model.items():
        inputs = [row.price["input"] for _, row in offers if row.price.get("input")]
        # With two offers the house's own stands; with more, the median judges.
        if len(inputs) > 2:
            middle = median(inputs)
            assert [
                one
                for one in inputs
                if one > middle * MAX_MEDIAN_RATIO * 2 or one * MAX_MEDIAN_RATIO * 2 < middle
            ] == [], model


def test_only_what_is_flagged_free_costs_nothing():
    for provider, row in ROWS:
        if row.price and not row.held:
            priced = price_from_row(row, "v", "s")
            usage = Usage(input=1000, output=1000, images=1, pixels=1000, requests=1)
            assert (cost(usage, priced) == 0) == row.free, (provider, row.id)


@pytest.mark.parametrize(
    ("variable", "models"),
    [
        (
            "OPENAI_API_KEY",
            ["openai/gpt-4o", "openai/gpt-5.1", "openai/o3", "openai/text-embedding-3-small"],
        ),
        (
            "ANTHROPIC_API_KEY",
            ["anthropic/claude-sonnet-4.5", "claude-sonnet-4-5", "claude-haiku-4-5-20251001"],
        ),
        ("GROQ_API_KEY", ["openai/gpt-oss-120b", "openai/gpt-oss-20b"]),
        ("TOGETHER_API_KEY", ["zai-org/GLM-5.2", "moonshotai/kimi-k3"]),
        (
            "OPENROUTER_API_KEY",
            [
                "openai/gpt-4o",
                "anthropic/claude-sonnet-4.5",
                "meta-llama/llama-3.3-70b-instruct",
                "qwen/qwen3-coder",
            ],
        ),
        ("DEEPINFRA_API_KEY", ["deepseek/deepseek-v3.2", "meta-llama/llama-3.3-70b-instruct"]),
        ("XAI_API_KEY", ["x-ai/grok-4.3"]),
        ("MISTRAL_API_KEY", ["mistralai/mistral-large-latest"]),
        ("DASHSCOPE_API_KEY", ["qwen/qwen3-max", "qwen-plus"]),
        ("AIHUBMIX_API_KEY", ["claude-haiku-4-5", "openai/gpt-5.4-mini"]),
        ("AI_GATEWAY_API_KEY", ["openai/gpt-4o", "openai/gpt-4o-mini"]),
        ("FIREWORKS_API_KEY", ["deepseek/deepseek-v3.2"]),
    ],
)
def test_one_key_is_enough_for_that_providers_usual_models_to_have_prices(variable, models):
    catalog = build_catalog(**{variable: "sk-x"})
    (on,) = [one for one in catalog.providers.values() if variable in one.key_env]
    for name in models:
        (offer, *_) = [one for one in catalog.resolve(name).offers if one.provider == on.id]
        assert why_not_sold(offer) == "", name
        assert " of 20" in offer.price.source
        if not on.off and "chat" in offer.serves:
            assert why_not_callable(offer, catalog) == ""


def test_a_model_that_is_locked_to_others_is_not_shown_as_callable():
    providers = providers_from(provider_rows(), {"AI_GATEWAY_API_KEY": "k"}, {})
    catalog = Catalog(
        merge_catalog(CatalogSources(SEED, {}, ()), providers),
        providers,
        RoutingRules().lockout_reason,
    )
    shown = {model.id for model in callable_models(catalog)}
    assert "deepseek/deepseek-v3.2" in shown
    assert shown.isdisjoint({"openai/gpt-4o", "anthropic/claude-sonnet-4.5"})
    (offer,) = [
        one for one in catalog.models["openai/gpt-4o"].offers if one.provider == "vercel-ai-gateway"
    ]
    assert (
        why_not_callable(offer, catalog)
        == "locked to openai, openrouter, azure-openai, unless vercel-ai-gateway is asked for by name"
    )
    assert catalog.resolve("vercel-ai-gateway/openai/gpt-4o").offers[0].price == offer.price
    for model in callable_models(catalog):
        request = ChatRequest(dialect="openai_chat", model=model.id, messages=())
        if any("chat" in one.serves for one in model.offers):
            assert (
                Planner(catalog, RoutingRules(), lambda: 0.5)
                .plan(request, Principal("a", "k"), Calm())
                .candidates
            )


def test_deployments_are_priced_and_never_offered_by_themselves():
    catalog = build_catalog()
    azure = [
        offer
        for model in catalog.models.values()
        for offer in model.offers
        if offer.provider == "azure-openai"
    ]
    assert azure == []
    (pinned,) = catalog.resolve("azure-openai/gpt-4o").offers
    assert pinned.pinned_only_reason == DEPLOYMENT_REASON
    assert pinned.price.input == 2_500_000


def test_the_report_counts_and_says_why():
    report = build_report(
        build_catalog(OPENROUTER_API_KEY="k", GROQ_API_KEY="k", TOGETHER_API_KEY="k")
    )
    assert report.models > 900
    assert report.failover_models > 300
    assert 0 < report.callable_failover_models < report.callable_models < report.models
    assert any(why.startswith("off: set ") for why in report.reasons)
    assert all(offer.price is None and offer.quarantine_reason for offer in report.quarantined)
    assert report.quarantined


GOOD = {"input": 1_000_000, "output": 2_000_000}


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ({"input": -1, "output": 1}, "below zero"),
        ({"input": 10**10, "output": 1}, "above any price"),
        ({"input": 0, "output": 0}, "zero"),
        ({"input": 1}, "output is listed at zero"),
        ({"images": 10**13}, "above any price"),
        (GOOD, ""),
        ({"requests": 5}, ""),
    ],
)
def test_a_price_that_cannot_be_is_told(listed, why):
    assert why in why_implausible(listed, ("chat",), free=False)
    assert (why_implausible(listed, ("chat",), free=False) == "") == (why == "")


@pytest.mark.parametrize(("factor", "far"), [(1, False), (5, False), (6, True), (1_000_000, True)])
def test_a_price_far_from_the_median_of_the_others_is_told(factor, far):
    others = [
        GOOD,
        {"input": 900_000, "output": 2_100_000},
        {"input": 1_100_000, "output": 1_900_000},
    ]
    assert bool(why_outlier({"input": 1_000_000 * factor, "output": 2_000_000}, others)) is far
    assert bool(why_outlier({"input": 1_000_000 // factor, "output": 2_000_000}, others)) is (
        far or factor == 1_000_000
    )
    assert why_outlier({"input": 10**9}, []) == ""


def test_a_price_is_shown_in_the_units_that_people_write():
    row = next(row for provider, row in ROWS if provider == "openai" and row.id == "gpt-4o")
    assert format_price(price_from_row(row, "v", "s")) == "2.5 / 10"
    assert format_price(None) == "unpriced"
    assert format_price(replace(price_from_row(row, "v", "s"), free=True)) == "free"


def test_models_have_names_and_dates_where_anybody_tells_them():
    names = seed_names()
    models = {row.model for file in SEED.values() for row in file.rows}
    assert set(names) <= models
    assert names["openai/gpt-4o"] == ("GPT-4o", 1_715_558_400)
    assert names["anthropic/claude-sonnet-4.5"][0] == "Claude Sonnet 4.5"
    named = {
        model.id: model
        for model in merge_catalog(
            CatalogSources(SEED, {}, (), names=names), providers_from(provider_rows(), {}, {})
        )
    }
    assert (named["openai/gpt-4o"].name, named["openai/gpt-4o"].created_s) == names["openai/gpt-4o"]
    assert all(name.isprintable() and 0 <= when < 2_000_000_000 for name, when in names.values())
