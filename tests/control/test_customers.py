"""What an account sees and changes by API, on both databases: itself, its keys, its calls, its budgets, and nobody else's."""

import asyncio
from decimal import ROUND_CEILING, Decimal

import pytest

from gatewayz.control import accounts
from tests.support.commands import Commands
from tests.support.control_plane import MODEL, USD, run_control_plane
from tests.support.running_gateway import model_with_offers


@pytest.fixture
async def control_plane(location, tmp_path):
    async with run_control_plane(location, tmp_path) as plane:
        yield plane


async def test_an_account_shows_what_it_has(control_plane):
    member = await control_plane.create_key("acme")
    account = await member.get("/v1/account")
    assert (account["id"], account["billing"], account["balance"], account["balance_nanos"]) == (
        "acme",
        "prepaid",
        "100",
        100 * USD,
    )
    assert (account["held_nanos"], account["credit_line"]) == (0, "0")


async def test_a_call_is_explained_to_whoever_made_it(control_plane):
    member = await control_plane.create_key("acme")
    answer = await member.chat("four words of prompt", user="eve")
    call = (await member.get("/v1/calls"))["data"][0]
    assert (
        call["asked_model"],
        call["provider"],
        call["end_user"],
        call["status"],
        call["fault"],
    ) == (MODEL, "first", "eve", 200, "")
    for name in (
        answer.json()["id"],
        answer.headers["x-request-id"],
        f"msg_{call['id']}",
        f"resp_{call['id']}",
    ):
        detail = await member.get(f"/v1/calls/{name}")
        assert detail["call"] == call
    breakdown = detail["cost_breakdown"]
    assert (breakdown["cost_nanos"], breakdown["charged"], breakdown["markup_bp"]) == (
        call["cost_nanos"],
        True,
        0,
    )
    assert [(line["bucket"], line["price"], line["per"]) for line in breakdown["lines"]] == [
        ("input", "1", 10**6),
        ("output", "2", 10**6),
    ]
    assert sum(float(line["amount"]) for line in breakdown["lines"]) == pytest.approx(
        call["cost_nanos"] / 1e9
    )
    assert [(row["provider"], row["fault"]) for row in detail["attempts"]] == [("first", "")]
    assert detail["candidates"][0].startswith("first/echo")
    assert detail["held_nanos"] >= call["cost_nanos"] > 0
    kinds = [row["kind"] for row in detail["transactions"]]
    assert kinds[0] == "hold"
    assert "usage" in kinds
    assert (await member.get("/v1/account"))["balance_nanos"] == 100 * USD - call["cost_nanos"]


@pytest.mark.parametrize("markup_bp", [0, 250, 12_345])
async def test_the_cost_breakdown_sums_to_what_was_charged_with_the_accounts_own_markup(
    location, tmp_path, markup_bp
):
    tiers = [{"service": "priority", "price": {"input": "3.00", "output": "7.00"}}]
    models = [{**model_with_offers(("first", "echo"), tiers=tiers), "markup_bp": 1_000}]
    async with run_control_plane(location, tmp_path, models=models) as control_plane:
        await accounts.set_markup(control_plane.transaction, "acme", markup_bp)
        member = await control_plane.create_key("acme")
        await control_plane.gateway.refresh_keys()
        for fields in ({}, {"service_tier": "priority"}):
            answer = await member.chat("four words of prompt", **fields)
            assert answer.status == 200, answer.text
            breakdown = (await member.get(f"/v1/calls/{answer.headers['x-request-id']}"))[
                "cost_breakdown"
            ]
            lines = sum(
                Decimal(line["price"]) * line["units"] / line["per"] for line in breakdown["lines"]
            )
            assert (breakdown["charged"], breakdown["markup_bp"], Decimal(breakdown["sum"])) == (
                True,
                markup_bp,
                lines,
            )
            cost = (lines * 10**9 * (10_000 + markup_bp) / 10_000).to_integral_value(ROUND_CEILING)
            assert breakdown["cost_nanos"] == cost > 0
            assert Decimal(answer.headers["x-gatewayz-cost"]) * 10**9 == cost
            rates = {line["bucket"]: line["price"] for line in breakdown["lines"]}
            output = await asyncio.to_thread(
                Commands(location, tmp_path / "data"),
                "calls",
                "show",
                answer.headers["x-request-id"],
            )
            assert f"input × ${rates['input']}/M" in output
            assert "that this usage costs" not in output
        assert (breakdown["service"], rates["input"]) == ("priority", "3")


