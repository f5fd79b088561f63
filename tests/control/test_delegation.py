"""Nobody gives a key more than they have, and what an operator set only an operator loosens: every dimension of a key, on
every way to change one."""

from typing import Any

import pytest

from gatewayz.control.delegation import KeyBounds, wider_fields
from tests.support.control_plane import MODEL, run_control_plane

LATE, LATER = 4_000_000_000_000, 4_100_000_000_000
BOUNDS: dict[str, tuple[Any, Any, list[Any]]] = {
    "models": ((MODEL, "test/other"), [MODEL], [["x/y"], [MODEL, "x/y"], []]),
    "addresses": (
        ("127.0.0.0/8", "2001:db8::/32"),
        ["127.0.0.1/32"],
        [["0.0.0.0/0"], ["126.0.0.0/7"], ["2001:db8::/31"], ["127.0.0.1", "::/0"], []],
    ),
    "limits": (
        {"key_rpm": 50, "key_per_day": 90},
        {"key_rpm": 50, "key_per_day": 1},
        [{"key_rpm": 51, "key_per_day": 90}, {"key_rpm": 1}, {}],
    ),
    "expires_ms": (LATE, LATE - 1, [LATER, None]),
}
"""Field → what the caller's key has, something within it, and things that are not."""
WIDER = [(field, value) for field, (_, _, wider) in BOUNDS.items() for value in wider]


@pytest.fixture
def kind():
    """One database is enough: who may give what is decided above the store."""
    return "sqlite"


@pytest.fixture
async def control_plane(location, tmp_path):
    async with run_control_plane(location, tmp_path) as plane:
        yield plane


def own_bounds(*fields):
    return {field: BOUNDS[field][0] for field in fields or BOUNDS}


def within():
    return {field: inner for field, (_, inner, _) in BOUNDS.items()}


async def test_a_bound_key_makes_keys_within_its_bounds_and_no_others(control_plane):
    caller = await control_plane.create_key("acme", "account", **own_bounds())
    made = await caller.request("POST", "/v1/keys", {"name": "inside", **within()})
    assert {field: made[field] for field in BOUNDS} == within()
    for field, value in WIDER:
        body = {**within(), field: value}
        refused = await caller.request("POST", "/v1/keys", body, status=403)
        assert refused["error"]["param"] == field


async def test_what_a_new_key_does_not_name_is_its_makers(control_plane):
    caller = await control_plane.create_key("acme", "account", **own_bounds())
    made = await caller.request("POST", "/v1/keys", {"name": "plain"})
    assert (made["models"], made["addresses"]) == (
        list(BOUNDS["models"][0]),
        list(BOUNDS["addresses"][0]),
    )
    assert (made["limits"], made["expires_ms"]) == (BOUNDS["limits"][0], LATE)


@pytest.mark.parametrize("field", BOUNDS)
async def test_a_key_does_not_loosen_itself_and_may_tighten_itself(control_plane, field):
    caller = await control_plane.create_key("acme", "account", **own_bounds(field))
    path = f"/v1/keys/{caller.id}"
    for value in BOUNDS[field][2]:
        await caller.request("PATCH", path, {field: value}, status=403)
    await caller.request("PATCH", path, {"name": "still mine"})
    tightened = await caller.request("PATCH", path, {field: BOUNDS[field][1]})
    assert tightened[field] == BOUNDS[field][1]


@pytest.mark.parametrize("field", BOUNDS)
async def test_a_bound_key_does_not_loosen_another_beyond_itself(control_plane, field):
    boss = await control_plane.create_key("acme", "account")
    target = await boss.request("POST", "/v1/keys", {"name": "t", **within()})
    caller = await control_plane.create_key("acme", "account", **own_bounds(field))
    for value in BOUNDS[field][2]:
        await caller.request("PATCH", f"/v1/keys/{target['id']}", {field: value}, status=403)
    # The account's unbound key made it, so it may.
    for value in BOUNDS[field][2]:
        await boss.request("PATCH", f"/v1/keys/{target['id']}", {field: value})


@pytest.mark.parametrize("field", BOUNDS)
@pytest.mark.parametrize("way", ["made", "changed", "rotated"])
async def test_what_an_operator_set_of_a_key_only_an_operator_loosens(control_plane, field, way):
    boss = await control_plane.create_key("acme", "account")
    operator = control_plane.operator
    own = BOUNDS[field][0]
    value = own if isinstance(own, int | dict) else list(own)
    if way == "changed":
        target = await boss.request("POST", "/v1/keys", {"name": "t"})
        await operator.request("PATCH", f"/admin/keys/{target['id']}", {field: value})
    else:
        target = await operator.request(
            "POST", "/admin/keys", {"account": "acme", "name": "t", field: value}
        )
    if way == "rotated":
        target = await boss.request("POST", f"/v1/keys/{target['id']}/rotate")
        target = await boss.request("POST", f"/v1/keys/{target['id']}/rotate", {"keep_s": 9})
    path = f"/v1/keys/{target['id']}"
    # Tightened by the account and loosened again, but never beyond.
    await boss.request("PATCH", path, {field: BOUNDS[field][1]})
    for wider in BOUNDS[field][2]:
        await boss.request("PATCH", path, {field: wider}, status=403)
    await boss.request("PATCH", path, {field: value})
    for wider in BOUNDS[field][2]:
        await operator.request("PATCH", f"/admin{path[3:]}", {field: wider})


