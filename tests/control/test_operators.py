"""What operators see and change by API, on both databases: the same as on the command line, each change in the audit log."""

import pytest

from tests.support.control import MODEL, USD, Caller, place

PLACE = {"provider": "first", "upstream_id": "echo"}
FREE_PLACE = {"provider": "first", "upstream_id": "hello"}


@pytest.fixture
async def there(location, tmp_path):
    async with place(location, tmp_path) as found:
        yield found


async def log_of(there):
    return [
        (entry["action"], entry["subject"], entry["account"])
        for entry in (await there.operator.get("/admin/audit"))["data"]
    ]


async def test_an_account_is_created_changed_and_suspended(there):
    boss = there.operator
    made = await boss.does(
        "POST",
        "/admin/accounts",
        {"name": "Beta", "id": "beta", "billing": "credit", "credit_line": "12.50"},
    )
    assert (made["id"], made["balance"], made["credit_line_nanos"]) == (
        "beta",
        "12.5",
        12_500_000_000,
    )
    changed = await boss.does(
        "PATCH",
        "/admin/accounts/beta",
        {"name": "Beta Ltd", "markup_bp": 250, "limits": {"key_rpm": 7}, "models": [MODEL]},
    )
    assert (changed["name"], changed["markup_bp"], changed["limits"], changed["models"]) == (
        "Beta Ltd",
        250,
        {"key_rpm": 7},
        [MODEL],
    )
    kept = await boss.does("PATCH", "/admin/accounts/beta", {"models": []})
    assert (kept["limits"], kept["models"], kept["markup_bp"]) == ({"key_rpm": 7}, [], 250)
    assert (await boss.does("PATCH", "/admin/accounts/beta", {"markup_bp": None}))[
        "markup_bp"
    ] is None
    assert (
        await boss.does(
            "PATCH", "/admin/accounts/beta", {"billing": "prepaid", "status": "suspended"}
        )
    )["status"] == "suspended"
    listed = await boss.get("/admin/accounts?limit=2")
    assert [one["id"] for one in listed["data"]] == ["acme", "beta"]
    rest = await boss.get(f"/admin/accounts?after={listed['next']}")
    assert [one["id"] for one in rest["data"]] == ["house", "other"]
    actions = [action for action, subject, _ in await log_of(there) if subject == "beta"]
    assert actions[-1] == "account.create"
    assert {
        "account.name",
        "account.markup",
        "account.rules",
        "account.billing",
        "account.suspended",
    } <= set(actions)
    assert {entry["actor"] for entry in (await boss.get("/admin/audit?account=beta"))["data"]} == {
        "key:bootstrap"
    }


async def test_people_are_added_and_their_keys_follow_their_roles(there):
    boss = there.operator
    person = await boss.does(
        "POST", "/admin/users", {"account": "acme", "email": "Eve@Example.com", "role": "admin"}
    )
    assert (person["email"], person["role"], person["disabled_ms"]) == (
        "eve@example.com",
        "admin",
        None,
    )
    made = await boss.does(
        "POST",
        "/admin/keys",
        {"account": "acme", "user": person["id"], "scopes": ["inference", "account"]},
    )
    eve = Caller(there.client, made["secret"])
    await eve.get("/v1/account/transactions")
    await boss.does("PATCH", f"/admin/users/{person['id']}", {"role": "operator"}, status=403)
    assert (
        await boss.does(
            "PATCH", f"/admin/users/{person['id']}", {"role": "member", "disabled": True}
        )
    )["disabled_ms"] > 0
    assert (await boss.get(f"/admin/users/{person['id']}"))["role"] == "member"
    assert [one["id"] for one in (await boss.get("/admin/users?account=acme"))["data"]] == [
        person["id"]
    ]
    assert (await boss.get("/admin/users?account=other"))["data"] == []


