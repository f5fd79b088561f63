"""Breaker, plan and verdict, by example and by law."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewayz.catalog.naming import Shelf
from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.calls import Principal
from gatewayz.core.conversation import Message, Text, Tool
from gatewayz.core.faults import FAULTS, Fault
from gatewayz.core.money import Price, price_from_pico
from gatewayz.core.requests import Capability, ChatRequest, Wishes
from gatewayz.core.secrets import Secret
from gatewayz.providers.spec import Credential, Provider
from gatewayz.routing.breaker import Breaker, Told, admitted, state_of, step
from gatewayz.routing.plan import Planner, Standing
from gatewayz.routing.rules import BreakerRule, Lock, RoutingRules
from gatewayz.routing.verdict import Tried, client_fault, verdict

RULE = BreakerRule(jitter=0.0)
HOUSE = Principal("house", "k")


def told(breaker, *outcomes, now=0.0, caller="c"):
    for outcome in outcomes:
        breaker = step(breaker, caller, outcome, now, RULE, dice=0.5)
    return breaker


# start, what happens as (seconds, caller, outcome or "ask"), state at the end. The same table holds for other stores.
CASES = [
    ("four failures keep it closed", [(0, "a", "failed")] * 4, "closed"),
    ("five failures in a row open it", [(0, "a", "failed")] * 5, "open"),
    (
        "a success in between resets",
        [(0, "a", "failed")] * 4 + [(0, "a", "ok")] + [(0, "a", "failed")] * 4,
        "closed",
    ),
    ("it stays open", [(0, "a", "failed")] * 5 + [(299, "a", "neutral")], "open"),
    ("then it is half open", [(0, "a", "failed")] * 5 + [(300, "a", "neutral")], "half_open"),
    (
        "a probe that succeeds closes",
        [(0, "a", "failed")] * 5 + [(300, "p", "ask"), (301, "p", "ok")],
        "closed",
    ),
    (
        "a probe that fails reopens",
        [(0, "a", "failed")] * 5 + [(300, "p", "ask"), (301, "p", "failed")],
        "open",
    ),
    (
        "a stranger's success does not close",
        [(0, "a", "failed")] * 5 + [(300, "p", "ask"), (301, "q", "ok")],
        "half_open",
    ),
    ("a trip opens at once", [(0, "a", "tripped")], "open"),
    ("one unknown model does not hide", [(0, "a", "unknown_model")], "closed"),
    ("two in a row do", [(0, "a", "unknown_model")] * 2, "open"),
    ("a limit cools", [(0, "a", "limited")], "cooling"),
    ("and is over after a while", [(0, "a", "limited"), (6, "a", "neutral")], "closed"),
    ("the client's own mistakes are neutral", [(0, "a", "neutral")] * 50, "closed"),
    (
        "half of twenty in a minute opens",
        [(n, "a", ("ok", "failed")[n % 2]) for n in range(20)],
        "open",
    ),
    (
        "half of twenty in ten minutes does not",
        [(n * 30, "a", ("ok", "failed")[n % 2]) for n in range(20)],
        "closed",
    ),
]


@pytest.mark.parametrize(("name", "story", "end"), CASES, ids=[case[0] for case in CASES])
def test_the_case_table_of_the_breaker(name, story, end):
    breaker = Breaker()
    for now, caller, what in story:
        if what == "ask":
            breaker, _ = admitted(breaker, caller, now, RULE, 0.0)
        else:
            breaker = step(breaker, caller, Told(what), now, RULE, dice=0.5)
    assert state_of(breaker, story[-1][0]) == end


def test_of_a_thousand_callers_at_half_open_one_is_admitted():
    breaker = told(Breaker(), *[Told.FAILED] * 5)
    let_in = 0
    for number in range(1_000):
        breaker, may = admitted(breaker, f"c{number}", 300.0, RULE, 0.0)
        let_in += may
    assert let_in == 1


def test_a_lost_probe_frees_itself():
    breaker = told(Breaker(), *[Told.FAILED] * 5)
    breaker, _ = admitted(breaker, "lost", 300.0, RULE, 0.0)
    assert not admitted(breaker, "next", 329.0, RULE, 0.0)[1]
    assert admitted(breaker, "next", 330.0, RULE, 0.0)[1]


def test_traffic_comes_back_in_steps():
    breaker = Breaker(closed_at=100.0)
    shares = [
        sum(admitted(breaker, "c", 100.0 + at, RULE, n / 100)[1] for n in range(100))
        for at in (0, 8, 16, 24, 30)
    ]
    assert shares == [10, 25, 50, 100, 100]


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 90),
            st.sampled_from("abc"),
            st.sampled_from([*Told, "ask"]),
            st.floats(0, 0.999),
        ),
        max_size=60,
    )
)
def test_an_open_breaker_lets_nothing_through_but_one_probe(story):
    breaker, now, probes = Breaker(), 0.0, {}
    for wait, caller, what, dice in story:
        now += wait
        before = state_of(breaker, now)
        if what == "ask":
            breaker, may = admitted(breaker, caller, now, RULE, dice)
            assert not (may and before in {"open", "cooling"})
            if may and before == "half_open":
                assert all(until <= now for until in probes.values())
                probes = {caller: now + RULE.lease_s}
        else:
            owner = breaker.probe
            breaker = step(breaker, caller, what, now, RULE, dice=dice)
            if before in {"open", "half_open"} and state_of(breaker, now) == "closed":
                assert owner == caller
            if breaker.probe != owner:
                probes = {}


class Calm:
    """Everything stands well, but for what a test says."""

    def __init__(self, **standings):
        self.standings = standings

    def offer(self, provider, upstream_id):
        return self.standings.get(provider, Standing())

    def credential(self, provider, credential):
        return self.standings.get(credential, Standing())


def provider(name, **more):
    return Provider(
        id=name, name=name, dialect="openai_chat", base_url="http://x", auth="none", **more
    )


def planner(model, names, rules=RoutingRules(), **offer):
    providers = {name: provider(name) for name in names}
    offers = tuple(
        Offer(model=model, provider=name, upstream_id="u", price=Price(input=1), **offer)
        for name in names
    )
    return Planner(Shelf([Model(id=model, offers=offers)], providers), rules, lambda: 0.5)


def ask(model, **more):
    return ChatRequest(
        dialect="openai_chat", model=model, messages=(Message("user", (Text("hi"),)),), **more
    )


def order(plan):
    return [candidate.provider.id for candidate in plan.candidates]


@pytest.mark.parametrize(
    ("model", "offered", "kept"),
    [
        (
            "openai/gpt-4o",
            ["openrouter", "openai", "groq", "azure-openai"],
            ["openai", "openrouter", "azure-openai"],
        ),
        ("gpt-4o", ["openrouter", "openai", "groq"], ["openai", "openrouter"]),
        ("openai/gpt-oss-120b", ["groq", "openai", "cerebras"], ["openai", "cerebras", "groq"]),
        (
            "anthropic/claude-x",
            ["openrouter", "anthropic", "groq", "google-vertex"],
            ["anthropic", "google-vertex", "openrouter"],
        ),
        ("openai/gpt-4o:free", ["openai", "openrouter"], ["openrouter"]),
        ("meta/llama:exacto", ["groq", "openrouter"], ["openrouter"]),
        ("openrouter/auto", ["groq", "openrouter"], ["openrouter"]),
        (
            "google/gemini-3",
            ["openrouter", "onerouter", "google-vertex"],
            ["google-vertex", "onerouter", "openrouter"],
        ),
        (
            "meta/llama-3",
            ["together", "groq", "cerebras", "onerouter"],
            ["onerouter", "cerebras", "together", "groq"],
        ),
    ],
)
def test_locks_and_the_chain(model, offered, kept):
    assert order(planner(model, offered).plan(ask(model), HOUSE, Calm())) == kept


def test_every_exclusion_leaves_a_reason():
    plan = planner("openai/gpt-4o", ["openai", "groq"]).plan(ask("openai/gpt-4o"), HOUSE, Calm())
    assert [(reason.provider, reason.kept) for reason in plan.reasons] == [
        ("groq", False),
        ("openai", True),
    ]
    assert "locked" in plan.reasons[0].why


@pytest.mark.parametrize(
    ("wishes", "kept"),
    [
        ({"order": ("c", "a")}, ["c", "a", "b"]),
        ({"only": ("b",)}, ["b"]),
        ({"ignore": ("a",)}, ["b", "c"]),
        ({"order": ("b",), "allow_fallbacks": False}, ["b"]),
    ],
)
def test_the_clients_wishes(wishes, kept):
    rules = RoutingRules(chain=("a", "b", "c"))
    assert (
        order(
            planner("m/m", ["a", "b", "c"], rules).plan(
                ask("m/m", wishes=Wishes(**wishes)), HOUSE, Calm()
            )
        )
        == kept
    )


def test_open_offers_are_left_out_and_degraded_ones_come_last():
    rules = RoutingRules(chain=("a", "b", "c"))
    plan = planner("m/m", ["a", "b", "c"], rules).plan(
        ask("m/m"),
        HOUSE,
        Calm(a=Standing(degraded=True), b=Standing(usable=False, why="open", wait_s=9)),
    )
    assert order(plan) == ["c", "a"]


def test_when_all_are_open_the_nearest_is_the_last_resort():
    health = Calm(a=Standing(usable=False, wait_s=90), b=Standing(usable=False, wait_s=40))
    plan = planner("m/m", ["a", "b"]).plan(ask("m/m"), HOUSE, health)
    assert plan.candidates == ()
    assert plan.retry_after_s == 40
    assert plan.last_resort.provider.id == "b"


def test_affinity_keeps_a_conversation_where_it_was():
    rules = RoutingRules(chain=("a", "b"))
    assert order(planner("m/m", ["a", "b"], rules).plan(ask("m/m"), HOUSE, Calm(), "b/u")) == [
        "b",
        "a",
    ]


def test_what_an_offer_cannot_do_excludes_it():
    made = planner("m/m", ["a"], can=frozenset({Capability.IMAGES}))
    with pytest.raises(Fault, match="tools") as caught:
        made.plan(ask("m/m", tools=(Tool("f"),)), HOUSE, Calm())
    assert caught.value.kind == "unsupported"


def test_a_prompt_that_is_too_long_excludes_small_contexts():
    with pytest.raises(Fault, match="context"):
        planner("m/m", ["a"], context=10).plan(ask("m/m", max_output=50), HOUSE, Calm())


def test_an_unpriced_model_is_refused_but_to_the_house():
    shelf = Shelf([], {"a": provider("a")})
    made = Planner(shelf, RoutingRules(), lambda: 0.5)
    assert order(made.plan(ask("a/model"), HOUSE, Calm())) == ["a"]
    with pytest.raises(Fault, match="price: {input") as caught:
        made.plan(ask("a/model"), Principal("x", "k", billing="prepaid"), Calm())
    assert caught.value.kind == "unpriced"


@pytest.mark.parametrize(
    ("price", "service", "kind"),
    [
        (Price(), "", "unpriced"),
        (Price(free=True), "", ""),
        (Price(input=1), "", ""),
        (Price(input=1), "priority", "unpriced"),
        (Price(input=1), "flex", ""),
        (price_from_pico({"input": 1}, {("priority", 0): {"input": 2}}), "priority", ""),
    ],
)
def test_nothing_is_sold_for_nothing_or_at_a_tier_without_a_price(price, service, kind):
    shelf = Shelf(
        [
            Model(
                id="a/b",
                offers=(Offer(model="a/b", provider="maker", upstream_id="u", price=price),),
            )
        ],
        {"maker": provider("maker")},
    )
    made = Planner(shelf, RoutingRules(), lambda: 0.5)
    buyer = Principal("a", "k", billing="prepaid")
    if not kind:
        assert made.plan(ask("a/b", extra={"service_tier": service}), buyer, Calm()).candidates
        return
    with pytest.raises(Fault) as caught:
        made.plan(ask("a/b", extra={"service_tier": service}), buyer, Calm())
    assert caught.value.kind == kind


def test_a_key_may_be_bound_to_models():
    with pytest.raises(Fault) as caught:
        planner("m/m", ["a"]).plan(ask("m/m"), Principal("x", "k", models=("other/model",)), Calm())
    assert caught.value.kind == "forbidden"


def test_names_are_exact_and_near_ones_are_told():
    shelf = Shelf(
        [
            Model(
                id="family/Name",
                aliases=("short",),
                offers=(Offer(model="family/Name", provider="a", upstream_id="x/y"),),
            )
        ],
        {"a": provider("a")},
    )
    assert (
        shelf.resolve("short").model
        == shelf.resolve("Name").model
        == shelf.resolve("family/Name").model
        == "family/Name"
    )
    assert shelf.resolve("a/x/y").offers[0].upstream_id == "x/y"
    assert shelf.resolve("a/Some:Thing").offers[0].upstream_id == "Some:Thing"
    with pytest.raises(Fault, match="family/Name"):
        shelf.resolve("family/name")


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(["openai", "openrouter", "groq", "azure-openai", "mine"]),
        min_size=1,
        unique=True,
    ),
    st.sampled_from(["openai/gpt-4o", "meta/x", "openai/x:free"]),
    st.lists(st.floats(0, 0.99), min_size=1, max_size=9),
    st.sets(st.sampled_from(["openai", "groq"])),
    st.integers(1, 3),
)
def test_a_plan_has_no_duplicates_respects_locks_and_someone_survives(
    names, model, dice, out, keys
):
    held = tuple(Credential(id=f"k{number}", key=Secret("s")) for number in range(keys))
    providers = {name: provider(name, credentials=held, own=name == "mine") for name in names}
    offers = tuple(
        Offer(model=model, provider=name, upstream_id="u", price=Price()) for name in names
    )
    draws = iter(dice * 100)
    made = Planner(
        Shelf([Model(id=model, offers=offers)], providers), RoutingRules(), lambda: next(draws)
    )
    health = Calm(**{name: Standing(usable=False, wait_s=5) for name in out})
    lock: Lock = RoutingRules().lock_for(model)
    allowed = [name for name in names if not lock.only or name in lock.only or name == "mine"]
    if not allowed:
        with pytest.raises(Fault):
            made.plan(ask(model), HOUSE, health)
        return
    plan = made.plan(ask(model), HOUSE, health)
    seen = [(one.provider.id, one.credential.id) for one in plan.candidates]
    assert len(seen) == len(set(seen))
    assert {name for name, _ in seen} == set(allowed) - out
    assert seen or plan.retry_after_s == 5


@pytest.mark.parametrize("kind", FAULTS)
def test_every_kind_of_fault_has_a_verdict(kind):
    assert verdict(Fault(kind, "x"), Tried(), 3) in {"next", "larger", "stop"}


def test_what_the_client_sees_when_attempts_failed_differently():
    faults = [
        Fault("upstream_error", "e"),
        Fault("upstream_timeout", "t"),
        Fault("upstream_overloaded", "o"),
        Fault("upstream_limited", "l", retry_after_s=7),
    ]
    seen = []
    while faults:
        seen.append(client_fault(faults).rule.status)
        faults.pop()
    assert seen == [429, 503, 504, 502]
    assert client_fault([Fault("upstream_unknown_model", "x")] * 2).kind == "unknown_model"
    assert (
        client_fault(
            [Fault("upstream_unknown_model", "x"), Fault("upstream_error", "y")]
        ).rule.status
        == 502
    )
