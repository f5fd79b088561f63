"""The limiter: what runs at the same time, and what an account and a key may change of the rules."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.limits.rules import LimitRules, client_network, limit_of, validate_limits
from gatewayz.store.memory.limiter import MemoryLimiter
from tests.support.clocks import ManualClock
from tests.support.examples import examples

WIDE = {
    "key_rpm": 10**6,
    "account_rpm": 10**6,
    "system_rpm": 10**8,
    "key_per_day": 10**8,
    "burst": 10**5,
}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "give", "wait"]), st.integers(0, 3), st.integers(0, 50)
    ),
    max_size=120,
)


def principal(key, account, **more):
    return Principal(account, key, **more)


@examples(200)
@given(STEPS, st.integers(1, 4), st.integers(1, 6))
def test_never_more_run_at_once_than_a_key_and_an_account_may(steps, of_key, of_account):
    clock = ManualClock()
    rules = LimitRules(
        **WIDE, key_concurrency=of_key, account_concurrency=of_account, lease_s=100.0
    )
    limiter = MemoryLimiter(rules, clock)
    keys = [principal(f"k{number}", f"a{number // 2}") for number in range(4)]
    running: dict[str, Any] = {}
    for number, (what, which, more) in enumerate(steps):
        running = {
            call: (who, decision, until)
            for call, (who, decision, until) in running.items()
            if until > clock.now()
        }
        mine = [call for call, (who, _, _) in running.items() if who.key == keys[which].key]
        ours = [call for call, (who, _, _) in running.items() if who.account == keys[which].account]
        if what == "take":
            decision = asyncio.run(limiter.take(f"c{number}", keys[which]))
            assert decision.allowed == (len(mine) < of_key and len(ours) < of_account)
            if decision.allowed:
                running[f"c{number}"] = keys[which], decision, clock.now() + 100.0
            else:
                assert decision.rule in {"key_concurrency", "account_concurrency"}
                assert decision.retry_after_s > 0
        elif what == "give" and running:
            call = list(running)[more % len(running)]
            limiter.release(running.pop(call)[1])
        elif what == "wait":
            clock.advance(more)
    for _, decision, _ in running.values():
        limiter.release(decision)
        limiter.release(decision)
    clock.advance(101)
    for key in keys:
        last = asyncio.run(limiter.take("last", key))
        assert last.allowed
        limiter.release(last)
    assert not limiter._leases


@given(st.integers(1, 100), st.none() | st.integers(1, 100), st.none() | st.integers(1, 100))
def test_an_account_takes_the_rules_place_and_a_key_only_lowers(rule, granted, own):
    who = principal(
        "k",
        "a",
        account_limits=(("key_rpm", granted),) if granted else (),
        key_limits=(("key_rpm", own),) if own else (),
    )
    limit = limit_of(who, LimitRules(key_rpm=rule), "key_rpm")
    assert limit == min(granted or rule, own or granted or rule)


def test_a_keys_own_limits_hold_and_the_decision_names_them():
    limiter = MemoryLimiter(LimitRules(**WIDE), ManualClock())
    slow = principal("slow", "a", key_limits=(("key_rpm", 3),))
    decisions = [asyncio.run(limiter.take(f"c{number}", slow)) for number in range(4)]
    assert [one.allowed for one in decisions] == [True, True, True, False]
    assert [one.remaining for one in decisions[:3]] == [2, 1, 0]
    assert (decisions[3].rule, decisions[3].limit, round(decisions[3].retry_after_s)) == (
        "key_rpm",
        3,
        20,
    )
    assert asyncio.run(limiter.take("c9", principal("quick", "a"))).allowed


def test_a_change_of_what_a_key_may_do_holds_from_the_next_call():
    limiter = MemoryLimiter(LimitRules(**WIDE), ManualClock())
    assert asyncio.run(limiter.take("c1", principal("k", "a"))).allowed
    changed = principal("k", "a", key_limits=(("key_concurrency", 1),))
    assert asyncio.run(limiter.take("c2", changed)).rule == "key_concurrency"


def test_limits_are_divided_among_processes():
    limiter = MemoryLimiter(LimitRules(**{**WIDE, "key_rpm": 10}), ManualClock(), workers=2)
    assert [
        asyncio.run(limiter.take(f"c{number}", principal("k", "a"))).allowed for number in range(6)
    ] == [True] * 5 + [False]


def test_what_is_no_call_has_a_bucket_of_its_own():
    clock = ManualClock()
    limiter = MemoryLimiter(LimitRules(api_rpm=3), clock)
    assert [limiter.count_request("key:a").allowed for _ in range(4)] == [True, True, True, False]
    assert limiter.count_request("key:b").allowed
    clock.advance(20)
    assert limiter.count_request("key:a").allowed


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("", "unknown"),
    ],
)
def test_a_customers_network_is_one_place(address, place):
    assert client_network(address) == place


@pytest.mark.parametrize("given_limits", [{"key_rpm": 0}, {"key_rpm": 10**10}, {"rpm": 5}])
def test_a_limit_that_is_none_is_refused(given_limits):
    with pytest.raises(Fault, match="limit"):
        validate_limits(given_limits, ("key_rpm",))
