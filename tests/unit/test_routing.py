"""Breaker, plan and verdict, by example and by law."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.offers import Model, Offer
from gatewayz.core.calls import Principal
from gatewayz.core.conversation import Message, Text, Tool
from gatewayz.core.faults import FAULTS, Fault
from gatewayz.core.money import Price, price_from_pico
from gatewayz.core.requests import Capability, ChatRequest, RoutingPreferences
from gatewayz.core.secrets import Secret
from gatewayz.providers.spec import Credential, Provider
from gatewayz.routing.breaker import (
    Breaker,
    LeaseOwner,
    Signal,
    admit,
    after_attempt,
    count_closed_accounts,
    fields_of,
    goes_last,
    is_degraded,
    state_of,
)
from gatewayz.routing.candidates import OfferHealth, wait_fault
from gatewayz.routing.plan import Planner
from gatewayz.routing.rules import BreakerRule, ProviderLock, RoutingRules
from gatewayz.routing.verdict import RetryState, fault_for_client, verdict
from tests.support.examples import examples

RULE = BreakerRule(jitter=0.0)
HOUSE = Principal("house", "k")


def caller(name):
    """`call` of nobody's account, or `call@account`."""
    return LeaseOwner(*name.split("@"))


def breaker_after(breaker, *signals, now=0.0, by="c"):
    for signal in signals:
        breaker = after_attempt(breaker, caller(by), signal, now, RULE, draw=0.5)
    return breaker


