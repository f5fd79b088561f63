"""What clients of OpenRouter and Vercel's AI Gateway ask for about credit, keys and calls."""

import re

import pytest

from tests.support.control import USD, place


@pytest.fixture
async def there(location, tmp_path):
    async with place(location, tmp_path) as found:
        yield found


async def test_credits_are_told_as_openrouter_and_vercel_tell_them(there):
    caller = await there.key("acme")
    await caller.calls()
    cost = 100 * USD - (await caller.get("/v1/account"))["balance_nanos"]
    answer = await caller("GET", "/v1/credits")
    assert answer.json() == {
        "data": {"total_credits": 100, "total_usage": cost / 1e9},
        "balance": f"{(100 * USD - cost) / 1e9:.9f}".rstrip("0"),
        "total_used": f"{cost / 1e9:.9f}".rstrip("0"),
    }
    number = re.search(r'"total_usage":([^,}]*)', answer.text)[1]
    assert re.fullmatch(r"0\.\d{1,9}", number)
    assert int(number.partition(".")[2].ljust(9, "0")) == cost


async def test_the_house_has_used_what_it_was_given(there):
    await there.operator.calls()
    told = await there.operator.get("/v1/credits")
    assert told["data"]["total_credits"] == told["data"]["total_usage"] > 0
    assert told["balance"] == "0"


async def test_a_key_tells_its_budget_and_what_it_has_used(there):
    admin = await there.key("acme", "account", "inference", name="ci", expires_ms=4_102_444_800_000)
    other = await there.key("acme")
    assert (await admin.get("/v1/key"))["data"]["limit"] is None
    await admin.does(
        "PUT", "/v1/account/budgets", {"key_id": admin.id, "limit": "2.5", "period": "month"}
    )
    assert (await admin.calls()).status == 200
    await other.calls()
    told = (await admin.get("/v1/key"))["data"]
    spent = (await admin.get(f"/v1/calls?key_id={admin.id}"))["data"][0]["cost_nanos"] / 1e9
    assert (told["label"], told["limit"], told["limit_reset"], told["expires_at"]) == (
        "ci",
        2.5,
        "monthly",
        "2100-01-01T00:00:00Z",
    )
    assert (
        told["usage"]
        == told["usage_daily"]
        == told["usage_weekly"]
        == told["usage_monthly"]
        == spent
    )
    assert told["is_management_key"] is True
    assert (await there.operator.get("/v1/key"))["data"]["label"] == "bootstrap"


async def test_a_generation_is_told_by_any_id(there):
    caller, other = await there.key("acme"), await there.key("acme")
    reply = await caller.calls(user="eve", stream=False)
    told = (await caller.get(f"/v1/generation?id={reply.json()['id']}"))["data"]
    usage = reply.json()["usage"]
    assert (told["tokens_prompt"], told["tokens_completion"]) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    assert (told["total_cost"], told["usage"]) == (usage["cost"], usage["cost"])
    assert (told["provider_name"], told["finish_reason"], told["cancelled"], told["user"]) == (
        "first",
        "stop",
        False,
        "eve",
    )
    assert [(one["provider_name"], one["status"]) for one in told["provider_responses"]] == [
        ("first", 200)
    ]
    await other.get(f"/v1/generation?id={told['id']}", status=404)
    await caller.get("/v1/generation?id=nonsense", status=400)
    await caller.get("/v1/generation", status=400)
