"""The catalogue, put together: seed, listings, file, each over the one before; the catalogue is replaced at once."""

import pytest

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.offers import Model, Offer, capabilities
from gatewayz.catalog.operator_models import operator_models_from_settings
from gatewayz.catalog.report import callable_models, why_not_callable, why_not_sold
from gatewayz.catalog.seed import SeedFile, SeedRow, SeedSource
from gatewayz.catalog.settings import ModelSettings, OfferSettings, TierSettings
from gatewayz.catalog.sources import CatalogSources, Listing
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price, cost
from gatewayz.core.requests import Capability
from gatewayz.core.usage import Usage
from gatewayz.providers.spec import Provider


def provider(name, **more):
    return Provider(
        id=name, name=name, dialect="openai_chat", base_url="http://x", auth="none", **more
    )


PROVIDERS = {name: provider(name) for name in ("maker", "reseller", "cloud")} | {
    "away": provider("away", off="set AWAY_KEY")
}
SOURCES = {"list": SeedSource("1.0", "2026-11-01")}


def file(name, *listed, **more):
    return SeedFile(
        provider=name,
        sources=SOURCES,
        rows=tuple(
            SeedRow(source="list", **{"price": {"input": 1_000_000, "output": 2_000_000}, **row})
            for row in listed
        ),
        **more,
    )


SEED = {
    "maker": file(
        "maker",
        {"id": "name-1", "model": "maker/name-1", "context": 1000},
        {"id": "name-1-2026", "model": "maker/name-1", "spare": True},
    ),
    "reseller": file(
        "reseller",
        {"id": "maker/Name-1", "model": "maker/name-1", "context": 500},
        {"id": "odd", "model": "maker/odd", "held": "far off"},
    ),
    "away": file(
        "away", {"id": "n1", "model": "maker/name-1"}, {"id": "only", "model": "away/only"}
    ),
    "cloud": file("cloud", {"id": "name-1", "model": "maker/name-1"}, listed=False),
    "nobody": file("nobody", {"id": "x", "model": "x/y"}),
}


def build_catalog(*own, listings=None, markup_bp=0, providers=None):
    providers = providers or PROVIDERS
    return Catalog(
        merge_catalog(
            CatalogSources(SEED, listings or {}, operator_models_from_settings(own), markup_bp),
            providers,
        ),
        providers,
    )


def sold_prices(resolved):
    return {
        (offer.provider, offer.upstream_id): offer.price
        and (offer.price.input, offer.price.version)
        for offer in resolved.offers
    }


def test_a_model_has_one_offer_a_provider_and_names_its_source():
    resolved = build_catalog().resolve("name-1")
    assert sold_prices(resolved) == {
        ("away", "n1"): (1_000_000, "list-1.0"),
        ("maker", "name-1"): (1_000_000, "list-1.0"),
        ("reseller", "maker/Name-1"): (1_000_000, "list-1.0"),
    }
    assert resolved.offers[0].price.source == "list-1.0 of 2026-11-01"
    assert build_catalog().models["maker/name-1"].context == 1000


@pytest.mark.parametrize(
    ("text", "model", "pinned"),
    [
        ("maker/name-1", "maker/name-1", False),
        ("name-1", "maker/name-1", False),
        ("name-1-2026", "maker/name-1", False),
        ("maker/Name-1", "maker/Name-1", True),
        ("reseller/maker/Name-1", "reseller/maker/Name-1", True),
        ("cloud/name-1", "cloud/name-1", True),
        ("maker/name-1-2026", "maker/name-1-2026", True),
        ("n1", "maker/name-1", False),
        ("reseller/anything:else", "reseller/anything:else", True),
    ],
)
def test_a_name_means_exactly_one_thing(text, model, pinned):
    resolved = build_catalog().resolve(text)
    assert (resolved.model, resolved.pinned) == (model, pinned)


def test_a_pinned_offer_has_its_price_and_an_unknown_one_has_none():
    assert sold_prices(build_catalog().resolve("maker/name-1-2026")) == {
        ("maker", "name-1-2026"): (1_000_000, "list-1.0")
    }
    assert sold_prices(build_catalog().resolve("maker/unheard")) == {("maker", "unheard"): None}


def test_only_providers_that_are_on_make_a_model_callable():
    catalog = build_catalog()
    assert {model.id for model in callable_models(catalog)} == {"maker/name-1", "maker/odd"}
    (offer,) = catalog.models["away/only"].offers
    assert why_not_callable(offer, catalog) == "off: set AWAY_KEY"
    (odd,) = catalog.models["maker/odd"].offers
    assert why_not_sold(odd) == "unpriced: its listed price is quarantined (far off)"


def test_a_price_set_in_the_file_wins_over_every_list():
    own_model = ModelSettings(
        id="maker/name-1",
        offers=(
            OfferSettings(
                provider="maker", upstream_id="name-1", price={"input": "3", "output": "4"}
            ),
        ),
    )
    listing = Listing(
        provider="maker",
        read_s=1,
        offers=(
            Offer(
                model="maker/name-1",
                provider="maker",
                upstream_id="name-1",
                price=Price(input=5, version="listing"),
            ),
        ),
    )
    assert sold_prices(build_catalog(listings={"maker": listing}).resolve("name-1"))[
        "maker", "name-1"
    ] == (
        5,
        "listing",
    )
    resolved = build_catalog(own_model, listings={"maker": listing}).resolve("name-1")
    assert sold_prices(resolved)["maker", "name-1"] == (3_000_000, "settings")
    assert resolved.offers[0].provider == "maker"
    assert resolved.offers[0].context == 1000