async def test_keys_and_budgets_of_every_account(there):
    boss = there.operator
    made = await boss.does(
        "POST", "/admin/keys", {"account": "acme", "name": "ci", "limits": {"key_rpm": 9}}
    )
    for path in (f"/admin/keys/{made['id']}", f"/admin/keys?account=acme&after={'0' * 26}"):
        assert made["id"] in str(await boss.get(path))
    assert (await boss.does("PATCH", f"/admin/keys/{made['id']}", {"name": "build"}))[
        "name"
    ] == "build"
    rotated = await boss.does("POST", f"/admin/keys/{made['id']}/rotate", {"keep_s": 60})
    assert rotated["id"] != made["id"]
    await boss.does("DELETE", f"/admin/keys/{rotated['id']}")
    for body in (
        {"account": "acme"},
        {"account": "acme", "key_id": made["id"]},
        {"account": "acme", "end_user": "eve"},
    ):
        put = await boss.does("PUT", "/admin/budgets", {**body, "limit": "3", "period": "month"})
        assert (put["limit"], put["left_nanos"]) == ("3", 3 * USD)
    assert len((await boss.get("/admin/budgets?account=acme"))["data"]) == 3
    await boss.does("DELETE", "/admin/budgets?account=acme&end_user=eve")
    assert len((await boss.get("/admin/budgets?account=acme"))["data"]) == 2
    await boss.get("/admin/budgets?account=nobody", status=404)


async def test_money_moves_once_for_each_name(there):
    boss = there.operator
    paid = {"account": "other", "amount": "20.00", "source": "bank", "id": "invoice-1"}
    first, again = [await boss.does("POST", "/admin/credits/topup", paid) for _ in range(2)]
    assert (first["fresh"], again["fresh"], again["account"]["balance"]) == (True, False, "20")
    await boss.does("POST", "/admin/credits/topup", {**paid, "amount": "21"}, status=400)
    await boss.does("POST", "/admin/credits/grant", {"account": "other", "amount": "5"})
    moved = await boss.does(
        "POST",
        "/admin/credits/adjust",
        {"account": "other", "amount": "-2.5", "why": "Counted twice"},
    )
    assert (moved["amount_nanos"], moved["account"]["balance_nanos"]) == (
        -2_500_000_000,
        22_500_000_000,
    )
    caller = await there.key("other")
    call = (await caller.calls()).headers["x-request-id"]
    cost = (await boss.get(f"/admin/calls/{call}"))["call"]["cost_nanos"]
    assert (await boss.does("POST", "/admin/credits/refund", {"call": f"chatcmpl-{call}"}))[
        "amount_nanos"
    ] == cost
    assert (
        await boss.does(
            "POST", "/admin/credits/refund", {"payment": "bank:invoice-1", "amount": "1"}
        )
    )["amount"] == "1"
    await boss.does(
        "POST", "/admin/credits/refund", {"call": call, "payment": "bank:invoice-1"}, status=400
    )
    shown = await boss.get("/admin/credits?account=other")
    assert (shown["account"]["balance_nanos"], shown["payments"][0]["refunded"]) == (
        21_500_000_000,
        "1",
    )
    assert [one["amount"] for one in shown["grants"]] == ["5"]
    assert await boss.get("/admin/credits/check") == {"adds_up": True, "violations": []}
    kinds = {one["kind"] for one in (await boss.get("/admin/transactions?account=other"))["data"]}
    assert {"topup", "grant", "adjust", "refund_call", "refund", "usage"} <= kinds
    assert (await boss.get("/admin/audit/verify"))["whole"] is True


async def test_every_accounts_calls_are_seen(there):
    caller, boss = await there.key("acme"), there.operator
    call = (await caller.calls()).headers["x-request-id"]
    await boss.calls()
    assert {one["account"] for one in (await boss.get("/admin/calls"))["data"]} == {"acme", "house"}
    assert [one["id"] for one in (await boss.get("/admin/calls?account=acme"))["data"]] == [call]
    await boss.get(f"/admin/calls/{call[:-3]}ZZZ", status=404)


