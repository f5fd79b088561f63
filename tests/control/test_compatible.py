"""What clients of OpenRouter and Vercel's AI Gateway ask for about credit, keys and calls."""

import re

import pytest

from tests.support.control_plane import USD, run_control_plane


@pytest.fixture
def kind():
    """One database is enough: the shapes of others are made above the store."""
    return "sqlite"


@pytest.fixture
async def control_plane(location, tmp_path):
    async with run_control_plane(location, tmp_path) as plane:
        yield plane


async def test_credits_are_told_as_openrouter_and_vercel_tell_them(control_plane):
    caller = await control_plane.create_key("acme")
    await caller.chat()
    cost = 100 * USD - (await caller.get("/v1/account"))["balance_nanos"]
    answer = await caller("GET", "/v1/credits")
    assert answer.json() == {
        "data": {"total_credits": 100, "total_usage": cost / 1e9},
        "balance": f"{(100 * USD - cost) / 1e9:.9f}".rstrip("0"),
        "total_used": f"{cost / 1e9:.9f}".rstrip("0"),
    }
    number = re.findall(r'"total_usage":([^,}]*)', answer.text)[0]
    assert re.fullmatch(r"0\.\d{1,9}", number)
    assert int(number.partition(".")[2].ljust(9, "0")) == cost


async def test_the_house_has_used_what_it_was_given(control_plane):
    await control_plane.operator.chat()
    credits = await control_plane.operator.get("/v1/credits")
    assert credits["data"]["total_credits"] == credits["data"]["total_usage"] > 0
    assert credits["balance"] == "0"


async def test_a_key_tells_its_budget_and_what_it_has_used(control_plane):
    admin = await control_plane.create_key(
        "acme", "account", "inference", name="ci", expires_ms=4_102_444_800_000
    )
    other = await control_plane.create_key("acme")
    assert (await admin.get("/v1/key"))["data"]["limit"] is None
    await admin.request(
        "PUT", "/v1/account/budgets", {"key_id": admin.id, "limit": "2.5", "period": "month"}
    )
    assert (await admin.chat()).status == 200
    await other.chat()
    key = (await admin.get("/v1/key"))["data"]
    spent = (await admin.get(f"/v1/calls?key_id={admin.id}"))["data"][0]["cost_nanos"] / 1e9
    assert (key["label"], key["limit"], key["limit_reset"], key["expires_at"]) == (
        "ci",
        2.5,
        "monthly",
        "2100-01-01T00:00:00Z",
    )
    assert (
        key["usage"] == key["usage_daily"] == key["usage_weekly"] == key["usage_monthly"] == spent
    )
    assert key["is_management_key"] is True
    assert (await control_plane.operator.get("/v1/key"))["data"]["label"] == "bootstrap"


async def test_a_generation_is_told_by_any_id(control_plane):
    caller, other = await control_plane.create_key("acme"), await control_plane.create_key("acme")
    reply = await caller.chat(user="eve", stream=False)
    generation = (await caller.get(f"/v1/generation?id={reply.json()['id']}"))["data"]
    usage = reply.json()["usage"]
    assert (generation["tokens_prompt"], generation["tokens_completion"]) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    assert (generation["total_cost"], generation["usage"]) == (usage["cost"], usage["cost"])
    assert (
        generation["provider_name"],
        generation["finish_reason"],
        generation["cancelled"],
        generation["user"],
    ) == (
        "first",
        "stop",
        False,
        "eve",
    )
    assert [(row["provider_name"], row["status"]) for row in generation["provider_responses"]] == [
        ("first", 200)
    ]
    await other.get(f"/v1/generation?id={generation['id']}", status=404)
    await caller.get("/v1/generation?id=nonsense", status=400)
    await caller.get("/v1/generation", status=400)
