"""What operators see and change by API, on both databases: the same as on the command line, each change in the audit log."""

import gzip
import json

import pytest

from tests.support.control_plane import MODEL, USD, ApiClient, run_control_plane

PLACE = {"provider": "first", "upstream_id": "echo"}
FREE_PLACE = {"provider": "first", "upstream_id": "hello"}


@pytest.fixture
def kind():
    """One database is enough: what an operator may say is decided above the store."""
    return "sqlite"


@pytest.fixture
async def control_plane(location, tmp_path):
    async with run_control_plane(location, tmp_path) as plane:
        yield plane


async def log_of(control_plane):
    return [
        (entry["action"], entry["subject"], entry["account"])
        for entry in (await control_plane.operator.get("/admin/audit"))["data"]
    ]


async def test_an_account_is_created_changed_and_suspended(control_plane):
    operator = control_plane.operator
    account = await operator.request(
        "POST",
        "/admin/accounts",
        {"name": "Beta", "id": "beta", "billing": "credit", "credit_line": "12.50"},
    )
    assert (account["id"], account["balance"], account["credit_line_nanos"]) == (
        "beta",
        "12.5",
        12_500_000_000,
    )
    changed = await operator.request(
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
    unlimited = await operator.request("PATCH", "/admin/accounts/beta", {"models": []})
    assert (unlimited["limits"], unlimited["models"], unlimited["markup_bp"]) == (
        {"key_rpm": 7},
        [],
        250,
    )
    assert (await operator.request("PATCH", "/admin/accounts/beta", {"markup_bp": None}))[
        "markup_bp"
    ] is None
    assert (
        await operator.request(
            "PATCH", "/admin/accounts/beta", {"billing": "prepaid", "status": "suspended"}
        )
    )["status"] == "suspended"
    page = await operator.get("/admin/accounts?limit=2")
    assert [row["id"] for row in page["data"]] == ["acme", "beta"]
    rest = await operator.get(f"/admin/accounts?after={page['next']}")
    assert [row["id"] for row in rest["data"]] == ["house", "other"]
    actions = [action for action, subject, _ in await log_of(control_plane) if subject == "beta"]
    assert actions[-1] == "account.create"
    assert {
        "account.name",
        "account.markup",
        "account.rules",
        "account.billing",
        "account.suspended",
    } <= set(actions)
    assert {
        entry["actor"] for entry in (await operator.get("/admin/audit?account=beta"))["data"]
    } == {"key:bootstrap"}


async def test_people_are_added_and_their_keys_follow_their_roles(control_plane):
    operator = control_plane.operator
    person = await operator.request(
        "POST", "/admin/users", {"account": "acme", "email": "Eve@Example.com", "role": "admin"}
    )
    assert (person["email"], person["role"], person["disabled_ms"]) == (
        "eve@example.com",
        "admin",
        None,
    )
    key = await operator.request(
        "POST",
        "/admin/keys",
        {"account": "acme", "user": person["id"], "scopes": ["inference", "account"]},
    )
    eve = ApiClient(control_plane.client, key["secret"])
    await eve.get("/v1/account/transactions")
    await operator.request(
        "PATCH", f"/admin/users/{person['id']}", {"role": "operator"}, status=403
    )
    assert (
        await operator.request(
            "PATCH", f"/admin/users/{person['id']}", {"role": "member", "disabled": True}
        )
    )["disabled_ms"] > 0
    assert (await operator.get(f"/admin/users/{person['id']}"))["role"] == "member"
    assert [row["id"] for row in (await operator.get("/admin/users?account=acme"))["data"]] == [
        person["id"]
    ]
    assert (await operator.get("/admin/users?account=other"))["data"] == []


async def test_keys_and_budgets_of_every_account(control_plane):
    operator = control_plane.operator
    key = await operator.request(
        "POST", "/admin/keys", {"account": "acme", "name": "ci", "limits": {"key_rpm": 9}}
    )
    for path in (f"/admin/keys/{key['id']}", f"/admin/keys?account=acme&after={'0' * 26}"):
        assert key["id"] in str(await operator.get(path))
    assert (await operator.request("PATCH", f"/admin/keys/{key['id']}", {"name": "build"}))[
        "name"
    ] == "build"
    rotated = await operator.request("POST", f"/admin/keys/{key['id']}/rotate", {"keep_s": 60})
    assert rotated["id"] != key["id"]
    await operator.request("DELETE", f"/admin/keys/{rotated['id']}")
    for body in (
        {"account": "acme"},
        {"account": "acme", "key_id": key["id"]},
        {"account": "acme", "end_user": "eve"},
    ):
        budget = await operator.request(
            "PUT", "/admin/budgets", {**body, "limit": "3", "period": "month"}
        )
        assert (budget["limit"], budget["left_nanos"]) == ("3", 3 * USD)
    assert len((await operator.get("/admin/budgets?account=acme"))["data"]) == 3
    await operator.request("DELETE", "/admin/budgets?account=acme&end_user=eve")
    assert len((await operator.get("/admin/budgets?account=acme"))["data"]) == 2
    await operator.get("/admin/budgets?account=nobody", status=404)


async def test_money_moves_once_for_each_name(control_plane):
    operator = control_plane.operator
    topup = {"account": "other", "amount": "20.00", "source": "bank", "id": "invoice-1"}
    first, repeat = [
        await operator.request("POST", "/admin/credits/topup", topup) for _ in range(2)
    ]
    assert (first["fresh"], repeat["fresh"], repeat["account"]["balance"]) == (True, False, "20")
    await operator.request("POST", "/admin/credits/topup", {**topup, "amount": "21"}, status=400)
    await operator.request("POST", "/admin/credits/grant", {"account": "other", "amount": "5"})
    adjustment = await operator.request(
        "POST",
        "/admin/credits/adjust",
        {"account": "other", "amount": "-2.5", "why": "Counted twice"},
    )
    assert (adjustment["amount_nanos"], adjustment["account"]["balance_nanos"]) == (
        -2_500_000_000,
        22_500_000_000,
    )
    caller = await control_plane.create_key("other")
    call = (await caller.chat()).headers["x-request-id"]
    cost = (await operator.get(f"/admin/calls/{call}"))["call"]["cost_nanos"]
    assert (await operator.request("POST", "/admin/credits/refund", {"call": f"chatcmpl-{call}"}))[
        "amount_nanos"
    ] == cost
    assert (
        await operator.request(
            "POST", "/admin/credits/refund", {"payment": "bank:invoice-1", "amount": "1"}
        )
    )["amount"] == "1"
    await operator.request(
        "POST", "/admin/credits/refund", {"call": call, "payment": "bank:invoice-1"}, status=400
    )
    credits = await operator.get("/admin/credits?account=other")
    assert (credits["account"]["balance_nanos"], credits["payments"][0]["refunded"]) == (
        21_500_000_000,
        "1",
    )
    assert [row["amount"] for row in credits["grants"]] == ["5"]
    assert await operator.get("/admin/credits/check") == {"adds_up": True, "violations": []}
    kinds = {
        row["kind"] for row in (await operator.get("/admin/transactions?account=other"))["data"]
    }
    assert {"topup", "grant", "adjust", "refund_call", "refund", "usage"} <= kinds
    assert (await operator.get("/admin/audit/verify"))["whole"] is True


async def test_every_accounts_calls_are_seen(control_plane):
    caller, operator = await control_plane.create_key("acme"), control_plane.operator
    call = (await caller.chat()).headers["x-request-id"]
    await operator.chat()
    assert {row["account"] for row in (await operator.get("/admin/calls"))["data"]} == {
        "acme",
        "house",
    }
    assert [row["id"] for row in (await operator.get("/admin/calls?account=acme"))["data"]] == [
        call
    ]
    await operator.get(f"/admin/calls/{call[:-3]}ZZZ", status=404)


async def test_a_price_set_by_api_holds_for_the_next_call_and_can_be_taken_back(control_plane):
    operator, caller = control_plane.operator, await control_plane.create_key("acme")
    offer = {"model": "made/here", **FREE_PLACE, "context": 1000}
    model = await operator.request("PUT", "/admin/offers", offer)
    assert [(row["upstream_id"], row["context"]) for row in model["offers"]] == [("hello", 1000)]
    assert (await caller.chat(model="made/here")).status == 404
    for usd in ("3.00", "4.00"):
        price = await operator.request(
            "POST", "/admin/prices", {**FREE_PLACE, "price": {"input": usd, "output": "6.00"}}
        )
        assert price["price"]["figures"]["input"] == usd[:1]
        call = (await caller.chat(model="made/here")).headers["x-request-id"]
        detail = await caller.get(f"/v1/calls/{call}")
        assert [line["price"] for line in detail["cost_breakdown"]["lines"]] == [usd[:1], "6"]
        assert detail["cost_breakdown"]["price_version"] == price["price"]["version"]
    history = (await operator.get("/admin/prices?provider=first&upstream_id=hello"))["data"]
    assert [row["price"]["figures"]["input"] for row in history] == ["4", "3"]
    assert {row["source"] for row in history} == {"set by key:bootstrap"}
    assert (await operator.request("DELETE", "/admin/prices?provider=first&upstream_id=hello"))[
        "price"
    ] is None
    assert (await caller.chat(model="made/here")).status == 404
    assert (
        await operator.request(
            "PUT",
            "/admin/models",
            {"id": "made/here", "name": "Made here", "aliases": ["made"], "hidden": False},
        )
    )["aliases"] == ["made"]
    hidden = await operator.request("PUT", "/admin/models", {"id": "made/here", "hidden": True})
    assert hidden["hidden"] is True
    assert (await caller.chat(model="made/here")).status == 404
    assert [
        row["hidden"] for row in (await operator.get("/admin/models?find=made/here"))["data"]
    ] == [True]
    await operator.request("DELETE", "/admin/models?id=made/here")
    assert (await operator.get("/admin/models?find=made/here"))["data"] == []


async def test_what_the_file_sets_is_not_set_otherwise(control_plane):
    operator = control_plane.operator
    for method, path, body in (
        ("PUT", "/admin/models", {"id": MODEL, "hidden": True}),
        ("PUT", "/admin/offers", {"model": MODEL, **PLACE, "free": True}),
        ("POST", "/admin/prices", {**PLACE, "price": {"input": "1", "output": "1"}}),
        ("DELETE", "/admin/prices?provider=first&upstream_id=echo", None),
    ):
        refused = await operator.request(method, path, body, status=409)
        assert refused["error"]["code"] == "config_locked"
        assert MODEL in refused["error"]["message"]
    model = (await operator.get(f"/admin/models?find={MODEL}"))["data"][0]
    assert (model["set_in"], model["offers"][0]["price_set_in"]) == (
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
        {"price": {"input": "1", "output": "2"}, "valid_from_ms": 5},
        {"price": {"input": 1, "output": "2"}},
        {"provider": "nobody", "price": {"input": "1", "output": "2"}},
    ],
)
async def test_a_price_that_cannot_be_is_refused(control_plane, body):
    await control_plane.operator.request(
        "PUT", "/admin/offers", {"model": "made/here", **FREE_PLACE}
    )
    before = await control_plane.operator.get("/admin/prices?provider=first&upstream_id=hello")
    await control_plane.operator.request(
        "POST", "/admin/prices", {**FREE_PLACE, **body}, status=400
    )
    assert (
        await control_plane.operator.get("/admin/prices?provider=first&upstream_id=hello") == before
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"price": {"input": "2"}}, "and no output"),
        ({"price": {"output": "2"}}, "and no input"),
        ({"price": {"input": "0.003", "output": "0.006"}}, "sure: true"),
        ({"price": {"input": "3", "output": "0"}}, "would cost nothing"),
        ({"price": {"input": "3", "output": "6", "requests": "0.9"}}, "fee of a request"),
        ({"upstream_id": "nothing", "price": {"input": "3", "output": "6"}}, "hold for nothing"),
        ({"as_listed": True}, "quarantined"),
        ({"as_listed": True, "price": {"input": "3", "output": "6"}}, "no others"),
    ],
)
async def test_a_price_that_is_a_slip_of_the_hand_is_refused(control_plane, body, message):
    operator = control_plane.operator
    await operator.request("PUT", "/admin/offers", {"model": "made/here", **FREE_PLACE})
    price = {**FREE_PLACE, "price": {"input": "3", "output": "6"}}
    entry = await operator.request("POST", "/admin/prices", price)
    assert entry["usual_call"] == "1,000 tokens in and 1,000 out cost $0.009"
    refused = await operator.request("POST", "/admin/prices", {**FREE_PLACE, **body}, status=400)
    assert message in refused["error"]["message"]
    assert len((await operator.get("/admin/prices?provider=first&upstream_id=hello"))["data"]) == 1


