"""The catalogue, put together: seed, listings, file, each over the one before; the shelf is replaced at once."""

import pytest

from gatewayz.catalog.merge import Listing, Lists, capabilities, merged
from gatewayz.catalog.naming import Shelf
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.own import ModelSettings, OfferSettings, TierSettings, own_models
from gatewayz.catalog.report import callable_models, why_not_callable, why_not_sold
from gatewayz.catalog.seed import Row, SeedFile, Source
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
SOURCES = {"list": Source("1.0", "2026-11-01")}


def file(name, *listed, **more):
    return SeedFile(
        provider=name,
        sources=SOURCES,
        rows=tuple(
            Row(source="list", **{"price": {"input": 1_000_000, "output": 2_000_000}, **row})
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


def stocked(*own, listings=None, markup_bp=0, providers=None):
    providers = providers or PROVIDERS
    return Shelf(
        merged(Lists(SEED, listings or {}, own_models(own), markup_bp), providers), providers
    )


def sold(named):
    return {
        (offer.provider, offer.upstream_id): offer.price
        and (offer.price.input, offer.price.version)
        for offer in named.offers
    }


def test_a_model_has_one_offer_a_provider_and_names_its_source():
    named = stocked().resolve("name-1")
    assert sold(named) == {
        ("away", "n1"): (1_000_000, "list-1.0"),
        ("maker", "name-1"): (1_000_000, "list-1.0"),
        ("reseller", "maker/Name-1"): (1_000_000, "list-1.0"),
    }
    assert named.offers[0].price.source == "list-1.0 of 2026-11-01"
    assert stocked().models["maker/name-1"].context == 1000


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
    named = stocked().resolve(text)
    assert (named.model, named.pinned) == (model, pinned)


def test_a_pinned_offer_has_its_price_and_an_unknown_one_has_none():
    assert sold(stocked().resolve("maker/name-1-2026")) == {
        ("maker", "name-1-2026"): (1_000_000, "list-1.0")
    }
    assert sold(stocked().resolve("maker/unheard")) == {("maker", "unheard"): None}


def test_only_providers_that_are_on_make_a_model_callable():
    shelf = stocked()
    assert {model.id for model in callable_models(shelf)} == {"maker/name-1", "maker/odd"}
    (offer,) = shelf.models["away/only"].offers
    assert why_not_callable(offer, shelf) == "off: set AWAY_KEY"
    (odd,) = shelf.models["maker/odd"].offers
    assert why_not_sold(odd) == "unpriced: its listed price is quarantined (far off)"


def test_a_price_set_in_the_file_wins_over_every_list():
    mine = ModelSettings(
        id="maker/name-1",
        offers=(
            OfferSettings(
                provider="maker", upstream_id="name-1", price={"input": "3", "output": "4"}
            ),
        ),
    )
    heard = Listing(
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
    assert sold(stocked(listings={"maker": heard}).resolve("name-1"))["maker", "name-1"] == (
        5,
        "listing",
    )
    named = stocked(mine, listings={"maker": heard}).resolve("name-1")
    assert sold(named)["maker", "name-1"] == (3_000_000, "settings")
    assert named.offers[0].provider == "maker"
    assert named.offers[0].context == 1000


def test_a_listing_refines_the_seed_and_adds_to_it():
    heard = Listing(
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
                model="maker/odd", provider="reseller", upstream_id="odd", held="ten times above"
            ),
        ),
    )
    shelf = stocked(listings={"reseller": heard})
    model = shelf.models["maker/name-1"]
    (offer,) = [one for one in model.offers if one.provider == "reseller"]
    assert (offer.price.input, offer.context, offer.can) == (1_000_000, 800, {Capability.TOOLS})
    assert (model.name, model.created_s) == ("Name One", 7)
    assert shelf.models["new/model"].offers[0].price.input == 9
    assert shelf.models["maker/odd"].offers[0].held == "ten times above"


def test_the_file_can_restrict_hide_and_name_models():
    only = ModelSettings(
        id="maker/name-1",
        aliases=("mine",),
        known_offers=False,
        offers=(OfferSettings(provider="maker", upstream_id="name-1"),),
    )
    hidden = ModelSettings(id="maker/odd", enabled=False)
    shelf = stocked(only, hidden)
    assert sold(shelf.resolve("mine")) == {("maker", "name-1"): (1_000_000, "list-1.0")}
    with pytest.raises(Fault, match="does not exist"):
        shelf.resolve("odd")


def test_a_deployment_takes_its_price_from_the_id_that_it_serves():
    mine = ModelSettings(
        id="maker/name-1",
        offers=(OfferSettings(provider="cloud", upstream_id="my-deployment", price_id="name-1"),),
    )
    named = stocked(mine).resolve("name-1")
    assert sold(named)["cloud", "my-deployment"] == (1_000_000, "list-1.0")
    assert named.offers[0].only_pinned == ""


def test_the_nearest_markup_holds():
    providers = PROVIDERS | {"reseller": provider("reseller", markup_bp=500)}
    mine = ModelSettings(
        id="maker/odd",
        markup_bp=900,
        offers=(OfferSettings(provider="maker", upstream_id="odd", price={"input": "1"}),),
    )
    shelf = stocked(mine, markup_bp=100, providers=providers)
    marks = {offer.provider: offer.price.markup_bp for offer in shelf.models["maker/name-1"].offers}
    assert marks == {"maker": 100, "reseller": 500, "away": 100}
    assert shelf.models["maker/odd"].offers[0].price.markup_bp == 900


def test_a_call_keeps_its_price_when_the_shelf_is_restocked():
    shelf = stocked()
    before = shelf.resolve("name-1").offers[1]
    held, version = shelf.stock, shelf.stock.version
    shelf.restock(
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
    assert shelf.resolve("name-1").offers[0].price.input == 7
    assert cost(Usage(input=1), before.price) == 1_000
    assert held.models["maker/name-1"].offers[1] is before
    assert shelf.stock.version == version + 1


def test_tiers_and_free_are_read_from_the_file():
    tiers = (
        TierSettings(above=1000, price={"input": "2"}),
        TierSettings(service="priority", price={"input": "3"}),
    )
    mine = ModelSettings(
        id="a/b",
        offers=(
            OfferSettings(provider="maker", upstream_id="b", price={"input": "1"}, tiers=tiers),
            OfferSettings(provider="reseller", upstream_id="b", free=True),
        ),
    )
    paid, free = stocked(mine).resolve("a/b").offers
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
                        price={"input": "1"},
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
                        price={"input": "2"},
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
        own_models([model])


def test_an_offer_at_a_provider_that_nobody_knows_is_refused_with_a_near_name():
    mine = ModelSettings(id="a/b", offers=(OfferSettings(provider="makers", upstream_id="b"),))
    with pytest.raises(Fault, match="did you mean 'maker'"):
        stocked(mine)


def test_what_a_provider_lists_says_what_an_offer_can():
    assert capabilities(("text", "image"), ("tools", "temperature")) == {
        Capability.IMAGES,
        Capability.TOOLS,
        Capability.CHOICES,
    }
