"""Who has prompts marked for caching: a request says first, then its key, then its account."""

import json

import pytest

from tests.support.control_plane import run_control_plane
from tests.support.running_gateway import model_with_offers

PRICE = {"input": "1.00", "output": "2.00", "cache_read": "0.10", "cache_write": "1.25"}


@pytest.fixture
def kind():
    """One database is enough: what is marked is decided above the store."""
    return "sqlite"


@pytest.fixture
async def control_plane(location, tmp_path):
    model = model_with_offers(("first", "echo"))
    model["offers"][0]["price"] = PRICE
    async with run_control_plane(
        location, tmp_path, models=[model], dialect="anthropic_messages"
    ) as plane:
        yield plane


async def is_marked(control_plane, key, **fields):
    """Whether a call of this key was marked on its way to the provider."""
    await control_plane.gateway.refresh_keys()
    answer = await key.chat(**fields)
    assert answer.status == 200, answer.text
    return "cache_control" in json.dumps(control_plane.gateway.sent)


async def test_a_request_says_before_its_key_and_the_key_before_its_account(control_plane):
    operator = control_plane.operator
    key = await control_plane.create_key("acme")
    assert not await is_marked(control_plane, key)
    assert (await operator.get("/admin/accounts/acme"))["caching"] == "off"

    changed = await operator.request("PATCH", "/admin/accounts/acme", {"caching": "auto"})
    assert changed["caching"] == "auto"
    assert await is_marked(control_plane, key)
    assert not await is_marked(control_plane, key, caching="off")

    own = await operator.request("PATCH", f"/admin/keys/{key.id}", {"caching": "off"})
    assert own["caching"] == "off"
    assert not await is_marked(control_plane, key)
    assert await is_marked(control_plane, key, caching="auto")

    # What is left out stays; null is as the account says.
    same = await operator.request("PATCH", f"/admin/keys/{key.id}", {"name": "other"})
    assert same["caching"] == "off"
    cleared = await operator.request("PATCH", f"/admin/keys/{key.id}", {"caching": None})
    assert cleared["caching"] is None
    assert await is_marked(control_plane, key)

    await operator.request("PATCH", "/admin/accounts/acme", {"caching": "off"})
    assert not await is_marked(control_plane, key)


async def test_a_new_key_and_the_one_in_its_place_say_the_same(control_plane):
    body = {"account": "acme", "caching": "auto"}
    made = await control_plane.operator.request("POST", "/admin/keys", body)
    assert made["caching"] == "auto"
    path = f"/admin/keys/{made['id']}/rotate"
    rotated = await control_plane.operator.request("POST", path)
    assert rotated["caching"] == "auto"


@pytest.mark.parametrize("word", ["always", "", "1h"])
async def test_another_word_is_refused(control_plane, word):
    body = {"caching": word}
    await control_plane.operator.request("PATCH", "/admin/accounts/acme", body, status=400)


async def test_what_a_mark_wrote_is_shown_and_paid(control_plane):
    key = await control_plane.create_key("acme")
    answer = await key.chat(caching="auto")
    usage = answer.json()["usage"]
    written = usage["prompt_tokens_details"]["cache_write_tokens"]
    calls = await control_plane.operator.get("/admin/calls?account=acme")
    detail = await control_plane.operator.get(f"/admin/calls/{calls['data'][0]['id']}")
    lines = {line["bucket"]: line["units"] for line in detail["cost_breakdown"]["lines"]}
    assert lines["cache_write"] == written > 0
    assert detail["call"]["cost_nanos"] == (
        lines.get("input", 0) * 1_000 + lines["output"] * 2_000 + written * 1_250
    )
