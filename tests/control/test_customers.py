"""What an account sees and changes by API, on both databases: itself, its keys, its calls, its budgets, and nobody else's."""

import asyncio
from decimal import ROUND_CEILING, Decimal

import pytest

from gatewayz.store.sql import accounts
from tests.support.commands import Commands
from tests.support.control import MODEL, USD, place
from tests.support.house import offers

HEARD_S = 2.0


@pytest.fixture
async def there(location, tmp_path):
    async with place(location, tmp_path) as found:
        yield found


async def test_an_account_shows_what_it_has(there):
    member = await there.key("acme")
    shown = await member.get("/v1/account")
    assert (shown["id"], shown["billing"], shown["balance"], shown["balance_nanos"]) == (
        "acme",
        "prepaid",
        "100",
        100 * USD,
    )
    assert (shown["held_nanos"], shown["credit_line"]) == (0, "0")


async def test_a_call_is_explained_to_whoever_made_it(there):
    member = await there.key("acme")
    answer = await member.calls("four words of prompt", user="eve")
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
        story = await member.get(f"/v1/calls/{name}")
        assert story["call"] == call
    found = story["reckoning"]
    assert (found["cost_nanos"], found["charged"], found["markup_bp"]) == (
        call["cost_nanos"],
        True,
        0,
    )
    assert [(line["bucket"], line["price"], line["per"]) for line in found["lines"]] == [
        ("input", "1", 10**6),
        ("output", "2", 10**6),
    ]
    assert sum(float(line["amount"]) for line in found["lines"]) == pytest.approx(
        call["cost_nanos"] / 1e9
    )
    assert [(one["provider"], one["fault"]) for one in story["attempts"]] == [("first", "")]
    assert story["candidates"][0].startswith("first/echo")
    assert story["held_nanos"] >= call["cost_nanos"] > 0
    kinds = [one["kind"] for one in story["transactions"]]
    assert kinds[0] == "hold"
    assert "usage" in kinds
    assert (await member.get("/v1/account"))["balance_nanos"] == 100 * USD - call["cost_nanos"]


@pytest.mark.parametrize("markup_bp", [0, 250, 12_345])
async def test_the_reckoning_sums_to_what_was_charged_with_the_accounts_own_markup(
    location, tmp_path, markup_bp
):
    tiers = [{"service": "priority", "price": {"input": "3.00", "output": "7.00"}}]
    models = [{**offers(("first", "echo"), tiers=tiers), "markup_bp": 1_000}]
    async with place(location, tmp_path, models=models) as there:
        await accounts.set_markup(there.desk, "acme", markup_bp)
        member = await there.key("acme")
        await asyncio.sleep(HEARD_S)
        for fields in ({}, {"service_tier": "priority"}):
            answer = await member.calls("four words of prompt", **fields)
            assert answer.status == 200, answer.text
            found = (await member.get(f"/v1/calls/{answer.headers['x-request-id']}"))["reckoning"]
            lines = sum(
                Decimal(line["price"]) * line["units"] / line["per"] for line in found["lines"]
            )
            assert (found["charged"], found["markup_bp"], Decimal(found["sum"])) == (
                True,
                markup_bp,
                lines,
            )
            whole = (lines * 10**9 * (10_000 + markup_bp) / 10_000).to_integral_value(ROUND_CEILING)
            assert found["cost_nanos"] == whole > 0
            assert Decimal(answer.headers["x-gatewayz-cost"]) * 10**9 == whole
            rates = {line["bucket"]: line["price"] for line in found["lines"]}
            shown = await asyncio.to_thread(
                Commands(location, tmp_path / "data"),
                "calls",
                "show",
                answer.headers["x-request-id"],
            )
            assert f"input × ${rates['input']}/M" in shown
            assert "that this usage costs" not in shown
        assert (found["service"], rates["input"]) == ("priority", "3")


