"""Public price lists as data: what their files say, what is left to the package, and what no file can do."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gatewayz.catalog.listing_prices import baseline_from_models
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.price_lists import GENAI, LITELLM, ListedRates, price_sources, rows_from_list
from gatewayz.catalog.seed import LaterPrice, SeedFile, SeedRow, SeedSource, seed_files
from gatewayz.catalog.seed_update import (
    ReadList,
    newer_than_package,
    price_changes,
    seed_read_s,
    seed_update,
)
from gatewayz.catalog.sources import CatalogSources
from gatewayz.core.faults import Fault
from gatewayz.providers.registry import provider_rows, providers_from
from tests.support.package_index import genai_module, litellm_table

TODAY = date(2026, 12, 5)
NOW_S = 1_796_500_000
PROVIDERS = providers_from(provider_rows(), {}, {})


def genai(models):
    return f"providers: list = [Provider(id='groq', models=[{models}])]".encode()


@pytest.mark.parametrize(
    ("prices", "rates"),
    [
        ("ModelPrice(input_mtok=Decimal('2'), output_mtok=Decimal('4'))", (2_000_000, 4_000_000)),
        (
            "ModelPrice(input_mtok=TieredPrices(base=Decimal('1'), tiers=[Tier(start=5, price=2)]))",
            (1_000_000, None),
        ),
        (
            "[ConditionalPrice(prices=ModelPrice(input_mtok=Decimal('1'))), ConditionalPrice("
            "constraint=StartDateConstraint(start_date=datetime.date(2026, 12, 1)),"
            " prices=ModelPrice(input_mtok=Decimal('3')))]",
            (3_000_000, None),
        ),
        (
            "[ConditionalPrice(prices=ModelPrice(input_mtok=Decimal('1'))), ConditionalPrice("
            "constraint=StartDateConstraint(start_date=datetime.date(2027, 1, 1)),"
            " prices=ModelPrice(input_mtok=Decimal('3')))]",
            (1_000_000, None),
        ),
        (
            "[ConditionalPrice(prices=ModelPrice(input_mtok=Decimal('1'))), ConditionalPrice("
            "constraint=TimeOfDateConstraint(start_time=1), prices=ModelPrice(input_mtok=2))]",
            None,
        ),
        ("ModelPrice(input_mtok=Decimal('NaN'))", None),
        ("__import__('os').system('touch /tmp/never')", None),
    ],
)
def test_a_module_is_read_as_literals_and_nothing_of_it_runs(prices, rates):
    found = rows_from_list(GENAI, genai(f"ModelInfo(id='m', prices={prices})"), TODAY)["groq"]
    if rates is None:
        assert found == []
    else:
        assert [found[0].rates.get(bucket) for bucket in ("input", "output")] == list(rates)


@pytest.mark.parametrize("name", [GENAI, LITELLM])
@given(content=st.binary(max_size=200))
def test_whatever_a_file_holds_it_is_rows_or_a_fault(name, content):
    try:
        assert isinstance(rows_from_list(name, content, TODAY), dict)
    except Fault as fault:
        assert fault.kind == "upstream_broken"


@pytest.mark.parametrize(
    "row",
    [
        {"mode": "audio_speech"},
        {"mode": "image_generation"},
        {"deprecation_date": "2026-12-01"},
        {"litellm_provider": "somebody"},
        {"input_cost_per_token": "2e-06", "output_cost_per_token": None},
        {"input_cost_per_token": -1, "output_cost_per_token": -1},
    ],
)
def test_rows_of_other_kinds_and_odd_ones_are_passed_over(row):
    base = {"input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06}
    assert rows_from_list(LITELLM, litellm_table(odd=base | row), TODAY)["xai"] == []


def seed_of(*rows):
    return {"xai": SeedFile(provider="xai", sources=SOURCES, rows=rows)}


PAGE = "providers' pages"
SOURCES = {
    PAGE: SeedSource("2026-11-28", "2026-11-28"),
    LITELLM: SeedSource("1.0", "2026-11-28"),
    GENAI: SeedSource("1.0", "2026-11-28"),
}
KNOWN = SeedRow(
    id="grok-4",
    model="x-ai/grok-4",
    source=LITELLM,
    price={"input": 3_000_000, "output": 15_000_000},
)


def updated(row, rates, name=LITELLM):
    seed = seed_of(row)
    models = {one.id: one for one in merge_catalog(CatalogSources(seed, {}, ()), PROVIDERS)}
    baseline = baseline_from_models(models, models)
    rows = {
        "xai": [
            ListedRates("grok-4", dict(zip(("input", "output", "cache_read"), rates, strict=False)))
        ]
    }
    update = seed_update(seed, [ReadList(name, "2.0", rows)], baseline, NOW_S)
    return update, list(price_changes(update, baseline.offers))


def test_what_the_package_took_from_a_list_follows_its_newer_version():
    update, [change] = updated(KNOWN, (4_000_000, 20_000_000))
    assert (change.before.input, change.after.input, change.after.output) == (
        3_000_000,
        4_000_000,
        20_000_000,
    )
    sources = CatalogSources(seed_of(KNOWN), {}, (), update=update)
    [model] = merge_catalog(sources, PROVIDERS)
    assert model.offers[0].price.input == 4_000_000


@pytest.mark.parametrize(
    "row",
    [
        replace(KNOWN, source=GENAI),
        replace(KNOWN, source=PAGE),
        replace(KNOWN, held="why"),
        replace(KNOWN, free=True, price={}),
        replace(KNOWN, later=(LaterPrice(valid_from="2027-01-01", price=KNOWN.price),)),
        replace(KNOWN, filled={"input": GENAI, "output": GENAI}),
    ],
    ids=["another list", "a page", "held", "free", "dated", "filled"],
)
def test_what_the_package_knows_better_is_left_to_it(row):
    _, changes = updated(row, (4_000_000, 20_000_000))
    assert changes == []


@pytest.mark.parametrize("rates", [(30_000_000, 150_000_000), (100, 500), (3_000_000, 0)])
def test_a_price_far_from_the_packages_is_not_believed(rates):
    update, changes = updated(KNOWN, rates)
    assert changes == []
    assert [price.upstream_id for price in update.listings["xai"].quarantined] == ["grok-4"]


def test_the_same_price_is_no_change_and_a_bucket_that_nobody_named_is_not_added():
    _, changes = updated(KNOWN, (3_000_000, 15_000_000, 1))
    assert changes == []


def test_a_package_that_was_made_since_goes_before_the_update():
    update, _ = updated(KNOWN, (4_000_000, 20_000_000))
    assert newer_than_package(update, seed_of(KNOWN)).listings.keys() == {"xai"}
    later = {LITELLM: SeedSource("3.0", "2026-12-20")}
    remade = {"xai": SeedFile(provider="xai", sources=later, rows=(KNOWN,))}
    assert newer_than_package(update, remade).listings == {}
    assert seed_read_s(seed_of(KNOWN), update) == NOW_S
    assert seed_read_s(remade, None) > NOW_S
    assert seed_read_s({}, None) == 0


def test_ids_are_read_for_every_provider_whose_prices_come_from_a_list():
    seed = seed_files()
    for provider, source in price_sources().items():
        assert provider in seed
        assert source.litellm or source.genai or not source.told


def test_an_id_that_must_be_held_is_not_sold_because_a_list_names_it():
    table = litellm_table().replace(b"{}", b"")
    row = b'{"o5-deep-research": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}}'
    assert rows_from_list(LITELLM, table + row, TODAY)["openai"] == []


def test_models_of_a_module_are_found_under_their_own_id():
    [row] = rows_from_list(GENAI, genai_module(**{"a/b": ("1", "2")}), TODAY)["groq"]
    assert row == ListedRates("a/b", {"input": 1_000_000, "output": 2_000_000}, is_native=False)
