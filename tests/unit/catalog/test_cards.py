"""What is shown is what is charged: the price of the offer that a plan takes first, in its own unit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.catalog.cards import FIGURES, model_card, price_card
from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.report import callable_offers
from gatewayz.core.calls import Principal
from gatewayz.core.conversation import Message, Text
from gatewayz.core.money import FREE, Price, cost
from gatewayz.core.requests import ChatRequest
from gatewayz.core.usage import BUCKETS, Usage
from gatewayz.providers.spec import Provider
from gatewayz.routing.candidates import OfferHealth
from gatewayz.routing.plan import Planner
from gatewayz.routing.rules import ProviderLock, RoutingRules
from tests.support.prices import price_from_usd

RULES = RoutingRules(chain=("a", "b"), locks=(ProviderLock(r"^acme/two", first=("c",)),))


def provider(name, **more):
    return Provider(
        id=name, name=name, dialect="openai_chat", base_url="http://x", auth="none", **more
    )


PROVIDERS = {name: provider(name) for name in ("a", "b", "c", "d")} | {
    "off": provider("off", off="set OFF_KEY")
}


class Calm:
    def offer_health(self, provider, upstream_id, account=""):
        return OfferHealth()

    def credential_health(self, provider, credential):
        return OfferHealth()


def offer(name, usd, native="one", model="acme/one"):
    price = usd if usd is None or isinstance(usd, Price) else price_from_usd(usd)
    return Offer(model=model, provider=name, upstream_id=native, price=price, serves=("chat",))


def card(*offers, model="acme/one"):
    catalog = Catalog([Model(id=model, offers=offers)], PROVIDERS, RULES.lockout_reason, RULES.rank)
    found = catalog.models[model]
    return catalog, model_card(found, callable_offers(found, catalog), PROVIDERS)


def at(dollars):
    return {"input": str(dollars), "output": str(2 * dollars)}


def first_planned(catalog, model, draw):
    request = ChatRequest(
        dialect="openai_chat", model=model, messages=(Message("user", (Text("Hi"),)),)
    )
    planner = Planner(catalog, RULES, lambda: draw)
    return planner.plan(request, Principal("x", "k", billing="prepaid"), Calm()).candidates[0].offer


def test_the_first_of_the_chain_is_shown_and_not_the_cheapest():
    _, shown = card(offer("d", at(1)), offer("b", at(2)), offer("a", at(3)))
    assert shown["pricing"]["prompt"] == "0.000003"
    assert [one["provider"] for one in shown["offers"]] == ["a", "b", "d"]
    assert [one["pricing"]["prompt"] for one in shown["offers"]] == [
        "0.000003",
        "0.000002",
        "0.000001",
    ]
    assert shown["pricing_range"]["prompt"] == {"min": "0.000001", "max": "0.000003"}
    assert shown["pricing_range"]["completion"] == {"min": "0.000002", "max": "0.000006"}


def test_a_lock_an_operators_priority_and_who_is_off_change_what_is_shown():
    _, shown = card(
        offer("a", at(3), model="acme/two"), offer("c", at(9), model="acme/two"), model="acme/two"
    )
    assert shown["pricing"]["prompt"] == "0.000009"
    _, shown = card(offer("off", at(1)), offer("b", at(2)))
    assert shown["pricing"]["prompt"] == "0.000002"
    assert [one["provider"] for one in shown["offers"]] == ["b"]


def test_an_offer_that_is_not_sold_is_neither_shown_nor_part_of_the_range():
    _, shown = card(offer("a", None), offer("b", at(2)), offer("c", Price()))
    assert shown["pricing"]["prompt"] == "0.000002"
    assert [one["provider"] for one in shown["offers"]] == ["b"]
    _, shown = card(offer("a", None))
    assert (shown["pricing"], shown["pricing_range"], shown["offers"]) == (None, {}, [])


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.integers(1, 50)),
        min_size=1,
        max_size=8,
        unique_by=lambda one: one,
    ),
    st.floats(0, 0.999),
    st.sampled_from(["acme/one", "acme/two"]),
)
def test_shown_is_charged_whatever_is_drawn(pairs, draw, model):
    offers = [
        offer(name, at(dollars), f"n{number}", model)
        for number, (name, dollars) in enumerate(pairs)
    ]
    catalog, shown = card(*offers, model=model)
    usage = Usage(input=1_000, output=1_000, requests=1)
    charged = cost(usage, first_planned(catalog, model, draw).price)
    told = sum(1_000 * Decimal(shown["pricing"][word]) for word in ("prompt", "completion"))
    assert charged == int(told * 10**9)


# Every price in its unit.


def test_every_bucket_has_a_word():
    assert set(FIGURES.values()) == set(BUCKETS)


@pytest.mark.parametrize(
    ("usd", "figures"),
    [
        ({"pixels": "0.025"}, {"pixel": "0.000000025"}),
        ({"images": "0.06"}, {"image": "0.06"}),
        ({"seconds": "0.002"}, {"second": "0.002"}),
        ({"requests": "0.01"}, {"request": "0.01"}),
        (
            {"input": "1", "output": "2"},
            {"prompt": "0.000001", "completion": "0.000002", "request": "0", "image": "0"},
        ),
        (
            {"input": "5", "output": "10", "image_output": "40"},
            {
                "prompt": "0.000005",
                "completion": "0.00001",
                "request": "0",
                "image_output": "0.00004",
            },
        ),
    ],
)
def test_a_price_is_shown_in_its_unit_or_absent_and_never_as_nothing(usd, figures):
    assert price_card(price_from_usd(usd)) == figures


def test_what_is_free_is_shown_as_nothing_because_it_is():
    assert price_card(FREE) == {"prompt": "0", "completion": "0", "request": "0", "image": "0"}