async def test_a_price_set_by_api_holds_for_the_next_call_and_can_be_taken_back(there):
    boss, caller = there.operator, await there.key("acme")
    offer = {"model": "made/here", **FREE_PLACE, "context": 1000}
    shown = await boss.does("PUT", "/admin/offers", offer)
    assert [(one["upstream_id"], one["context"]) for one in shown["offers"]] == [("hello", 1000)]
    assert (await caller.calls(model="made/here")).status == 503
    for usd in ("3.00", "4.00"):
        put = await boss.does(
            "POST", "/admin/prices", {**FREE_PLACE, "price": {"input": usd, "output": "6.00"}}
        )
        assert put["price"]["figures"]["input"] == usd[:1]
        call = (await caller.calls(model="made/here")).headers["x-request-id"]
        story = await caller.get(f"/v1/calls/{call}")
        assert [line["price"] for line in story["reckoning"]["lines"]] == [usd[:1], "6"]
        assert story["reckoning"]["price_version"] == put["price"]["version"]
    history = (await boss.get("/admin/prices?provider=first&upstream_id=hello"))["data"]
    assert [one["price"]["figures"]["input"] for one in history] == ["4", "3"]
    assert {one["source"] for one in history} == {"set by key:bootstrap"}
    assert (await boss.does("DELETE", "/admin/prices?provider=first&upstream_id=hello"))[
        "price"
    ] is None
    assert (await caller.calls(model="made/here")).status == 503
    assert (
        await boss.does(
            "PUT",
            "/admin/models",
            {"id": "made/here", "name": "Made here", "aliases": ["made"], "hidden": False},
        )
    )["aliases"] == ["made"]
    hidden = await boss.does("PUT", "/admin/models", {"id": "made/here", "hidden": True})
    assert hidden["hidden"] is True
    assert (await caller.calls(model="made/here")).status == 404
    assert [one["hidden"] for one in (await boss.get("/admin/models?find=made/here"))["data"]] == [
        True
    ]
    await boss.does("DELETE", "/admin/models?id=made/here")
    assert (await boss.get("/admin/models?find=made/here"))["data"] == []


async def test_what_the_file_sets_is_not_set_otherwise(there):
    boss = there.operator
    for method, path, body in (
        ("PUT", "/admin/models", {"id": MODEL, "hidden": True}),
        ("PUT", "/admin/offers", {"model": MODEL, **PLACE, "free": True}),
        ("POST", "/admin/prices", {**PLACE, "price": {"input": "1"}}),
        ("DELETE", "/admin/prices?provider=first&upstream_id=echo", None),
    ):
        refused = await boss.does(method, path, body, status=409)
        assert refused["error"]["code"] == "set_in_file"
        assert MODEL in refused["error"]["message"]
    shown = (await boss.get(f"/admin/models?find={MODEL}"))["data"][0]
    assert (shown["set_in"], shown["offers"][0]["price_set_in"]) == (
        f"models.{MODEL}",
        f"models.{MODEL}.offers.first",
    )


@pytest.mark.parametrize(
    "body",
    [
        {"price": {"input": "0", "output": "0"}},
        {"price": {"input": "-1"}},
        {"price": {"input": "1e3"}},
        {"price": {"thoughts": "1"}},
        {"price": {"input": "100000"}},
        {"price": {"input": "1"}, "valid_from_ms": 5},
        {"price": {"input": 1}},
        {"provider": "nobody", "price": {"input": "1"}},
    ],
)
async def test_a_price_that_cannot_be_is_refused(there, body):
    await there.operator.does("PUT", "/admin/offers", {"model": "made/here", **FREE_PLACE})
    before = await there.operator.get("/admin/prices?provider=first&upstream_id=hello")
    await there.operator.does("POST", "/admin/prices", {**FREE_PLACE, **body}, status=400)
    assert await there.operator.get("/admin/prices?provider=first&upstream_id=hello") == before


async def test_a_price_far_from_the_others_must_be_meant(there):
    boss = there.operator
    for upstream in ("one", "two"):
        await boss.does(
            "PUT",
            "/admin/offers",
            {"model": "made/here", "provider": "first", "upstream_id": upstream},
        )
        given = {
            "provider": "first",
            "upstream_id": upstream,
            "price": {"input": "1000" if upstream == "two" else "1", "output": "2"},
        }
        refused = await boss("POST", "/admin/prices", given)
        assert refused.status == (400 if upstream == "two" else 200)
    assert "1000.0 times above" in refused.json()["error"]["message"]
    await boss.does("POST", "/admin/prices", {**given, "sure": True})


async def test_providers_show_why_they_are_off(there):
    rows = {one["id"]: one for one in (await there.operator.get("/admin/providers"))["data"]}
    assert (rows["first"]["state"], rows["first"]["credentials"]) == ("on", 1)
    assert rows["openai"]["state"] == "off"
    assert "OPENAI_API_KEY" in rows["openai"]["why"]
    assert "canary" not in str(rows)
