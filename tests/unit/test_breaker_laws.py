"""What moves a breaker, and what must not: waits that providers ask for, clients that leave, requests that fail everywhere."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.catalog.offers import Offer
from gatewayz.core.calls import Call, Principal
from gatewayz.core.conversation import Message, Text
from gatewayz.core.events import FINISHED, BlockStarted, ChoiceEnded, Frame, Kind, Started, Stop
from gatewayz.core.faults import Fault
from gatewayz.core.requests import ChatRequest
from gatewayz.core.secrets import Secret
from gatewayz.engine.attempts import Attempts
from gatewayz.engine.call_state import CallState
from gatewayz.engine.commit_point import has_commit_point
from gatewayz.engine.health import AttemptPermit, Health
from gatewayz.engine.retry_budget import RetryBudget
from gatewayz.providers.spec import Credential, Provider
from gatewayz.routing.breaker import Breaker, LeaseOwner, Signal, admit, after_attempt, state_of
from gatewayz.routing.candidates import Candidate, OfferHealth
from gatewayz.routing.plan import Plan
from gatewayz.routing.rules import BreakerRule, RoutingRules
from gatewayz.routing.verdict import RetryState, verdict
from tests.support.clocks import ManualClock
from tests.support.examples import examples

RULE = BreakerRule(jitter=0.0)
RULES = RoutingRules(breaker=RULE)
ACME = LeaseOwner("call", "acme")
HELLO = (Message("user", (Text("Hello there"),)),)
HEAD = Frame((Started(),))
BLOCK = Frame((BlockStarted(0, Kind.TEXT),))
STOPPED = Frame((ChoiceEnded(0, Stop.END, "stop"),))


class Observers:
    """Facts, as they come."""

    def __init__(self):
        self.facts = []

    def emit(self, fact):
        self.facts.append(fact)


def health_at(clock):
    return Health(RULES, clock, Observers().emit, lambda: 0.5)


def permit_for(provider, *, credential=None, caller=ACME):
    subject = None if credential is None else (provider, credential)
    return AttemptPermit(caller, (provider, "u"), subject)


def provider_fault(kind="upstream_error"):
    return Fault(kind, "it failed", blame="provider")


# Waits that a provider asks for


@examples(200)
@given(st.lists(st.tuples(st.floats(0, 100), st.none() | st.floats(0, 3_600)), min_size=1))
def test_a_provider_rests_as_long_as_the_longest_wait_that_it_asked_for(waits):
    breaker, now, until = Breaker(), 0.0, 0.0
    for passed, wait_s in waits:
        now += passed
        breaker = after_attempt(breaker, ACME, Signal.LIMITED, now, RULE, draw=0.5, wait_s=wait_s)
        until = max(until, now + (RULE.cool_s if wait_s is None else wait_s))
        assert breaker.cool_until == until
        assert state_of(breaker, now) == ("cooling" if now < until else "closed")
        assert admit(breaker, ACME, now, RULE)[1] == (now >= until)
        assert admit(breaker, ACME, until, RULE)[1]


@pytest.mark.parametrize("credential", [None, "p#1"])
@pytest.mark.parametrize(
    ("wait_s", "rests_s"), [(0.5, 0.5), (40.0, 40.0), (600.0, 600.0), (None, 5.0)]
)
def test_what_a_refusal_says_of_coming_back_is_how_long_its_offer_rests(
    wait_s, rests_s, credential
):
    clock = ManualClock()
    health = health_at(clock)
    fault = Fault("upstream_limited", "slow down", retry_after_s=wait_s)
    health.record(permit_for("p", credential=credential), fault, None)
    rests = health.offer_health("p", "u")
    assert (rests.usable, rests.wait_s) == (False, pytest.approx(rests_s))
    clock.advance(rests_s + 0.01)
    assert health.offer_health("p", "u").usable


# Whose failure it is


class ScriptedUpstream:
    """Answers in the order of a script: frames, and a fault that ends them if there is one."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def answer(self, _call, _candidate, info, _dropped=()):
        info.status = 200
        frames, fault = self.answers.pop(0)
        for frame in frames:
            yield [frame]
        if fault is not None:
            raise fault


def candidate_at(name, credential=None):
    provider = Provider(id=name, name=name, dialect="openai_chat", base_url="http://x", auth="none")
    return Candidate(
        offer=Offer(model="m", provider=name, upstream_id="u"),
        provider=provider,
        credential=credential,
    )