async def test_a_price_that_is_not_set_cannot_be_given_back(control_plane):
    path = "/admin/prices?provider=first&upstream_id=hello"
    refused = await control_plane.operator.request("DELETE", path, status=400)
    assert "nothing would change" in refused["error"]["message"]


async def test_a_price_far_from_the_others_must_be_meant(control_plane):
    operator = control_plane.operator
    for upstream in ("one", "two"):
        await operator.request(
            "PUT",
            "/admin/offers",
            {"model": "made/here", "provider": "first", "upstream_id": upstream},
        )
        price = {
            "provider": "first",
            "upstream_id": upstream,
            "price": {"input": "1000" if upstream == "two" else "1", "output": "2"},
        }
        refused = await operator("POST", "/admin/prices", price)
        assert refused.status == (400 if upstream == "two" else 200)
    assert "1000.0 times above" in refused.json()["error"]["message"]
    await operator.request("POST", "/admin/prices", {**price, "sure": True})


async def test_providers_show_why_they_are_off(control_plane):
    rows = {
        row["id"]: row for row in (await control_plane.operator.get("/admin/providers"))["data"]
    }
    assert (rows["first"]["state"], rows["first"]["credentials"]) == ("on", 1)
    assert rows["openai"]["state"] == "off"
    assert "OPENAI_API_KEY" in rows["openai"]["why"]
    assert "canary" not in str(rows)


async def test_a_compressed_body_is_decoded_and_another_encoding_is_415(control_plane):
    body = gzip.compress(json.dumps({"name": "Zip"}).encode())
    headers = {
        "Authorization": f"Bearer {control_plane.operator.key}",
        "Content-Type": "application/json",
    }
    for encoding, status in (("gzip", 200), ("br", 415)):
        answer = await control_plane.client.request(
            "POST", "/admin/accounts", {**headers, "Content-Encoding": encoding}, body
        )
        assert answer.status == status
    assert answer.headers["accept-encoding"] == "gzip, deflate, identity"
