"""Hostile lists: whatever a provider lists, and however often, nothing is sold outside the checks."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.listing_prices import baseline_from_models
from gatewayz.catalog.listing_reader import listing_from_body
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.price_checks import PriceBand, price_band
from gatewayz.catalog.price_memory import (
    MAX_FIRST_RATIO,
    MAX_PRICES,
    WINDOW_S,
    OfferMemory,
    forget_newest,
)
from gatewayz.catalog.report import why_not_sold
from gatewayz.catalog.seed import seed_files
from gatewayz.catalog.sources import CatalogSources, Listing
from gatewayz.core.money import Price, cost, price_from_pico
from gatewayz.core.requests import Capability
from gatewayz.core.usage import BUCKETS, Usage
from gatewayz.providers.listing_formats import listing_formats
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.store.files.listings import FileListings
from tests.support.examples import examples

START_S = 1_800_000_000
DAY_S = 86_400
PROVIDERS = providers_from(provider_rows(), {}, {})
MODELS = {
    "openai/gpt-4o",
    "openai/gpt-4o-2024-11-20",
    "openai/gpt-4.1",
    "google/gemini-2.5-flash",
    "anthropic/claude-sonnet-4.5",
    "x-ai/grok-4",
    "xai/grok-4",
}
SEED = {
    name: replace(file, rows=tuple(row for row in file.rows if row.model in MODELS))
    for name, file in seed_files().items()
}
"""A few models of the package: what is shown here does not need two thousand rows for each list."""
PACKAGE = {model.id: model for model in merge_catalog(CatalogSources(SEED, {}, ()), PROVIDERS)}
FORM = listing_formats()["openrouter"]
COUNTS: dict[str, Any] = dict.fromkeys(BUCKETS, 1_000) | {"requests": 1, "images": 0, "searches": 1}
TELLS_ALL = Usage(**COUNTS)


class Reader:
    """Reads OpenRouter's list again and again, as the worker does, and remembers what it did."""

    def __init__(self):
        self.listing: Listing | None = None
        self.now_s = START_S
        self.confirmed: dict[tuple[str, str], Price] = {}

    def sources(self):
        listings = {"openrouter": self.listing} if self.listing is not None else {}
        return CatalogSources(SEED, listings, ())

    def models(self):
        return {model.id: model for model in merge_catalog(self.sources(), PROVIDERS)}

    def read(self, *rows, after_s=6 * 3_600):
        self.now_s += after_s
        alone = self.sources()._replace(listings={})
        package = {model.id: model for model in merge_catalog(alone, PROVIDERS)}
        baseline = baseline_from_models(self.models(), package, self.confirmed)
        body = json.dumps({"data": list(rows)}).encode()
        self.listing = listing_from_body(
            body, PROVIDERS["openrouter"], FORM, baseline, self.now_s, self.listing
        )
        return self.listing

    def price(self, native):
        catalog = Catalog(self.models().values(), PROVIDERS)
        offer = catalog.index.offers_by_key.get(("openrouter", native))
        return offer.price if offer is not None else None


FACTS = ("context_length", "top_provider", "architecture", "supported_parameters")


def row(native, prompt="0.000001", completion="0.000002", **more):
    facts = {key: more.pop(key) for key in FACTS if key in more}
    return {"id": native, "pricing": {"prompt": prompt, "completion": completion, **more}, **facts}


GPT_4O = ("openai/gpt-4o", "0.0000025", "0.00001")
GPT_41 = ("openai/gpt-4.1", "0.000002", "0.000008")
KNOWN_AND_ONE_BUCKET_WRONG = [
    (GPT_4O, {"request": "0.99"}),
    (GPT_4O, {"request": "0.05"}),
    (GPT_4O, {"input_cache_read": "0.0009"}),
    (GPT_4O, {"input_cache_read": "0.000000000001"}),
    (GPT_4O, {"input_cache_write": "0.0009"}),
    (GPT_4O, {"input_cache_write_1h": "0.0009"}),
    (GPT_4O, {"internal_reasoning": "0.0009"}),
    (GPT_4O, {"internal_reasoning": "0.000000000001"}),
    (GPT_4O, {"audio": "0.0009"}),
    (GPT_4O, {"audio_output": "0.0009"}),
    (GPT_4O, {"image_token": "0.0009"}),
    (GPT_4O, {"image_output": "0.0009"}),
    (GPT_4O, {"web_search": "0.9"}),
    (GPT_41, {"input_cache_read": "0.0009"}),
    (GPT_41, {"request": "0.1"}),
    (("google/gemini-2.5-flash", "0.0000003", "0.0000025"), {"audio": "0.0009"}),
    (("anthropic/claude-sonnet-4.5", "0.000003", "0.000015"), {"input_cache_write": "0.00000001"}),
]


