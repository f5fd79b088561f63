"""What a caller is told whom nobody can serve: for good, or until when; and who is asked before."""

import pytest

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.calls import Principal
from gatewayz.core.conversation import Message, Text, Tool
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price
from gatewayz.core.requests import Capability, ChatRequest, ImageRequest, RoutingPreferences
from gatewayz.routing.candidates import OfferHealth, elsewhere_first, wait_fault
from gatewayz.routing.plan import Planner, PlanRefusal
from gatewayz.routing.rules import RoutingRules
from gatewayz.web.respond import fault_headers
from tests.unit.test_routing import (
    HOUSE,
    Calm,
    build_planner,
    build_provider,
    chat_request,
    order,
)

OPERATOR = Principal("x", "k", billing="prepaid", scopes=frozenset({"inference", "operator"}))
BUYER = Principal("x", "k", billing="prepaid")


def prompt_of(words):
    return (Message("user", (Text("word " * words),)),)


def build_planner_of(*contexts):
    """Offers `p0`, `p1` and so on, with these contexts."""
    names = [f"p{number}" for number in range(len(contexts))]
    offers = tuple(
        Offer(model="m/m", provider=name, upstream_id="u", price=Price(input=1), context=context)
        for name, context in zip(names, contexts, strict=True)
    )
    providers = {name: build_provider(name) for name in names}
    catalog = Catalog([Model(id="m/m", offers=offers)], providers)
    return Planner(catalog, RoutingRules(), lambda: 0.5)


@pytest.mark.parametrize("contexts", [(10,), (10, 40), (5, 30)])
def test_what_cannot_fit_is_refused_as_too_long_for_good(contexts):
    planner = build_planner_of(*contexts)
    request = ChatRequest(dialect="openai_chat", model="m/m", messages=prompt_of(50))
    with pytest.raises(Fault) as caught:
        planner.plan(request, HOUSE, Calm())
    fault = caught.value
    assert (fault.kind, fault.rule.status) == ("too_long", 400)
    assert fault.overflow.limit == max(contexts)
    assert fault.overflow.tokens >= 50
    assert fault.retry_after_s is None


@pytest.mark.parametrize(
    ("contexts", "asked"),
    [
        # Two words are two tokens at the least, and 2,000 may be said.
        ((8,), ["p0"]),
        ((8, 9), ["p0", "p1"]),
        ((8, 4_000), ["p1"]),
        ((8, None), ["p1"]),
        ((8, 100), ["p0", "p1"]),
    ],
)
def test_an_estimate_prefers_and_does_not_refuse(contexts, asked):
    request = ChatRequest(
        dialect="openai_chat", model="m/m", messages=prompt_of(2), max_output=2_000
    )
    assert sorted(order(build_planner_of(*contexts).plan(request, HOUSE, Calm()))) == asked


def test_an_unpriced_model_is_refused_but_to_the_house():
    catalog = Catalog([], {"a": build_provider("a")})
    planner = Planner(catalog, RoutingRules(), lambda: 0.5)
    assert order(planner.plan(chat_request("a/model"), HOUSE, Calm())) == ["a"]
    with pytest.raises(Fault) as caught:
        planner.plan(chat_request("a/model"), BUYER, Calm())
    assert (caught.value.kind, caught.value.rule.status) == ("unpriced", 404)
    assert "price: {input" not in caught.value.message
    with pytest.raises(Fault, match="price: {input"):
        planner.plan(chat_request("a/model"), OPERATOR, Calm())


OFF = {"off": "set OPENROUTER_API_KEY"}


@pytest.mark.parametrize(
    ("providers", "wishes", "kind", "status"),
    [
        ({"openai": OFF}, {}, "unknown_model", 404),
        ({"openai": OFF, "openrouter": OFF}, {}, "unknown_model", 404),
        ({"groq": {}}, {}, "unknown_model", 404),
        ({"openai": {}}, {"tools": (Tool("f"),)}, "unsupported", 400),
        ({"openai": {}}, {"preferences": RoutingPreferences(only=("groq",))}, "unsupported", 400),
        ({"openai": {}}, {"messages": prompt_of(200)}, "too_long", 400),
        ({"openai": {}, "openrouter": OFF}, {"messages": prompt_of(200)}, "too_long", 400),
    ],
)
def test_what_stays_as_it_is_is_not_retried_and_shows_customers_nothing_of_the_operators(
    providers, wishes, kind, status
):
    offers = tuple(
        Offer(
            model="openai/gpt-4o",
            provider=name,
            upstream_id="u",
            price=Price(input=1),
            context=100,
            can=frozenset({Capability.IMAGES}),
        )
        for name in providers
    )
    built = {name: build_provider(name, **more) for name, more in providers.items()}
    catalog = Catalog([Model(id="openai/gpt-4o", offers=offers)], built)
    planner = Planner(catalog, RoutingRules(), lambda: 0.5)
    fields = {"model": "openai/gpt-4o", "messages": prompt_of(1), **wishes}
    request = ChatRequest(dialect="openai_chat", **fields)

    with pytest.raises(PlanRefusal) as customer:
        planner.plan(request, BUYER, Calm())
    fault = customer.value
    assert (fault.kind, fault.rule.status, fault.retry_after_s) == (kind, status, None)
    assert dict(fault_headers(fault)) == {b"x-should-retry": b"false"}
    assert not any(word in fault.message for word in ("API_KEY", "locked", "groq", "openrouter"))

    # Operators are told, and find it with the call.
    assert len(fault.plan.reasons) == len(providers)
    with pytest.raises(PlanRefusal) as operator:
        planner.plan(request, OPERATOR, Calm())
    assert all(f"{name}: " in operator.value.message for name in providers)