def state_with(*names, streamed=True):
    call = Call(
        id="01HZZZZZZZZZZZZZZZZZZZZZZZ",
        endpoint="/v1/chat/completions",
        request=ChatRequest(dialect="openai_chat", model="m", messages=HELLO, streamed=streamed),
        principal=Principal("acme", "k"),
        received_at=1_000.0,
        received_ms=0,
        deadline=2_000.0,
    )
    state = CallState(call)
    state.plan = Plan(model="m", candidates=tuple(candidate_at(name) for name in names))
    return state


def attempts_with(health, clock, *answers):
    return Attempts(ScriptedUpstream(*answers), health, RULES, clock, Observers())  # type: ignore[arg-type]


@pytest.mark.parametrize("failures", [3, 4])
@pytest.mark.parametrize("how", ["leaves", "is cancelled"])
async def test_a_client_that_leaves_is_neither_success_nor_failure_of_its_provider(failures, how):
    clock = ManualClock()
    health = health_at(clock)
    for _ in range(failures):
        health.record(permit_for("p"), provider_fault(), None)
    endless = ([HEAD, BLOCK, *[BLOCK] * 50], None)
    frames = attempts_with(health, clock, endless).answer(state_with("p"))
    if how == "leaves":
        await anext(frames)
        await frames.aclose()
    else:
        await anext(frames)
        with pytest.raises(asyncio.CancelledError):
            await frames.athrow(asyncio.CancelledError())

    assert health.breaker_states()["p", "u"] == "closed"
    for _ in range(RULE.failures - failures):
        assert health.breaker_states()["p", "u"] == "closed"
        health.record(permit_for("p"), provider_fault(), None)
    assert health.breaker_states()["p", "u"] == "open"


@pytest.mark.parametrize("frames", [[HEAD, BLOCK, BLOCK], [HEAD, BLOCK, STOPPED, BLOCK]])
async def test_clients_that_leave_close_an_offer_to_nobody_not_even_to_themselves(frames):
    clock = ManualClock()
    health = health_at(clock)
    for _ in range(2 * RULE.failures):
        answer = attempts_with(health, clock, (frames, None)).answer(state_with("p"))
        await anext(answer)
        await answer.aclose()
    assert health.offer_health("p", "u", "acme") == OfferHealth()
    assert health.offer_health("p", "u", "another") == OfferHealth()


async def test_an_answer_that_was_served_ends_the_streak():
    clock = ManualClock()
    health = health_at(clock)
    for _ in range(4):
        health.record(permit_for("p"), provider_fault(), None)
    whole = ([HEAD, BLOCK, STOPPED, FINISHED], None)
    assert [one async for one in attempts_with(health, clock, whole).answer(state_with("p"))]
    health.record(permit_for("p"), provider_fault(), None)
    assert health.breaker_states()["p", "u"] == "closed"


def test_what_was_never_sent_says_nothing_of_its_provider():
    health = health_at(ManualClock())
    for _ in range(4):
        health.record(permit_for("p"), provider_fault(), None)
    health.record(permit_for("p"), None, None, sent=False)
    health.record(permit_for("p"), provider_fault(), None)
    assert health.breaker_states()["p", "u"] == "open"


@pytest.mark.parametrize("kind", ["upstream_error", "upstream_broken", "upstream_timeout"])
async def test_a_request_that_two_providers_fail_on_counts_against_neither(kind):
    clock = ManualClock()
    health = health_at(clock)
    for _ in range(RULE.failures + 1):
        failing = ([HEAD], Fault(kind, "it failed"))
        attempts = attempts_with(health, clock, failing, failing)
        with pytest.raises(Fault):
            async for _ in attempts.answer(state_with("p", "q")):
                pass
    for name in ("p", "q"):
        assert health.offer_health(name, "u", "acme").usable

    # Where another has served, it was the provider.
    for _ in range(RULE.failures):
        served = ([HEAD, BLOCK, STOPPED, FINISHED], None)
        attempts = attempts_with(health, clock, ([HEAD], Fault(kind, "it failed")), served)
        assert [one async for one in attempts.answer(state_with("p", "q"))]
    assert not health.offer_health("p", "u", "acme").usable
    assert health.offer_health("q", "u", "acme").usable


@pytest.mark.parametrize("kind", ["upstream_auth", "upstream_unpaid"])
def test_a_credential_that_is_dead_is_no_fault_of_its_offer(kind):
    health = health_at(ManualClock())
    health.record(permit_for("p", credential="p#1"), Fault(kind, "no"), None)
    assert health.offer_health("p", "u").usable
    assert not health.credential_health("p", "p#1").usable
    health.record(permit_for("p", credential="p#2"), Fault("upstream_forbidden", "no"), None)
    assert not health.offer_health("p", "u").usable
    assert health.credential_health("p", "p#2").usable