@pytest.mark.parametrize(("known", "wrong"), KNOWN_AND_ONE_BUCKET_WRONG)
def test_a_bucket_that_is_wrong_beside_right_ones_changes_no_price(known, wrong):
    reader = Reader()
    before = reader.price(known[0])
    listing = reader.read(row(*known, **wrong))
    assert [price.upstream_id for price in listing.quarantined] == [known[0]]
    assert cost(TELLS_ALL, reader.price(known[0])) == cost(TELLS_ALL, before)
    # A list that is wrong twice is still wrong.
    reader.read(row(*known, **wrong))
    assert cost(TELLS_ALL, reader.price(known[0])) == cost(TELLS_ALL, before)


UNKNOWN_AND_WRONG = [
    row("nobody/one", "0.000000000001", "0.000000000001"),
    row("nobody/one", "0.001", "0.002"),
    row("nobody/one", "0", "0.000002"),
    row("nobody/one", "0.000001", "0"),
    row("nobody/one", "0", "0"),
    {"id": "nobody/one", "pricing": {"completion": "0.000002"}},
    {"id": "nobody/one", "pricing": {"prompt": "0.000002"}},
    row("nobody/one", request="0.9"),
    row("nobody/one", request="0.05"),
    row("nobody/one", input_cache_read="0.00001"),
    row("nobody/one", input_cache_read="0.000000000001"),
    row("nobody/one", internal_reasoning="0.0001"),
    row("nobody/one", audio="0.01"),
    row("nobody/one", image_output="0.001"),
    row("nobody/one", web_search="0.5"),
    row("nobody/one", "0.000001", "0.0009"),
    row("nobody/one:free", "0.000001", "0.0000000001"),
    row("nobody/one:free", "0.01", "0.02"),
    {"id": "nobody/one:free", "pricing": {"prompt": "0"}},
]


@pytest.mark.parametrize("listed", UNKNOWN_AND_WRONG)
def test_a_model_that_nobody_else_knows_is_sold_only_at_a_price_that_others_have(listed):
    reader = Reader()
    for _ in range(3):
        listing = reader.read(listed, row("nobody/two"))
        assert [price.upstream_id for price in listing.quarantined] == [listed["id"]]
        assert reader.price(listed["id"]) is None
        assert reader.price("nobody/two").input == 1_000_000


@pytest.mark.parametrize(
    ("listed", "free"),
    [
        (row("nobody/one:free", "0", "0"), True),
        (row("nobody/one:free"), False),
        (row("nobody/free", "0", "0"), False),
        (row("nobody/one:free", "0", "0", request="0.01"), False),
    ],
)
def test_free_is_what_is_listed_at_zero_and_marked(listed, free):
    reader = Reader()
    reader.read(listed)
    price = reader.price(listed["id"])
    assert (price is not None and price.free) is free


@pytest.mark.parametrize(
    "wrong",
    [
        ("0.000000000001", "0.000000000002"),
        ("0", "0.000002"),
        ("0", "0"),
        ("0.00000015", "0.0000003"),
        ("0.000006", "0.000012"),
        ("0.001", "0.002"),
        ("-1", "-1"),
        ("NaN", "free"),
    ],
)
def test_the_last_good_price_is_sold_and_compared_with_for_ever_and_over_restarts(wrong, tmp_path):
    reader, files = Reader(), FileListings(tmp_path)
    reader.read(row("nobody/one"))
    good = reader.price("nobody/one")
    assert good.input == 1_000_000
    for again in range(4):
        reader.read(row("nobody/one", *wrong), after_s=30 * DAY_S)
        assert reader.price("nobody/one") == good
        # Left out, and back: it is remembered all the same.
        reader.read(row("nobody/other"), after_s=DAY_S)
        assert reader.price("nobody/one") is None
        files.save(reader.listing)
        reader.listing = files.load()["openrouter"]
        reader.read(row("nobody/one", *wrong), after_s=DAY_S)
        sold = reader.price("nobody/one")
        assert (sold.input, sold.output) == (good.input, good.output), again
    reader.read(row("nobody/one", "0.0000011", "0.0000021"))
    assert reader.price("nobody/one").input == 1_100_000