async def test_a_call_that_failed_is_explained_too(control_plane):
    poor = await control_plane.create_key("other")
    refused = await poor.chat()
    assert refused.status == 402
    await control_plane.finish_calls()
    call = (await poor.get("/v1/calls?failed=true"))["data"][0]
    detail = await poor.get(f"/v1/calls/{refused.headers['x-request-id']}")
    assert (detail["call"]["fault"], detail["call"]["cost"], detail["attempts"]) == (
        "insufficient_credit",
        "0",
        [],
    )
    assert detail["call"]["id"] == call["id"]
    assert "the account has $0" in detail["message"]
    assert (await poor.get("/v1/calls?failed=false"))["data"] == []


async def test_usage_is_summed_by_what_is_asked_for(control_plane):
    member, admin = (
        await control_plane.create_key("acme"),
        await control_plane.create_key("acme", "inference", "account"),
    )
    for caller, user in ((member, "eve"), (member, "adam"), (admin, "eve")):
        await caller.chat(user=user)
    by = {}
    for name in ("day", "model", "provider", "key", "end_user"):
        by[name] = {
            row[name]: row["calls"]
            for row in (await admin.get(f"/v1/account/usage?by={name}"))["data"]
        }
    assert list(by["day"].values()) == [3]
    assert (by["model"], by["provider"]) == ({MODEL: 3}, {"first": 3})
    assert (by["key"], by["end_user"]) == ({member.id: 2, admin.id: 1}, {"eve": 2, "adam": 1})
    assert {
        row["key"]: row["calls"] for row in (await member.get("/v1/account/usage?by=key"))["data"]
    } == {member.id: 2}
    assert (await admin.get("/v1/account/usage?from=1970-01-01&to=1970-02-01"))["data"] == []
    costs = [row["cost_nanos"] for row in (await admin.get("/v1/account/usage?by=model"))["data"]]
    assert costs == [100 * USD - (await admin.get("/v1/account"))["balance_nanos"]]


async def test_calls_are_filtered_and_sliced(control_plane):
    member, admin = (
        await control_plane.create_key("acme"),
        await control_plane.create_key("acme", "account", "inference"),
    )
    for number in range(5):
        await (member, admin)[number % 2].chat(user=f"u{number}")
    everything = [call["id"] for call in (await admin.get("/v1/calls"))["data"]]
    assert everything == sorted(everything, reverse=True)
    assert len(everything) == 5
    seen, after = [], ""
    while True:
        page = await admin.get(f"/v1/calls?limit=2&after={after}")
        seen += [call["id"] for call in page["data"]]
        after = page["next"]
        if not page["has_more"]:
            break
    assert seen == everything
    assert [
        call["end_user"] for call in (await admin.get(f"/v1/calls?key_id={member.id}"))["data"]
    ] == [
        "u4",
        "u2",
        "u0",
    ]
    assert [call["end_user"] for call in (await admin.get("/v1/calls?end_user=u3"))["data"]] == [
        "u3"
    ]
    assert (await admin.get("/v1/calls?from_ms=1&until_ms=2"))["data"] == []
    assert len((await member.get("/v1/calls"))["data"]) == 3
    assert "no cursor" not in str(await admin.get("/v1/calls?after=zzz"))