SUSPECTED_BY_A = [(0, "c@a", "suspected")]
SUSPECTED_BY_B = [(0, "c@b", "suspected")]

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
    ("what one account's bodies cause is its own", SUSPECTED_BY_A * 50, "closed"),
    ("four of one and one of another open it", SUSPECTED_BY_A * 4 + SUSPECTED_BY_B, "open"),
    ("two and two do not", (SUSPECTED_BY_A + SUSPECTED_BY_B) * 2, "closed"),
    (
        "a success of anybody begins the count of all anew",
        SUSPECTED_BY_A * 4 + [(0, "c@c", "ok")] + SUSPECTED_BY_B * 4,
        "closed",
    ),
    (
        "failures of the provider count beside those of several accounts",
        (SUSPECTED_BY_A + SUSPECTED_BY_B) * 2 + [(0, "c@a", "failed")],
        "open",
    ),
    (
        "and by themselves beside those of one",
        SUSPECTED_BY_A * 4 + [(0, "c@b", "failed")] * 4,
        "closed",
    ),
    (
        "half of twenty in a minute of one account does not open",
        [(n, "c@a", ("ok", "suspected")[n % 2]) for n in range(40)],
        "closed",
    ),
    (
        "half of twenty in a minute of two accounts does",
        [(n, "c@" + "ab"[n // 2 % 2], ("ok", "suspected")[n % 2]) for n in range(20)],
        "open",
    ),
    (
        "one account's probe that its body may have broken does not reopen",
        [(0, "x", "failed")] * 5 + [(300, "p@a", "ask"), (301, "p@a", "suspected")],
        "half_open",
    ),
    (
        "another account's probe after it does",
        [
            *[(0, "x", "failed")] * 5,
            *[(300, "p@a", "ask"), (301, "p@a", "suspected")],
            *[(301, "q@b", "ask"), (302, "q@b", "suspected")],
        ],
        "open",
    ),
]


@pytest.mark.parametrize(("name", "story", "end"), CASES, ids=[case[0] for case in CASES])
def test_the_case_table_of_the_breaker(name, story, end):
    breaker = Breaker()
    for now, by, what in story:
        if what == "ask":
            breaker, _ = admit(breaker, caller(by), now, RULE)
        else:
            breaker = after_attempt(breaker, caller(by), Signal(what), now, RULE, draw=0.5)
    assert state_of(breaker, story[-1][0]) == end


def test_an_account_whose_bodies_break_an_offer_goes_elsewhere_and_nobody_else():
    breaker = breaker_after(Breaker(), *[Signal.SUSPECTED] * 5, by="c@a")
    assert not admit(breaker, caller("c@a"), 299.0, RULE)[1]
    assert admit(breaker, caller("c@b"), 0.0, RULE)[1]
    assert count_closed_accounts(breaker, 0.0) == 1
    assert admit(breaker, caller("c@a"), 300.0, RULE)[1]
    again = breaker_after(breaker, Signal.SUSPECTED, now=300.0, by="c@a")
    assert not admit(again, caller("c@a"), 599.0, RULE)[1]
    well = breaker_after(breaker, Signal.OK, now=300.0, by="c@a")
    assert well.accounts == ()


def test_after_a_probe_that_its_body_broke_an_account_waits_and_another_may_probe():
    breaker = breaker_after(Breaker(), *[Signal.FAILED] * 5)
    breaker, _ = admit(breaker, caller("p@a"), 300.0, RULE)
    breaker = breaker_after(breaker, Signal.SUSPECTED, now=300.0, by="p@a")
    assert not admit(breaker, caller("q@a"), 301.0, RULE)[1]
    assert admit(breaker, caller("q@b"), 301.0, RULE)[1]


def test_of_a_thousand_callers_at_half_open_one_is_admitted():
    breaker = breaker_after(Breaker(), *[Signal.FAILED] * 5)
    let_in = 0
    for number in range(1_000):
        breaker, may = admit(breaker, caller(f"c{number}"), 300.0, RULE)
        let_in += may
    assert let_in == 1


def test_a_lost_probe_frees_itself():
    breaker = breaker_after(Breaker(), *[Signal.FAILED] * 5)
    breaker, _ = admit(breaker, caller("lost"), 300.0, RULE)
    assert not admit(breaker, caller("next"), 329.0, RULE)[1]
    assert admit(breaker, caller("next"), 330.0, RULE)[1]


def test_traffic_comes_back_in_steps_and_nobody_is_refused_for_it():
    breaker = Breaker(closed_at=100.0)
    shares = [
        sum(not goes_last(breaker, 100.0 + at, RULE, n / 100) for n in range(100))
        for at in (0, 8, 16, 24, 30)
    ]
    assert shares == [10, 25, 50, 100, 100]
    assert admit(breaker, caller("c"), 100.0, RULE)[1]


STORIES = st.lists(
    st.tuples(
        st.floats(0, 90),
        st.sampled_from(["a@x", "b@x", "c@y", "d@z", *(f"e@{number}" for number in range(12))]),
        st.sampled_from([*Signal, "ask"]),
        st.floats(0, 0.999),
    ),
    max_size=60,
)


@examples(300)
@given(STORIES)
def test_an_open_breaker_lets_nothing_through_but_one_probe(story):
    probes: dict[str, float] = {}
    breaker, now = Breaker(), 0.0
    for wait, by, what, draw in story:
        now += wait
        before = state_of(breaker, now)
        if what == "ask":
            breaker, may = admit(breaker, caller(by), now, RULE)
            assert not (may and before in {"open", "cooling"})
            if may and before == "half_open":
                assert all(until <= now for until in probes.values())
                probes = {by: now + RULE.lease_s}
        else:
            owner = breaker.probe
            breaker = after_attempt(breaker, caller(by), what, now, RULE, draw=draw)
            if before in {"open", "half_open"} and state_of(breaker, now) == "closed":
                assert owner == caller(by).call
            if breaker.probe != owner:
                probes = {}


@examples(300)
@given(STORIES)
def test_a_breaker_is_one_flat_hash_of_bounded_size(story):
    breaker, now = Breaker(), 0.0
    for wait, by, what, draw in story:
        now += wait
        if what != "ask":
            breaker = after_attempt(breaker, caller(by), what, now, RULE, draw=draw)
        fields = fields_of(breaker)
        assert len(fields) <= 8 + 6 * 3 + 8 * 4
        assert all(isinstance(value, int | float | str) for value in fields.values())


@examples(300)
@given(STORIES)
def test_one_accounts_bodies_never_close_an_offer_to_another(story):
    breaker, now = Breaker(), 0.0
    for wait, _, what, draw in story:
        now += wait
        if what in {Signal.OK, Signal.SUSPECTED, Signal.NEUTRAL}:
            breaker = after_attempt(breaker, LeaseOwner("c", "hostile"), what, now, RULE, draw=draw)
        assert admit(breaker, LeaseOwner("d", "normal"), now, RULE)[1]
        assert not is_degraded(breaker, now, RULE)


class Calm:
    """Everything stands well, but for what a test says."""

    def __init__(self, **standings):
        self.standings = standings

    def offer_health(self, provider, upstream_id, account=""):
        return self.standings.get(provider, OfferHealth())

    def credential_health(self, provider, credential):
        return self.standings.get(credential, OfferHealth())


def build_provider(name, **more):
    return Provider(
        id=name, name=name, dialect="openai_chat", base_url="http://x", auth="none", **more
    )


def build_planner(model, names, rules=RoutingRules(), **offer):
    providers = {name: build_provider(name) for name in names}
    offers = tuple(
        Offer(model=model, provider=name, upstream_id="u", price=Price(input=1), **offer)
        for name in names
    )
    return Planner(Catalog([Model(id=model, offers=offers)], providers), rules, lambda: 0.5)


def chat_request(model, **more):
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
    assert order(build_planner(model, offered).plan(chat_request(model), HOUSE, Calm())) == kept


def test_every_exclusion_leaves_a_reason():
    plan = build_planner("openai/gpt-4o", ["openai", "groq"]).plan(
        chat_request("openai/gpt-4o"), HOUSE, Calm()
    )
    assert [(reason.provider, reason.is_candidate) for reason in plan.reasons] == [
        ("groq", False),
        ("openai", True),
    ]
    assert "locked" in plan.reasons[0].why


@pytest.mark.parametrize(
    ("preferences", "order_of_providers"),
    [
        ({"order": ("c", "a")}, ["c", "a", "b"]),
        ({"only": ("b",)}, ["b"]),
        ({"ignore": ("a",)}, ["b", "c"]),
        ({"order": ("b",), "allow_fallbacks": False}, ["b"]),
    ],
)
def test_the_clients_preferences(preferences, order_of_providers):
    rules = RoutingRules(chain=("a", "b", "c"))
    assert (
        order(
            build_planner("m/m", ["a", "b", "c"], rules).plan(
                chat_request("m/m", preferences=RoutingPreferences(**preferences)), HOUSE, Calm()
            )
        )
        == order_of_providers
    )


def test_open_offers_are_left_out_and_degraded_ones_come_last():
    rules = RoutingRules(chain=("a", "b", "c"))
    plan = build_planner("m/m", ["a", "b", "c"], rules).plan(
        chat_request("m/m"),
        HOUSE,
        Calm(a=OfferHealth(degraded=True), b=OfferHealth(usable=False, why="open", wait_s=9)),
    )
    assert order(plan) == ["c", "a"]


def test_when_all_are_open_the_nearest_is_the_last_resort():
    health = Calm(a=OfferHealth(usable=False, wait_s=90), b=OfferHealth(usable=False, wait_s=40))
    plan = build_planner("m/m", ["a", "b"]).plan(chat_request("m/m"), HOUSE, health)
    assert plan.candidates == ()
    assert wait_fault("m/m", plan.waiting, "", health).retry_after_s == 40
    assert plan.last_resort.provider.id == "b"
    assert plan.queue == (plan.last_resort,)


def test_affinity_keeps_a_conversation_where_it_was():
    rules = RoutingRules(chain=("a", "b"))
    assert order(
        build_planner("m/m", ["a", "b"], rules).plan(chat_request("m/m"), HOUSE, Calm(), "b/u")
    ) == [
        "b",
        "a",
    ]


def test_what_an_offer_cannot_do_excludes_it():
    planner = build_planner("m/m", ["a"], can=frozenset({Capability.IMAGES}))
    with pytest.raises(Fault, match="tools") as caught:
        planner.plan(chat_request("m/m", tools=(Tool("f"),)), HOUSE, Calm())
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize(
    ("price", "service", "kind"),
    [
        (Price(), "", "unpriced"),
        (Price(free=True), "", ""),
        (Price(input=1), "", ""),
        (Price(input=1), "priority", "unsupported"),
        (Price(input=1), "fast", "unsupported"),
        (Price(input=1), "scale", "unsupported"),
        (Price(input=1), "flex", ""),
        (price_from_pico({"input": 1}, {("priority", 0): {"input": 2}}), "priority", ""),
    ],
)
def test_nothing_is_sold_for_nothing_or_at_a_tier_without_a_price(price, service, kind):
    catalog = Catalog(
        [
            Model(
                id="a/b",
                offers=(Offer(model="a/b", provider="maker", upstream_id="u", price=price),),
            )
        ],
        {"maker": build_provider("maker")},
    )
    planner = Planner(catalog, RoutingRules(), lambda: 0.5)
    buyer = Principal("a", "k", billing="prepaid")
    if not kind:
        assert planner.plan(
            chat_request("a/b", extra={"service_tier": service}), buyer, Calm()
        ).candidates
        return
    with pytest.raises(Fault) as caught:
        planner.plan(chat_request("a/b", extra={"service_tier": service}), buyer, Calm())
    assert caught.value.kind == kind


def test_a_key_may_be_bound_to_models():
    with pytest.raises(Fault) as caught:
        build_planner("m/m", ["a"]).plan(
            chat_request("m/m"), Principal("x", "k", models=("other/model",)), Calm()
        )
    assert caught.value.kind == "forbidden"


def test_names_are_exact_and_near_ones_are_told():
    catalog = Catalog(
        [
            Model(
                id="family/Name",
                aliases=("short",),
                offers=(Offer(model="family/Name", provider="a", upstream_id="x/y"),),
            )
        ],
        {"a": build_provider("a")},
    )
    assert (
        catalog.resolve("short").model
        == catalog.resolve("Name").model
        == catalog.resolve("family/Name").model
        == "family/Name"
    )
    assert catalog.resolve("a/x/y").offers[0].upstream_id == "x/y"
    assert catalog.resolve("a/Some:Thing").offers[0].upstream_id == "Some:Thing"
    assert catalog.resolve("FAMILY/name").model == "family/Name"
    with pytest.raises(Fault, match="family/Name"):
        catalog.resolve("family/nam")


@examples(300)
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
    names, model, draws, out, keys
):
    credentials = tuple(Credential(id=f"k{number}", key=Secret("s")) for number in range(keys))
    providers = {
        name: build_provider(name, credentials=credentials, own=name == "mine") for name in names
    }
    offers = tuple(
        Offer(model=model, provider=name, upstream_id="u", price=Price()) for name in names
    )
    numbers = iter(draws * 100)
    planner = Planner(
        Catalog([Model(id=model, offers=offers)], providers), RoutingRules(), lambda: next(numbers)
    )
    health = Calm(**{name: OfferHealth(usable=False, wait_s=5) for name in out})
    lock: ProviderLock = RoutingRules().lock_for(model)
    allowed = [name for name in names if not lock.only or name in lock.only or name == "mine"]
    if not allowed:
        with pytest.raises(Fault):
            planner.plan(chat_request(model), HOUSE, health)
        return
    plan = planner.plan(chat_request(model), HOUSE, health)
    seen = [
        (candidate.provider.id, candidate.credential and candidate.credential.id)
        for candidate in plan.candidates
    ]
    assert len(seen) == len(set(seen))
    assert {name for name, _ in seen} == set(allowed) - out
    assert seen or wait_fault(model, plan.waiting, "", health).retry_after_s == 5


@pytest.mark.parametrize("kind", FAULTS)
def test_every_kind_of_fault_has_a_verdict(kind):
    assert verdict(Fault(kind, "x"), RetryState(), 3) in {"next", "larger", "stop"}


def test_what_the_client_sees_when_attempts_failed_differently():
    faults = [
        Fault("upstream_error", "e"),
        Fault("upstream_timeout", "t"),
        Fault("upstream_overloaded", "o"),
        Fault("upstream_limited", "l", retry_after_s=7),
    ]
    seen = []
    while faults:
        seen.append(fault_for_client(faults).rule.status)
        faults.pop()
    assert seen == [429, 503, 504, 502]
    assert fault_for_client([Fault("upstream_unknown_model", "x")] * 2).kind == "unknown_model"
    assert (
        fault_for_client(
            [Fault("upstream_unknown_model", "x"), Fault("upstream_error", "y")]
        ).rule.status
        == 502
    )