@pytest.mark.parametrize("factor", [0.24, 0.5, 2, 4])
@pytest.mark.parametrize("every_s", [1, DAY_S, 10 * DAY_S, 40 * DAY_S])
def test_a_price_that_drifts_in_small_steps_gets_no_further_than_one_large_step(factor, every_s):
    reader = Reader()
    reader.read(row("nobody/one"))
    prompt = 1e-6
    for _ in range(30):
        prompt *= factor
        reader.read(row("nobody/one", f"{prompt:.15f}", f"{prompt * 2:.15f}"), after_s=every_s)
    limit = MAX_FIRST_RATIO if every_s * 30 > WINDOW_S else 5
    sold = reader.price("nobody/one").input
    assert 1_000_000 // limit <= sold <= 1_000_000 * limit
    assert len(reader.listing.memory["nobody/one"].prices) <= MAX_PRICES


def test_a_list_saved_by_an_earlier_version_is_read_and_its_prices_are_the_good_ones(tmp_path):
    reader, files = Reader(), FileListings(tmp_path)
    reader.read(row("nobody/one"))
    files.save(reader.listing)
    path = Path(tmp_path) / "listings" / "openrouter.json"
    saved = json.loads(path.read_bytes())
    del saved["memory"], saved["ignored_facts"]
    path.write_text(json.dumps(saved), "utf-8")
    reader.listing = files.load()["openrouter"]
    reader.read(row("nobody/one", "0.00000000001", "0.00000000001"))
    assert reader.price("nobody/one").input == 1_000_000


def test_a_price_that_an_operator_set_as_it_is_listed_is_believed_and_remembered():
    reader = Reader()
    reader.read(row("nobody/one"))
    dear = row("nobody/one", "0.00003", "0.00006")
    assert reader.read(dear).quarantined
    reader.confirmed = {
        ("openrouter", "nobody/one"): price_from_pico({"input": 30_000_000, "output": 60_000_000})
    }
    assert not reader.read(dear).quarantined
    reader.confirmed = {}
    reader.read(row("nobody/one", "0.000031", "0.000061"))
    assert reader.price("nobody/one").input == 31_000_000
    assert reader.read(row("nobody/one")).quarantined


def test_memory_is_bounded_and_forgets_what_came_last():
    priced = OfferMemory(5).with_price({"input": 1}, 5)
    many = {f"junk/{number}": OfferMemory(9) for number in range(30_000)} | {"good": priced}
    kept = forget_newest(many)
    assert len(kept) == 20_000
    assert kept["good"] == priced


@pytest.mark.parametrize("tokens", [1, 2, 100, 10**9, -5, "1"])
def test_a_context_that_no_model_has_shuts_no_offer(tokens):
    reader = Reader()
    before = {offer.provider: offer for offer in PACKAGE["openai/gpt-4o"].offers}["openrouter"]
    listing = reader.read(
        row(*GPT_4O, context_length=tokens, top_provider={"max_completion_tokens": tokens}),
        row("nobody/one", context_length=tokens),
    )
    offers = {offer.upstream_id: offer for offer in listing.offers}
    known = Catalog(reader.models().values(), PROVIDERS).index.offers_by_key
    assert known["openrouter", "openai/gpt-4o"].context == before.context
    assert known["openrouter", "openai/gpt-4o"].max_output == before.max_output
    assert offers["nobody/one"].context is None


def test_an_output_longer_than_its_context_is_not_believed():
    reader = Reader()
    top = {"max_completion_tokens": 5_000_000}
    listing = reader.read(row("nobody/one", context_length=8_192, top_provider=top))
    assert listing.offers[0].max_output is None
    assert listing.ignored_facts == {"max_output": 1}


ALL_PARAMETERS = ["tools", "structured_outputs", "temperature"]


@pytest.mark.parametrize(
    "known", [GPT_4O, GPT_41, ("google/gemini-2.5-flash", "0.0000003", "0.0000025")]
)
@pytest.mark.parametrize(
    ("inputs", "outputs", "parameters", "ignored"),
    [
        (["text"], ["text"], ALL_PARAMETERS, {"inputs"}),
        ([], ["text"], ["temperature"], {"parameters"}),
        (["text", "image", "file"], ["text", "image"], ALL_PARAMETERS, {"outputs"}),
        (["text", "image", "file"], ["audio"], ALL_PARAMETERS, {"outputs"}),
        (["smell"], ["sight"], ["temperature"], {"parameters"}),
        (["audio"], ["video"], ["logit_bias"], {"inputs", "outputs", "parameters"}),
    ],
)
def test_a_list_takes_no_ability_away_and_adds_no_output(
    known, inputs, outputs, parameters, ignored
):
    reader = Reader()
    key = ("openrouter", known[0])
    before = Catalog(PACKAGE.values(), PROVIDERS).index.offers_by_key[key]
    facts = {"input_modalities": inputs, "output_modalities": outputs}
    for _ in range(2):
        listing = reader.read(row(*known, architecture=facts, supported_parameters=parameters))
    assert set(listing.ignored_facts) >= ignored
    after = Catalog(reader.models().values(), PROVIDERS).index.offers_by_key[key]
    assert set(after.inputs) >= set(before.inputs)
    assert after.outputs == before.outputs
    needed = {Capability.IMAGES, Capability.TOOLS, Capability.JSON_SCHEMA}
    assert after.can is None or after.can >= needed
    assert why_not_sold(after) == ""