async def test_a_call_that_failed_is_explained_too(there):
    poor = await there.key("other")
    refused = await poor.calls()
    assert refused.status == 402
    call = (await poor.get("/v1/calls?failed=true"))["data"][0]
    story = await poor.get(f"/v1/calls/{refused.headers['x-request-id']}")
    assert (story["call"]["fault"], story["call"]["cost"], story["attempts"]) == (
        "insufficient_credit",
        "0",
        [],
    )
    assert story["call"]["id"] == call["id"]
    assert "the account has $0" in story["message"]
    assert (await poor.get("/v1/calls?failed=false"))["data"] == []


async def test_usage_is_summed_by_what_is_asked_for(there):
    one, two = await there.key("acme"), await there.key("acme", "inference", "account")
    for caller, user in ((one, "eve"), (one, "adam"), (two, "eve")):
        await caller.calls(user=user)
    by = {}
    for name in ("day", "model", "provider", "key", "end_user"):
        by[name] = {
            row["name"]: row["calls"]
            for row in (await two.get(f"/v1/account/usage?by={name}"))["data"]
        }
    assert list(by["day"].values()) == [3]
    assert (by["model"], by["provider"]) == ({MODEL: 3}, {"first": 3})
    assert (by["key"], by["end_user"]) == ({one.id: 2, two.id: 1}, {"eve": 2, "adam": 1})
    assert {
        row["name"]: row["calls"] for row in (await one.get("/v1/account/usage?by=key"))["data"]
    } == {one.id: 2}
    assert (await two.get("/v1/account/usage?until_ms=1000&from_ms=0"))["data"] == []
    costs = [row["cost_nanos"] for row in (await two.get("/v1/account/usage?by=model"))["data"]]
    assert costs == [100 * USD - (await two.get("/v1/account"))["balance_nanos"]]


async def test_calls_are_filtered_and_sliced(there):
    one, two = await there.key("acme"), await there.key("acme", "account", "inference")
    for number in range(5):
        await (one, two)[number % 2].calls(user=f"u{number}")
    everything = [call["id"] for call in (await two.get("/v1/calls"))["data"]]
    assert everything == sorted(everything, reverse=True)
    assert len(everything) == 5
    seen, after = [], ""
    while True:
        page = await two.get(f"/v1/calls?limit=2&after={after}")
        seen += [call["id"] for call in page["data"]]
        after = page["next"]
        if not page["has_more"]:
            break
    assert seen == everything
    assert [call["end_user"] for call in (await two.get(f"/v1/calls?key_id={one.id}"))["data"]] == [
        "u4",
        "u2",
        "u0",
    ]
    assert [call["end_user"] for call in (await two.get("/v1/calls?end_user=u3"))["data"]] == ["u3"]
    assert (await two.get("/v1/calls?from_ms=1&until_ms=2"))["data"] == []
    assert len((await one.get("/v1/calls"))["data"]) == 3
    assert "no cursor" not in str(await two.get("/v1/calls?after=zzz"))


async def test_what_was_booked_is_listed_newest_first_in_slices(there):
    admin = await there.key("acme", "account", "inference")
    await admin.calls()
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


async def test_a_key_is_made_shown_once_used_changed_rotated_and_revoked(there):
    admin = await there.key("acme", "account")
    made = await admin.does(
        "POST", "/v1/keys", {"name": "web", "models": [MODEL], "limits": {"key_rpm": 60}}
    )
    assert made["scopes"] == ["inference"]
    new = type(admin)(there.client, made["secret"])
    assert (await new.calls()).status == 200
    listed = await admin.get("/v1/keys")
    assert made["secret"] not in str(listed)
    assert [one["id"] for one in listed["data"]] == [admin.id, made["id"]]
    assert [one["id"] for one in (await new.get("/v1/keys"))["data"]] == [made["id"]]
    changed = await admin.does(
        "PATCH",
        f"/v1/keys/{made['id']}",
        {"name": "site", "models": ["other/model"], "expires_ms": 4_000_000_000_000},
    )
    assert (changed["name"], changed["models"], changed["limits"], changed["expires_ms"]) == (
        "site",
        ["other/model"],
        {"key_rpm": 60},
        4_000_000_000_000,
    )
    assert (await admin.does("PATCH", f"/v1/keys/{made['id']}", {"expires_ms": None}))[
        "expires_ms"
    ] is None
    rotated = await admin.does("POST", f"/v1/keys/{made['id']}/rotate", {"keep_s": 0})
    assert (rotated["name"], rotated["models"]) == ("site", ["other/model"])
    assert (await admin.get(f"/v1/keys/{made['id']}"))["state"] == "revoked"
    assert await admin.does("DELETE", f"/v1/keys/{rotated['id']}") == {
        "id": rotated["id"],
        "object": "key",
        "deleted": True,
    }
    assert await admin.get(f"/v1/keys/{rotated['id']}")
    await admin.does("DELETE", f"/v1/keys/{rotated['id']}", status=404)