async def test_what_was_booked_is_listed_newest_first_in_slices(control_plane):
    admin = await control_plane.create_key("acme", "account", "inference")
    await admin.chat()
    booked = (await admin.get("/v1/account/transactions"))["data"]
    assert booked[-1]["kind"] == "topup"
    assert (booked[-1]["amount"], booked[-1]["credit"]) == ("100", "wallet:acme:paid")
    seen, after = [], ""
    while after is not None:
        page = await admin.get(f"/v1/account/transactions?limit=1&after={after}")
        seen += page["data"]
        after = page["next"]
    assert seen == booked
    assert (
        "is no cursor"
        in (await admin.get("/v1/account/transactions?after=nonsense", status=400))["error"][
            "message"
        ]
    )


async def test_a_key_is_made_shown_once_used_changed_rotated_and_revoked(control_plane):
    admin = await control_plane.create_key("acme", "account")
    key = await admin.request(
        "POST", "/v1/keys", {"name": "web", "models": [MODEL], "limits": {"key_rpm": 60}}
    )
    assert key["scopes"] == ["inference"]
    caller = type(admin)(control_plane.client, key["secret"])
    assert (await caller.chat()).status == 200
    page = await admin.get("/v1/keys")
    assert key["secret"] not in str(page)
    assert [row["id"] for row in page["data"]] == [admin.id, key["id"]]
    assert [row["id"] for row in (await caller.get("/v1/keys"))["data"]] == [key["id"]]
    changed = await admin.request(
        "PATCH",
        f"/v1/keys/{key['id']}",
        {"name": "site", "models": ["other/model"], "expires_ms": 4_000_000_000_000},
    )
    assert (changed["name"], changed["models"], changed["limits"], changed["expires_ms"]) == (
        "site",
        ["other/model"],
        {"key_rpm": 60},
        4_000_000_000_000,
    )
    assert (await admin.request("PATCH", f"/v1/keys/{key['id']}", {"expires_ms": None}))[
        "expires_ms"
    ] is None
    rotated = await admin.request("POST", f"/v1/keys/{key['id']}/rotate", {"keep_s": 0})
    assert (rotated["name"], rotated["models"]) == ("site", ["other/model"])
    assert (await admin.get(f"/v1/keys/{key['id']}"))["state"] == "revoked"
    assert await admin.request("DELETE", f"/v1/keys/{rotated['id']}") == {
        "id": rotated["id"],
        "object": "key",
        "deleted": True,
    }
    assert await admin.get(f"/v1/keys/{rotated['id']}")
    await admin.request("DELETE", f"/v1/keys/{rotated['id']}", status=404)


async def test_nobody_gives_a_key_more_than_they_have(control_plane):
    admin = await control_plane.create_key("acme", "account")
    for scopes in (["operator"], ["metrics"], ["inference", "operator"]):
        refused = await admin.request("POST", "/v1/keys", {"scopes": scopes}, status=403)
        assert "does not have the scope" in refused["error"]["message"]
    keeper = await control_plane.create_key("house", "account")
    boss = await control_plane.create_key("house", "operator", "inference")
    for method, path, body in (
        ("POST", "/rotate", {}),
        ("PATCH", "", {"name": "mine"}),
        ("DELETE", "", None),
    ):
        await keeper.request(method, f"/v1/keys/{boss.id}{path}", body, status=403)
    assert (await keeper.get(f"/v1/keys/{boss.id}"))["state"] == "active"


async def test_a_key_of_a_member_sees_the_members_own_things(control_plane):
    admin = await control_plane.create_key("acme", "account", "inference", role="admin")
    member = await control_plane.create_key("acme", role="member")
    other = await control_plane.create_key("acme")
    for caller in (admin, member, other):
        await caller.chat()
    assert {call["key"] for call in (await member.get("/v1/calls"))["data"]} == {member.id}
    assert {call["key"] for call in (await admin.get("/v1/calls"))["data"]} == {
        admin.id,
        member.id,
        other.id,
    }
    theirs = (await other.get("/v1/calls"))["data"][0]["id"]
    await member.get(f"/v1/calls/{theirs}", status=404)
    assert (await admin.get(f"/v1/calls/{theirs}"))["call"]["id"] == theirs
    await member.get(f"/v1/keys/{other.id}", status=404)
    await member.request("POST", "/v1/keys", {"name": "more"}, status=403)
    await member.get("/v1/account/transactions", status=403)