def test_a_listing_refines_the_seed_and_adds_to_it():
    listing = Listing(
        provider="reseller",
        read_s=1,
        names={"maker/name-1": "Name One"},
        created={"maker/name-1": 7},
        offers=(
            Offer(
                model="maker/name-1",
                provider="reseller",
                upstream_id="maker/Name-1",
                context=800,
                can=frozenset({Capability.TOOLS}),
            ),
            Offer(
                model="new/model",
                provider="reseller",
                upstream_id="new/Model",
                price=Price(input=9),
            ),
            Offer(
                model="maker/odd",
                provider="reseller",
                upstream_id="odd",
                quarantine_reason="ten times above",
            ),
        ),
    )
    catalog = build_catalog(listings={"reseller": listing})
    model = catalog.models["maker/name-1"]
    (offer,) = [offer for offer in model.offers if offer.provider == "reseller"]
    assert (offer.price.input, offer.context, offer.can) == (1_000_000, 800, {Capability.TOOLS})
    assert (model.name, model.created_s) == ("Name One", 7)
    assert catalog.models["new/model"].offers[0].price.input == 9
    assert catalog.models["maker/odd"].offers[0].quarantine_reason == "ten times above"


def test_the_file_can_restrict_hide_and_name_models():
    only = ModelSettings(
        id="maker/name-1",
        aliases=("mine",),
        known_offers=False,
        offers=(OfferSettings(provider="maker", upstream_id="name-1"),),
    )
    hidden = ModelSettings(id="maker/odd", enabled=False)
    catalog = build_catalog(only, hidden)
    assert sold_prices(catalog.resolve("mine")) == {("maker", "name-1"): (1_000_000, "list-1.0")}
    with pytest.raises(Fault, match="does not exist"):
        catalog.resolve("odd")


def test_a_deployment_takes_its_price_from_the_id_that_it_serves():
    own_model = ModelSettings(
        id="maker/name-1",
        offers=(OfferSettings(provider="cloud", upstream_id="my-deployment", price_id="name-1"),),
    )
    resolved = build_catalog(own_model).resolve("name-1")
    assert sold_prices(resolved)["cloud", "my-deployment"] == (1_000_000, "list-1.0")
    assert resolved.offers[0].pinned_only_reason == ""


def test_the_nearest_markup_holds():
    providers = PROVIDERS | {"reseller": provider("reseller", markup_bp=500)}
    own_model = ModelSettings(
        id="maker/odd",
        markup_bp=900,
        offers=(
            OfferSettings(provider="maker", upstream_id="odd", price={"input": "1", "output": "1"}),
        ),
    )
    catalog = build_catalog(own_model, markup_bp=100, providers=providers)
    marks = {
        offer.provider: offer.price.markup_bp for offer in catalog.models["maker/name-1"].offers
    }
    assert marks == {"maker": 100, "reseller": 500, "away": 100}
    assert catalog.models["maker/odd"].offers[0].price.markup_bp == 900


def test_a_call_keeps_its_price_when_the_catalogue_is_replaced():
    catalog = build_catalog()
    before = catalog.resolve("name-1").offers[1]
    old_index, version = catalog.index, catalog.index.version
    catalog.replace(
        [
            Model(
                id="maker/name-1",
                offers=(
                    Offer(
                        model="maker/name-1",
                        provider="maker",
                        upstream_id="name-1",
                        price=Price(input=7),
                    ),
                ),
            )
        ]
    )
    assert catalog.resolve("name-1").offers[0].price.input == 7
    assert cost(Usage(input=1), before.price) == 1_000
    assert old_index.models["maker/name-1"].offers[1] is before
    assert catalog.index.version == version + 1


def test_tiers_and_free_are_read_from_the_file():
    tiers = (
        TierSettings(above=1000, price={"input": "2"}),
        TierSettings(service="priority", price={"input": "3"}),
    )
    own_model = ModelSettings(
        id="a/b",
        offers=(
            OfferSettings(
                provider="maker", upstream_id="b", price={"input": "1", "output": "1"}, tiers=tiers
            ),
            OfferSettings(provider="reseller", upstream_id="b", free=True),
        ),
    )
    paid, free = build_catalog(own_model).resolve("a/b").offers
    assert [
        cost(Usage(input=n, service=service), paid.price)
        for n, service in ((1000, ""), (1001, ""), (1, "priority"))
    ] == [1_000_000, 2_002_000, 3_000]
    assert free.price.free
    assert why_not_sold(free) == ""


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (ModelSettings(id="a/b", markup_bp=-1), "markup_bp"),
        (
            ModelSettings(
                id="a/b",
                offers=(
                    OfferSettings(
                        provider="maker",
                        upstream_id="b",
                        price={"input": "1", "output": "1"},
                        tiers=(TierSettings(service="fast"),),
                    ),
                ),
            ),
            "service tier 'fast'",
        ),
        (
            ModelSettings(
                id="a/b",
                offers=(
                    OfferSettings(
                        provider="maker",
                        upstream_id="b",
                        price={"input": "2", "output": "2"},
                        tiers=(TierSettings(above=9, price={"input": "1"}),),
                    ),
                ),
            ),
            "lower than below",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(model, match):
    with pytest.raises(Fault, match=match):
        operator_models_from_settings([model])


def test_an_offer_at_a_provider_that_nobody_knows_is_refused_with_a_near_name():
    own_model = ModelSettings(id="a/b", offers=(OfferSettings(provider="makers", upstream_id="b"),))
    with pytest.raises(Fault, match="did you mean 'maker'"):
        build_catalog(own_model)


def test_what_a_provider_lists_says_what_an_offer_can():
    assert capabilities(("text", "image"), ("tools", "temperature")) == {
        Capability.IMAGES,
        Capability.TOOLS,
        Capability.CHOICES,
    }
