"""What a client says of providers holds for every plan: who may see its data, at what price, and nobody twice."""

import pytest

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.calls import Principal
from gatewayz.core.conversation import Message, Text
from gatewayz.core.faults import Fault
from gatewayz.core.requests import ChatRequest, RoutingPreferences
from gatewayz.providers.spec import Provider
from gatewayz.routing.candidates import OfferHealth
from gatewayz.routing.plan import Planner
from gatewayz.routing.rules import RoutingRules
from tests.support.prices import price_from_usd

NAMES = ("cheap", "middle", "dear")
USD = {
    "cheap": {"input": "0.10", "output": "0.20"},
    "middle": {"input": "1.00", "output": "2.00"},
    "dear": {"input": "10.00", "output": "20.00"},
}
HELLO = (Message("user", (Text("Hello there"),)),)


class Standings:
    """How each provider does; well, where nothing is said."""

    def __init__(self, **standings):
        self._standings = standings

    def offer_health(self, provider, _upstream_id, _account=""):
        return self._standings.get(provider, OfferHealth())

    def credential_health(self, _provider, _credential):
        return OfferHealth()


def planned(*models, health=None, **preferences):
    """The providers of a plan in their order, of models that all three offer; empty when there is none."""
    providers = {
        name: Provider(id=name, name=name, dialect="openai_chat", base_url="http://x", auth="none")
        for name in NAMES
    }
    names = models or ("acme/one",)
    catalog = Catalog(
        [
            Model(
                id=model,
                offers=tuple(
                    Offer(
                        model=model,
                        provider=name,
                        upstream_id="u",
                        price=price_from_usd(USD[name]),
                    )
                    for name in NAMES
                ),
            )
            for model in names
        ],
        providers,
    )
    request = ChatRequest(
        dialect="openai_chat",
        model=names[0],
        models=names[1:],
        messages=HELLO,
        preferences=RoutingPreferences(**preferences),
    )
    planner = Planner(catalog, RoutingRules(), lambda: 0.5)
    try:
        plan = planner.plan(
            request, Principal("acme", "k", billing="prepaid"), health or Standings()
        )
    except Fault as fault:
        assert fault.kind == "unsupported"
        return []
    return [candidate.provider.id for candidate in plan.candidates]


@pytest.mark.parametrize(
    ("max_price", "within"),
    [
        ({"prompt": "1"}, ["cheap", "middle"]),
        ({"prompt": "0.99"}, ["cheap"]),
        ({"completion": "2"}, ["cheap", "middle"]),
        ({"prompt": "10", "completion": "0.2"}, ["cheap"]),
        ({"prompt": "100"}, ["cheap", "middle", "dear"]),
        ({"completion": "0.01"}, []),
    ],
)
def test_nobody_is_asked_whose_price_is_above_the_clients_limit(max_price, within):
    assert planned(max_price=max_price) == within


@pytest.mark.parametrize(
    "preferences", [{"zdr": True}, {"data_collection": "deny"}, {"zdr": True, "sort": "price"}]
)
def test_nobody_is_asked_whose_policy_is_not_known_to_be_the_clients(preferences):
    assert planned(**preferences) == []


@pytest.mark.parametrize(
    ("preferences", "kept"),
    [
        ({"only": ("dear",)}, ["dear"]),
        ({"ignore": ("cheap",)}, ["middle", "dear"]),
        ({"only": ("dear", "cheap"), "ignore": ("dear",)}, ["cheap"]),
        ({"order": ("dear",), "allow_fallbacks": False}, ["dear"]),
        ({"order": ("dear",)}, ["dear", "cheap", "middle"]),
    ],
)
def test_who_is_named_is_asked_and_who_is_not_wanted_is_not(preferences, kept):
    assert planned(**preferences) == kept


def test_who_does_badly_comes_last_and_who_is_open_not_at_all():
    bad = OfferHealth(degraded=True)
    out = OfferHealth(usable=False, why="its breaker is open", wait_s=10.0)
    assert planned(health=Standings(cheap=bad)) == ["middle", "dear", "cheap"]
    assert planned(health=Standings(cheap=out, middle=bad)) == ["dear", "middle"]


def test_nobody_is_asked_twice_though_two_models_are_the_same_offer():
    assert planned("acme/one", "acme/two") == ["cheap", "middle", "dear"]
    assert planned("acme/one", "acme/two", "acme/three", only=("dear",)) == ["dear"]