async def test_budgets_of_keys_and_end_users_are_set_and_hold(control_plane):
    admin = await control_plane.create_key("acme", "account", "inference")
    budget = await admin.request(
        "PUT", "/v1/account/budgets", {"end_user": "eve", "limit": "0.000000001", "period": "day"}
    )
    assert (budget["subject"], budget["limit_nanos"], budget["period"]) == (
        "user:acme/eve",
        1,
        "day",
    )
    caller = await control_plane.create_key("acme")
    assert (await caller.chat(user="eve")).status == 402
    assert (await caller.chat(user="adam")).status == 200
    await admin.request("PUT", "/v1/account/budgets", {"key_id": admin.id, "limit": "5"})
    assert {row["subject"] for row in (await admin.get("/v1/account/budgets"))["data"]} == {
        "user:acme/eve",
        f"key:{admin.id}",
    }
    await admin.request("DELETE", "/v1/account/budgets?end_user=eve")
    await admin.request("DELETE", "/v1/account/budgets?end_user=eve", status=404)
    await admin.request("PUT", "/v1/account/budgets", {"limit": "5"}, status=400)
    stranger = await control_plane.create_key("other")
    await admin.request(
        "PUT", "/v1/account/budgets", {"key_id": stranger.id, "limit": "5"}, status=404
    )


async def test_what_is_missing_is_not_found_and_only_a_path_that_is_not_there_is_unknown(
    control_plane,
):
    admin = await control_plane.create_key("acme", "account", "inference")
    missing = "01HZZZZZZZZZZZZZZZZZZZZZZZ"
    for caller, method, path, code in (
        (admin, "GET", f"/v1/keys/{missing}", "not_found"),
        (admin, "GET", f"/v1/calls/{missing}", "not_found"),
        (admin, "GET", f"/v1/generation?id={missing}", "not_found"),
        (admin, "DELETE", f"/v1/tokens/{missing}", "not_found"),
        (admin, "DELETE", "/v1/account/budgets?end_user=nobody", "not_found"),
        (admin, "GET", "/v1/account/webhook", "not_found"),
        (control_plane.operator, "GET", "/admin/accounts/nobody", "not_found"),
        (control_plane.operator, "GET", f"/admin/users/{missing}", "not_found"),
        (control_plane.operator, "GET", "/admin/credits?account=nobody", "not_found"),
        (admin, "GET", "/v1/models/nobody/nothing", "model_not_found"),
        (admin, "GET", "/v1/keys/a/b", "unknown_url"),
        (admin, "GET", "/v1/nothing", "unknown_url"),
        (control_plane.operator, "GET", "/admin/nothing", "unknown_url"),
    ):
        answer = await caller.request(method, path, status=404)
        assert answer["error"]["code"] == code, path


async def test_accounts_do_not_see_each_other(control_plane):
    acme, other = (
        await control_plane.create_key("acme", "account", "inference"),
        await control_plane.create_key("other", "account", "inference"),
    )
    call = (await acme.chat()).headers["x-request-id"]
    for path in (f"/v1/calls/{call}", f"/v1/keys/{acme.id}"):
        foreign, none = await other("GET", path), await other("GET", path[:-3] + "ZZZ")
        assert (foreign.status, none.status) == (404, 404)
        assert (
            foreign.json()["error"]["message"].replace(path[-3:], "ZZZ")
            == none.json()["error"]["message"]
        )
    assert (await other.get("/v1/calls"))["data"] == []
    assert "acme" not in str(await other.get("/v1/account/transactions"))
    await other.request("DELETE", f"/v1/keys/{acme.id}", status=404)
    assert (await acme.get("/v1/account"))["id"] == "acme"