def test_what_nobody_else_knows_of_a_model_its_list_says():
    reader = Reader()
    facts = {"input_modalities": ["text", "pdf", "smell"], "output_modalities": ["text"]}
    listing = reader.read(row("nobody/one", architecture=facts, supported_parameters=["tools"]))
    [offer] = listing.offers
    assert (offer.inputs, offer.outputs) == (("text", "file"), ("text",))
    assert offer.can == {Capability.CHOICES, Capability.FILES, Capability.TOOLS}


def test_a_kind_that_a_list_told_once_is_told_again():
    reader = Reader()
    for _ in range(3):
        reader.read(row("nobody/film-maker-video"), row("nobody/whisper-9"))
    catalog = Catalog(reader.models().values(), PROVIDERS)
    assert catalog.index.offers_by_key["openrouter", "nobody/whisper-9"].unserved_reason


@pytest.mark.parametrize("name", ["claude-sonnet-4.5", "gpt-4o", "gpt-4o-2024-11-20", "grok-4"])
def test_a_list_takes_no_name_away(name):
    reader = Reader()
    meant = Catalog(PACKAGE.values(), PROVIDERS).resolve(name).model
    reader.read(row(f"evil/{name}"), row(f"worse/{name}"))
    catalog = Catalog(reader.models().values(), PROVIDERS)
    assert f"evil/{name}" in catalog.models
    assert catalog.resolve(name).model == meant


def test_of_two_models_that_only_lists_know_the_first_keeps_the_bare_name():
    reader = Reader()
    reader.read(row("acme/quick-one"))
    reader.read(row("acme/quick-one"), row("evil/quick-one"))
    catalog = Catalog(reader.models().values(), PROVIDERS)
    assert catalog.resolve("quick-one").model == "acme/quick-one"


def test_the_band_follows_from_the_prices_that_are_known_and_one_dear_model_moves_it_little():
    known = [{"input": 1_000_000, "output": 2_000_000}] * 200
    outliers = [{"input": 10**9, "output": 1}]
    band = price_band(known + outliers)
    assert band.limits["input"] == (500_000, 2_000_000)
    assert band.limits["output"] == (1_000_000, 4_000_000)
    assert band.why_outside("input", 2_000_001)
    assert not band.why_outside("output", 1_000_000)
    # Of too few prices follows nothing.
    assert price_band(known[:5]) == PriceBand()


figures = st.one_of(
    st.sampled_from(["0", "0.000001", "0.000002", "0.0000001", "0.01", "-1", "1e-12", "0.5", 0]),
    st.decimals(0, "0.001", places=12).map(str),
    st.integers(-3, 3),
)
FIELDS = ("prompt", "completion", "request", "input_cache_read", "internal_reasoning", "audio")
rows = st.lists(
    st.tuples(
        st.sampled_from(["nobody/one", "nobody/one:free", "openai/gpt-4o", "nobody/two"]),
        st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, figures)),
    ),
    max_size=4,
)


@examples(5_000)
@given(st.lists(st.tuples(rows, st.integers(1, 20 * DAY_S)), min_size=1, max_size=5))
def test_no_sequence_of_lists_sells_outside_the_checks(readings):
    reader = Reader()
    first: dict[str, Price] = {}
    for listed, after_s in readings:
        body = [{"id": native, "pricing": pricing} for native, pricing in listed]
        reader.read(*body, {"id": "nobody/last"}, after_s=after_s)
        named: dict[str, dict] = {}
        for native, pricing in listed:
            named.setdefault(native, pricing)
        for native, pricing in named.items():
            price = reader.price(native)
            if price is None:
                continue
            if price.free:
                assert native.endswith(":free")
                assert {str(pricing.get(field, "")) for field in FIELDS[:2]} == {"0"}
                continue
            assert 5_000 <= price.input <= 60_000_000
            assert 1_000 <= price.output <= 300_000_000
            assert price.cache_read <= 1.25 * price.input
            assert price.requests <= 10_000 * (price.input + price.output)
            start = first.setdefault(native, price)
            assert start.input <= price.input * MAX_FIRST_RATIO
            assert price.input <= start.input * MAX_FIRST_RATIO