@pytest.mark.parametrize("signal", [Signal.NEUTRAL, Signal.LIMITED])
def test_a_probe_that_learnt_nothing_frees_its_lease(signal):
    breaker = Breaker(open_until=10.0)
    breaker, admitted = admit(breaker, LeaseOwner("first"), 10.0, RULE)
    assert admitted
    assert not admit(breaker, LeaseOwner("second"), 11.0, RULE)[1]
    breaker = after_attempt(breaker, LeaseOwner("first"), signal, 11.0, RULE, draw=0.5, wait_s=1.0)
    assert admit(breaker, LeaseOwner("second"), 13.0, RULE)[1]


# Bounds


@examples(100)
@given(st.lists(st.sampled_from(["call"] * 6 + ["fail over"] * 12 + ["later"]), max_size=200))
def test_failovers_beyond_a_calls_first_are_a_share_of_all_calls(steps):
    clock = ManualClock()
    budget = RetryBudget(share=0.1, floor_per_s=0.5, clock=clock)
    calls, spent = 0, 0
    for step in steps:
        if step == "later":
            clock.advance(11)
            calls = spent = 0
        elif step == "call":
            budget.count_call()
            calls += 1
        else:
            assert budget.spend(0)
            spent += budget.spend(1)
        assert spent <= max(5, 0.1 * calls + 1)


@pytest.mark.parametrize(("calls", "failovers"), [(0, 5), (40, 5), (100, 10), (1_000, 100)])
def test_in_an_outage_so_many_calls_fail_over_again_and_the_others_do_not(calls, failovers):
    clock = ManualClock()
    budget = RetryBudget(share=0.1, floor_per_s=0.5, clock=clock)
    for _ in range(calls):
        budget.count_call()
    assert [budget.spend(1) for _ in range(300)] == [True] * failovers + [False] * (300 - failovers)
    assert budget.spend(0)
    clock.advance(11)
    assert budget.spend(2)


@pytest.mark.parametrize("bound", [1, 3, 7])
@pytest.mark.parametrize("kind", ["upstream_error", "upstream_limited", "upstream_unreachable"])
def test_so_many_attempts_may_fail_and_not_one_more(bound, kind):
    fault = Fault(kind, "it failed")
    assert verdict(fault, RetryState(failed_attempts=bound - 1), bound) == "next"
    assert verdict(fault, RetryState(failed_attempts=bound), bound) == "stop"


def test_a_stream_is_promised_with_its_first_block_and_a_whole_answer_with_its_end():
    stream, whole = state_with("p").call, state_with("p", streamed=False).call
    for frames, promised in (([HEAD], (False, False)), ([HEAD, BLOCK], (True, False))):
        assert (has_commit_point(stream, frames), has_commit_point(whole, frames)) == promised
    assert has_commit_point(whole, [HEAD, BLOCK, STOPPED, FINISHED])
    assert not has_commit_point(stream, [HEAD, Frame(())])


async def test_before_the_promise_another_provider_answers_and_after_it_nobody_does():
    clock = ManualClock()
    cut, served = Fault("upstream_cut", "cut"), ([HEAD, BLOCK, STOPPED, FINISHED], None)
    early = attempts_with(health_at(clock), clock, ([HEAD, HEAD], cut), served)
    state = state_with("p", "q")
    frames = [frame async for batch in early.answer(state) for frame in batch]
    assert state.served == "q"
    assert frames == [HEAD, BLOCK, STOPPED, FINISHED]

    late = attempts_with(health_at(clock), clock, ([HEAD, BLOCK], cut), served)
    state = state_with("p", "q")
    frames = [frame async for batch in late.answer(state) for frame in batch]
    assert state.served == "p"
    assert frames[-1].events[-1].fault.kind == "upstream_cut"


def test_a_credential_of_a_candidate_has_a_breaker_of_its_own():
    clock = ManualClock()
    health = health_at(clock)
    candidate = candidate_at("p", Credential(id="p#1", key=Secret("k")))
    permit = health.admit(candidate, ACME)
    assert permit is not None
    assert permit.credential == ("p", "p#1")
    health.record(permit, Fault("upstream_auth", "no"), None)
    assert health.admit(candidate, ACME) is None
