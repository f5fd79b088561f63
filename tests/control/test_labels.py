"""Labels over the wire, on both databases: tags and end users, in headers and bodies, filtered, summed, bounded, never sent on."""

import pytest
from sqlalchemy import text

from gatewayz.core.labels import MAX_END_USER, MAX_TAG, MAX_TAGS
from gatewayz.core.money import Nanos
from gatewayz.store.sql import budgets
from tests.contract.test_surfaces import ASKED, BODIES, STREAMED
from tests.money.test_every_path import asked as body_of
from tests.money.test_every_path import models
from tests.support.control import MODEL, place

HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
TAGS, USER = "X_Gatewayz_Tags", "X_Gatewayz_User"


@pytest.fixture
async def there(location, tmp_path):
    async with place(location, tmp_path) as found:
        yield found


async def test_calls_are_found_and_summed_by_their_tags(there):
    caller = await there.key("acme", "inference", "account")
    await caller.calls(headers={TAGS: "team-a, Beta,team-a"})
    await caller.calls(headers={TAGS: "team-a"}, metadata={"tags": ["batch"]})
    await caller.calls(metadata={"tags": "batch , x/y"})
    await caller.calls()
    shown = (await caller.get("/v1/calls"))["data"]
    assert [call["tags"] for call in shown] == [
        [],
        ["batch", "x/y"],
        ["team-a", "batch"],
        ["team-a", "Beta"],
    ]
    assert [
        len((await caller.get(f"/v1/calls?tag={tag}"))["data"])
        for tag in ("team-a", "batch", "x/y", "beta", "team", "none")
    ] == [2, 2, 1, 0, 0, 0]
    summed = {
        row["name"]: (row["calls"], row["cost_nanos"])
        for row in (await caller.get("/v1/account/usage?by=tag"))["data"]
    }
    costs = [call["cost_nanos"] for call in shown]
    assert summed == {
        "team-a": (2, costs[2] + costs[3]),
        "batch": (2, costs[1] + costs[2]),
        "Beta": (1, costs[3]),
        "x/y": (1, costs[1]),
    }
    assert (await there.operator.get("/admin/calls?tag=Beta"))["data"][0]["id"] == shown[3]["id"]


@pytest.mark.parametrize("path", BODIES)
async def test_no_label_of_a_header_goes_upstream_whatever_the_dialect(location, tmp_path, path):
    async with place(location, tmp_path, models=models()) as there:
        caller = await there.key("acme", "inference", "account")
        answer = await caller(
            "POST", path, body_of(path), **{TAGS: "marked-tag", USER: "marked-user"}
        )
        assert answer.status == 200, answer.text
        call = (await caller.get("/v1/calls"))["data"][0]
        assert (call["endpoint"], call["tags"], call["end_user"]) == (
            path,
            ["marked-tag"],
            "marked-user",
        )
        for request in there.here.upstream.requests:
            assert "marked" not in f"{request.headers}{request.content}"


async def test_tags_of_a_body_stay_here_and_the_clients_own_metadata_goes_on(there):
    caller = await there.key("acme")
    await caller.calls(metadata={"tags": ["mine"], "order": "17"})
    assert there.here.sent["metadata"] == {"order": "17"}
    await caller.calls(metadata={"tags": "mine"})
    assert "metadata" not in there.here.sent


@pytest.mark.parametrize(
    ("headers", "more", "param"),
    [
        ({TAGS: ",".join(f"t{n}" for n in range(MAX_TAGS + 1))}, {}, TAGS),
        (
            {TAGS: ",".join(f"t{n}" for n in range(MAX_TAGS))},
            {"metadata": {"tags": ["one-more"]}},
            TAGS,
        ),
        ({TAGS: "a" * (MAX_TAG + 1)}, {}, TAGS),
        ({TAGS: 'say "no"'}, {}, TAGS),
        ({TAGS: "back\\slash"}, {}, TAGS),
        ({TAGS: "caf\u00e9"}, {}, TAGS),
        ({}, {"metadata": {"tags": ["\u0000"]}}, "metadata.tags"),
        ({}, {"metadata": {"tags": [17]}}, "metadata.tags"),
        ({}, {"metadata": {"tags": {"a": "b"}}}, "metadata.tags"),
        ({}, {"user": "u" * (MAX_END_USER + 1)}, "user"),
        ({}, {"user": "a\u0000b"}, "user"),
        ({USER: "u" * (MAX_END_USER + 1)}, {}, USER),
        ({USER: "caf\u00e9"}, {}, USER),
    ],
)
async def test_what_is_out_of_bounds_is_refused_by_name(there, headers, more, param):
    caller = await there.key("acme")
    refused = await caller("POST", "/v1/chat/completions", {**HELLO, **more}, **headers)
    assert refused.status == 400, refused.text
    assert refused.json()["error"]["param"] == param.replace("_", "-")
    assert (await caller.get("/v1/calls"))["data"] == []


async def test_as_many_tags_as_may_be_and_as_long_are_taken(there):
    caller = await there.key("acme")
    most = [f"{n:02}".ljust(MAX_TAG, "~") for n in range(MAX_TAGS)]
    assert (
        await caller.calls(headers={TAGS: ",".join(most)}, user="u" * MAX_END_USER)
    ).status == 200
    assert (await caller.get("/v1/calls"))["data"][0]["tags"] == most


async def test_the_header_names_the_end_user_in_the_place_of_the_body(there):
    caller = await there.key("acme")
    await caller.calls(user="body", headers={USER: "head"})
    assert (await caller.get("/v1/calls"))["data"][0]["end_user"] == "head"
    assert there.here.sent["user"] == "body"


async def test_a_call_that_is_refused_keeps_its_labels(there):
    poor = await there.key("other")
    assert (await poor.calls(headers={TAGS: "a"}, user="eve")).status == 402
    call = (await poor.get("/v1/calls"))["data"][0]
    assert (call["tags"], call["end_user"]) == (["a"], "eve")


def named(path, user):
    """How a request of this dialect names its end user."""
    return {"metadata": {"user_id": user}} if path == "/v1/messages" else {"user": user}


@pytest.mark.parametrize("path", ASKED)
async def test_an_end_users_budget_holds_in_every_dialect_streamed_and_not(
    location, tmp_path, path
):
    async with place(location, tmp_path, models=models()) as there:
        for user, amount in (("anna", 0), ("rich", 10**12)):
            await budgets.put(
                there.desk,
                "acme",
                budgets.of_end_user("acme", user),
                budgets.Limit(amount=Nanos(amount), period="day"),
            )
        caller = await there.key("acme", "inference", "account")
        modes = [{}, {"stream": True}] if path in STREAMED else [{}]
        for mode in modes:
            statuses = [
                (await caller("POST", path, body_of(path, **mode, **named(path, user)))).status
                for user in ("anna", "rich", "bert")
            ]
            assert statuses == [402, 200, 200]
            by_header = await caller(
                "POST", path, body_of(path, **mode, **named(path, "bert")), **{USER: "anna"}
            )
            assert by_header.status == 402
        await there.here.built.gateway.finished()
        spent = {
            one.subject: (one.spent, one.held)
            for one in await budgets.listed(there.desk.database, "acme", there.desk.clock.wall_ms())
        }
        query = text("SELECT COALESCE(SUM(cost), 0) FROM calls WHERE end_user = 'rich'")
        async with there.desk.database.begin(reading=True) as connection:
            cost = (await connection.execute(query)).scalar_one()
        assert spent == {"user:acme/anna": (0, 0), "user:acme/rich": (int(cost), 0)}
        assert cost > 0