async def test_a_bound_key_does_not_take_the_place_of_one_that_reaches_further(control_plane):
    boss = await control_plane.create_key("acme", "account")
    target = await boss.request("POST", "/v1/keys", {"name": "wide"})
    caller = await control_plane.create_key("acme", "account", models=(MODEL,))
    await caller.request("POST", f"/v1/keys/{target['id']}/rotate", status=403)
    rotated = await caller.request("POST", f"/v1/keys/{caller.id}/rotate")
    assert rotated["models"] == [MODEL]


async def test_a_key_with_a_budget_makes_no_key_that_spends_beyond_it(control_plane):
    boss = await control_plane.create_key("acme", "account")
    caller = await control_plane.create_key("acme", "account", "inference")
    other = await boss.request("POST", "/v1/keys", {"name": "other"})
    await boss.request("PUT", "/v1/account/budgets", {"key_id": caller.id, "limit": "1"})
    caller = type(caller)(caller.client, caller.key, caller.id)
    for _ in range(200):
        answer = await caller("POST", "/v1/keys", {"name": "more"})
        if answer.status == 403:
            break
    assert answer.status == 403
    await caller.request("POST", f"/v1/keys/{other['id']}/rotate", status=403)
    await caller.request("POST", f"/v1/keys/{caller.id}/rotate", {"keep_s": 60}, status=403)
    path = "/v1/account/budgets"
    for body in (
        {"key_id": caller.id, "limit": "2"},
        {"key_id": caller.id, "limit": "1", "period": "day"},
    ):
        await caller.request("PUT", path, body, status=403)
    await caller.request("DELETE", f"{path}?key_id={caller.id}", status=403)
    await caller.request("PUT", path, {"key_id": caller.id, "limit": "0.5"})
    await boss.request("PUT", path, {"key_id": caller.id, "limit": "2"})


@pytest.mark.parametrize("subject", ["key_id", "end_user"])
async def test_an_operators_budget_is_the_operators(control_plane, subject):
    boss = await control_plane.create_key("acme", "account")
    target = await boss.request("POST", "/v1/keys", {"name": "t"})
    name = target["id"] if subject == "key_id" else "anna"
    path, query = "/v1/account/budgets", f"?{subject}={name}"
    limit = {subject: name, "limit": "5", "period": "day"}
    await boss.request("PUT", path, {**limit, "limit": "9"})
    await control_plane.operator.request("PUT", "/admin/budgets", {"account": "acme", **limit})
    if subject == "key_id":
        # A key in its place has the same budget, and the same rule.
        await boss.request("POST", f"/v1/keys/{name}/rotate", {"keep_s": 9}, status=403)
        fresh = await boss.request("POST", f"/v1/keys/{name}/rotate")
        query, limit = f"?key_id={fresh['id']}", {**limit, "key_id": fresh["id"]}
    for wider in ({"limit": "5.01"}, {"limit": "5", "period": "total"}, {"period": "month"}):
        await boss.request("PUT", path, {**limit, **wider}, status=403)
    await boss.request("DELETE", path + query, status=403)
    await boss.request("PUT", path, {**limit, "limit": "1"})
    await boss.request("PUT", path, {**limit, "limit": "5.01"}, status=403)
    await boss.request("PUT", path, limit)
    await control_plane.operator.request("DELETE", f"/admin/budgets{query}&account=acme")
    await boss.request("PUT", path, {**limit, "limit": "50"})
    await boss.request("DELETE", path + query)


@pytest.mark.parametrize(
    ("bounds", "limit", "wider"),
    [
        ({}, {}, ()),
        ({"models": ("a",)}, {}, ()),
        ({"addresses": ("10.1.0.0/16",)}, {"addresses": ("10.0.0.0/8",)}, ()),
        ({"addresses": ("10.0.0.0/7",)}, {"addresses": ("10.0.0.0/8",)}, ("addresses",)),
        ({"addresses": ("::ffff:10.0.0.1",)}, {"addresses": ("10.0.0.0/8",)}, ("addresses",)),
        ({"addresses": ("nonsense",)}, {"addresses": ("10.0.0.0/8",)}, ("addresses",)),
        ({"limits": {"key_rpm": 1}}, {"limits": {"key_rpm": 2, "key_per_day": 3}}, ("limits",)),
        ({"expires_ms": 5}, {"expires_ms": 5}, ()),
        ({}, {"models": ("a",), "expires_ms": 5}, ("models", "expires_ms")),
    ],
)
def test_bounds_are_wider_where_one_of_their_fields_reaches_further(bounds, limit, wider):
    assert wider_fields(KeyBounds(**bounds), KeyBounds(**limit)) == wider