async def test_nobody_gives_a_key_more_than_they_have(there):
    admin = await there.key("acme", "account")
    for scopes in (["operator"], ["metrics"], ["inference", "operator"]):
        refused = await admin.does("POST", "/v1/keys", {"scopes": scopes}, status=403)
        assert "more than this key has" in refused["error"]["message"]
    keeper = await there.key("house", "account")
    boss = await there.key("house", "operator", "inference")
    for method, path, body in (
        ("POST", "/rotate", {}),
        ("PATCH", "", {"name": "mine"}),
        ("DELETE", "", None),
    ):
        await keeper.does(method, f"/v1/keys/{boss.id}{path}", body, status=403)
    assert (await keeper.get(f"/v1/keys/{boss.id}"))["state"] == "active"


async def test_a_key_of_a_member_sees_the_members_own_things(there):
    admin = await there.key("acme", "account", "inference", role="admin")
    member = await there.key("acme", role="member")
    other = await there.key("acme")
    for caller in (admin, member, other):
        await caller.calls()
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
    await member.does("POST", "/v1/keys", {"name": "more"}, status=403)
    await member.get("/v1/account/transactions", status=403)


async def test_budgets_of_keys_and_end_users_are_set_and_hold(there):
    admin = await there.key("acme", "account", "inference")
    put = await admin.does(
        "PUT", "/v1/account/budgets", {"end_user": "eve", "limit": "0.000000001", "period": "day"}
    )
    assert (put["subject"], put["limit_nanos"], put["period"]) == ("user:acme/eve", 1, "day")
    caller = await there.key("acme")
    assert (await caller.calls(user="eve")).status == 402
    assert (await caller.calls(user="adam")).status == 200
    await admin.does("PUT", "/v1/account/budgets", {"key_id": admin.id, "limit": "5"})
    assert {one["subject"] for one in (await admin.get("/v1/account/budgets"))["data"]} == {
        "user:acme/eve",
        f"key:{admin.id}",
    }
    await admin.does("DELETE", "/v1/account/budgets?end_user=eve")
    await admin.does("DELETE", "/v1/account/budgets?end_user=eve", status=404)
    await admin.does("PUT", "/v1/account/budgets", {"limit": "5"}, status=400)
    stranger = await there.key("other")
    await admin.does(
        "PUT", "/v1/account/budgets", {"key_id": stranger.id, "limit": "5"}, status=404
    )


async def test_accounts_do_not_see_each_other(there):
    acme, other = (
        await there.key("acme", "account", "inference"),
        await there.key("other", "account", "inference"),
    )
    call = (await acme.calls()).headers["x-request-id"]
    for path in (f"/v1/calls/{call}", f"/v1/keys/{acme.id}"):
        foreign, none = await other("GET", path), await other("GET", path[:-3] + "ZZZ")
        assert (foreign.status, none.status) == (404, 404)
        assert (
            foreign.json()["error"]["message"].replace(path[-3:], "ZZZ")
            == none.json()["error"]["message"]
        )
    assert (await other.get("/v1/calls"))["data"] == []
    assert "acme" not in str(await other.get("/v1/account/transactions"))
    await other.does("DELETE", f"/v1/keys/{acme.id}", status=404)
    assert (await acme.get("/v1/account"))["id"] == "acme"
