"""Who may do what: the tables of scopes and roles, addresses and pages, each against a table of this test's own."""

from itertools import combinations

import pytest

from gatewayz.control.access import OwnerFilter
from gatewayz.control.context import Caller, RequestContext
from gatewayz.core.access import ACCESS_SCOPES, HOUSE, SCOPES, can_access, effective_scopes
from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.core.keys import key_from_random
from gatewayz.engine.authenticator import Authenticator
from gatewayz.limits.rules import LimitRules
from gatewayz.store.memory.limiter import MemoryLimiter
from tests.support.clocks import ManualClock

OPENS = {
    "inference": {"inference", "catalog", "minting", "member"},
    "account": {"catalog", "member", "account"},
    "metrics": {"metrics"},
    "operator": {"catalog", "member", "account", "metrics", "operator"},
    "browser": {"inference", "catalog"},
}
"""Scope → what it opens, as this test has it."""
KEY = key_from_random(b"7" * 32)
SETS = [set(some) for size in range(4) for some in combinations(OPENS, size)]


@pytest.mark.parametrize("scopes", SETS, ids=lambda some: "+".join(sorted(some)) or "none")
def test_a_route_is_open_to_who_has_one_of_its_scopes_and_to_nobody_else(scopes):
    opened = {name for name in ACCESS_SCOPES if can_access(scopes, name)}
    assert opened == set().union(*(OPENS[scope] for scope in scopes))
    assert can_access(scopes, "anonymous")


@pytest.mark.parametrize(
    ("account", "role", "wanted", "given_"),
    [
        ("acme", "", SCOPES, {"inference", "account"}),
        ("acme", "member", SCOPES, {"inference"}),
        ("acme", "admin", SCOPES, {"inference", "account"}),
        ("acme", "operator", SCOPES, {"inference", "account"}),
        ("acme", "nobody", SCOPES, set()),
        ("acme", "admin", ("account",), {"account"}),
        (HOUSE, "", SCOPES, set(SCOPES)),
        (HOUSE, "member", SCOPES, {"inference"}),
        (HOUSE, "metrics", SCOPES, {"metrics"}),
        (HOUSE, "nobody", ("operator",), set()),
    ],
)
def test_a_key_can_do_what_it_says_within_its_account_and_its_persons_role(
    account, role, wanted, given_
):
    assert effective_scopes(account, role, wanted) == given_


class KnownKeys:
    """One key, of one principal."""

    def __init__(self, principal):
        self._principal = principal

    async def principal(self, _key):
        return self._principal


@pytest.mark.parametrize(
    ("address", "admitted"),
    [
        ("10.1.2.3", True),
        ("10.2.0.1", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("", False),
        ("nonsense", False),
    ],
)
async def test_a_key_with_addresses_works_from_them_alone(address, admitted):
    principal = Principal("acme", "k", addresses=("10.1.0.0/16", "2001:db8::/32"))
    headers = {"authorization": f"Bearer {KEY}"}
    authenticator = Authenticator(KnownKeys(principal))
    if admitted:
        assert await authenticator.principal_from_headers(headers, address) is principal
        return
    with pytest.raises(Fault) as refused:
        await authenticator.principal_from_headers(headers, address)
    assert refused.value.kind == "forbidden"


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        ("https://shop.example", True),
        ("https://evil.example", False),
        ("http://shop.example", False),
        ("", False),
    ],
)
async def test_a_token_for_pages_works_on_them_alone(origin, admitted):
    principal = Principal("acme", "k", origins=("https://shop.example",))
    headers = {"authorization": f"Bearer {KEY}", "origin": origin}
    authenticator = Authenticator(KnownKeys(principal))
    if admitted:
        assert await authenticator.principal_from_headers(headers, "10.1.2.3") is principal
        return
    with pytest.raises(Fault) as refused:
        await authenticator.principal_from_headers(headers, "10.1.2.3")
    assert refused.value.kind == "forbidden"


@pytest.mark.parametrize(
    ("scopes", "user", "sees"),
    [
        ({"inference"}, "", OwnerFilter("acme", key="k")),
        ({"inference"}, "ann", OwnerFilter("acme", user="ann")),
        ({"account"}, "ann", OwnerFilter("acme")),
        ({"operator"}, "", OwnerFilter("acme")),
        ({"metrics"}, "", OwnerFilter("acme", key="k")),
    ],
)
def test_who_sees_whose_keys_and_calls(scopes, user, sees):
    principal = Principal("acme", "k", frozenset(scopes), user=user)
    context = RequestContext(None, Caller(principal, "call"))
    assert context.owner == sees


@pytest.mark.parametrize("rule", ["key_concurrency", "account_concurrency"])
@pytest.mark.parametrize("running", [1, 3])
async def test_the_slot_of_a_call_that_was_lost_is_free_after_its_lease(rule, running):
    clock = ManualClock()
    limiter = MemoryLimiter(LimitRules(**{rule: running, "lease_s": 100.0}), clock)
    principal = Principal("acme", "k")
    for number in range(running):
        assert (await limiter.take(f"lost {number}", principal)).allowed
        clock.advance(1)
    clock.advance(98 - running)
    refused = await limiter.take("early", principal)
    assert (refused.allowed, refused.rule) == (False, rule)
    clock.advance(2 + running)
    assert (await limiter.take("later", principal)).allowed


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_call_that_is_refused_as_too_fast_takes_no_slot(concurrency):
    clock = ManualClock()
    rules = LimitRules(key_rpm=1, burst=1, key_concurrency=concurrency)
    limiter, principal = MemoryLimiter(rules, clock), Principal("acme", "k")
    first = await limiter.take("first", principal)
    for number in range(5):
        refused = await limiter.take(f"fast {number}", principal)
        assert not refused.allowed
        if concurrency > 1:
            assert refused.rule == "key_rpm"
    limiter.release(first)
    clock.advance(60)
    assert (await limiter.take("later", principal)).allowed


@pytest.mark.parametrize("account_rpm", [2, 3])
async def test_the_keys_of_an_account_share_its_limit_and_other_accounts_have_theirs(account_rpm):
    rules = LimitRules(account_rpm=account_rpm, burst=1)
    limiter = MemoryLimiter(rules, ManualClock())
    for number in range(account_rpm):
        principal = Principal("acme", f"k{number}")
        assert (await limiter.take(f"call {number}", principal)).allowed
    refused = await limiter.take("more", Principal("acme", "another"))
    assert (refused.allowed, refused.rule) == (False, "account_rpm")
    assert (await limiter.take("other", Principal("other", "k"))).allowed