@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize("wait_s", [3.0, 250.0])
def test_who_is_to_be_asked_later_is_told_as_what_it_is_with_the_true_time(limited, wait_s):
    standing = OfferHealth(usable=False, wait_s=wait_s, limited=limited)
    health = Calm(a=standing, b=OfferHealth(usable=False, wait_s=wait_s + 100))
    plan = build_planner("m/m", ["a", "b"]).plan(chat_request("m/m"), BUYER, health)
    fault = wait_fault("m/m", plan.waiting, "", health)
    assert (fault.rule.status, fault.retry_after_s) == (429 if limited else 503, wait_s)
    # Whoever asked us to wait is left alone.
    assert plan.last_resort.provider.id == ("b" if limited else "a")


def test_nobody_who_asked_us_to_wait_is_probed():
    standing = OfferHealth(usable=False, wait_s=3.0, limited=True)
    plan = build_planner("m/m", ["a"]).plan(chat_request("m/m"), BUYER, Calm(a=standing))
    assert plan.queue == ()


@pytest.mark.parametrize(
    ("routes", "bound", "kept"),
    [
        ({"hf": 10, "together": 1, "deepinfra": 1}, 4, ["hf", "hf", "together", "deepinfra"]),
        ({"hf": 10, "together": 3}, 3, ["hf", "hf", "together"]),
        ({"a": 1, "b": 1, "c": 1}, 2, ["a", "b"]),
        ({"a": 20}, 16, ["a"] * 16),
    ],
)
def test_a_provider_with_many_routes_keeps_nobody_out_of_the_plan(routes, bound, kept):
    offers = tuple(
        Offer(model="m/m", provider=name, upstream_id=f"u{number}", price=Price(input=1))
        for name, count in routes.items()
        for number in range(count)
    )
    rules = RoutingRules(chain=tuple(routes), max_candidates=bound)
    providers = {name: build_provider(name) for name in routes}
    planner = Planner(Catalog([Model(id="m/m", offers=offers)], providers), rules, lambda: 0.5)
    plan = planner.plan(chat_request("m/m"), HOUSE, Calm())
    assert order(plan) == kept
    queue = elsewhere_first(plan.candidates[1:], kept[0])
    others = [name for name in kept if name != kept[0]]
    assert [candidate.provider.id for candidate in queue][: len(others)] == others


@pytest.mark.parametrize("spelling", ["anthropic/claude-x-1", "claude-x.1", "Anthropic/Claude-X-1"])
def test_a_key_may_use_a_model_that_its_list_names_in_any_spelling(spelling):
    key = Principal("x", "k", models=(spelling,))
    planner = build_planner("anthropic/claude-x.1", ["anthropic"])
    assert order(planner.plan(chat_request("anthropic/claude-x.1"), key, Calm())) == ["anthropic"]


def ask_image(model, **more):
    return ImageRequest(dialect="openai_images", model=model, prompt="x", **more)


@pytest.mark.parametrize("build_request", [chat_request, ask_image])
def test_a_name_that_nobody_knows_is_an_id_at_the_one_provider_that_is_wanted(build_request):
    providers = {name: build_provider(name, more_dialects=("openai_images",)) for name in "ab"}
    planner = Planner(Catalog([], providers), RoutingRules(), lambda: 0.5)
    only_a = RoutingPreferences(only=("a",))
    plan = planner.plan(build_request("new-model", preferences=only_a), HOUSE, Calm())
    assert (order(plan), plan.candidates[0].offer.upstream_id) == (["a"], "new-model")
    for preferences in (RoutingPreferences(), RoutingPreferences(only=("a", "b"))):
        with pytest.raises(Fault, match="does not exist"):
            planner.plan(build_request("new-model", preferences=preferences), HOUSE, Calm())


@pytest.mark.parametrize("name", ["gpt-image-9", "openai/gpt-image-9", "claude-draws", "gpt-5"])
def test_a_brands_name_does_not_go_to_another_house_by_default(name):
    rules = RoutingRules(default_providers={"image": "deepinfra"})
    planner = Planner(Catalog([], {"deepinfra": build_provider("deepinfra")}), rules, lambda: 0.5)
    with pytest.raises(Fault) as caught:
        planner.plan(ask_image(name), HOUSE, Calm())
    assert caught.value.kind == "unknown_model"
