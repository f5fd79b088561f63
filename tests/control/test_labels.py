"""Labels over the wire, on both databases: tags and end users, in headers and bodies, filtered, summed, bounded, never sent on."""

import pytest
from sqlalchemy import text

from gatewayz.control import budgets
from gatewayz.core.labels import MAX_END_USER, MAX_TAG_CHARS, MAX_TAGS
from gatewayz.core.money import Nanos
from tests.contract.test_surfaces import ASKED, BODIES, STREAMED
from tests.money.test_every_path import asked as body_of
from tests.money.test_every_path import models
from tests.support.control_plane import MODEL, run_control_plane

HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
TAGS, USER = "X_Gatewayz_Tags", "X_Gatewayz_User"


@pytest.fixture
def kind():
    """One database is enough: labels are read and written by the same statements everywhere."""
    return "sqlite"


@pytest.fixture
async def control_plane(location, tmp_path):
    async with run_control_plane(location, tmp_path) as plane:
        yield plane


async def test_calls_are_found_and_summed_by_their_tags(control_plane):
    caller = await control_plane.create_key("acme", "inference", "account")
    await caller.chat(headers={TAGS: "team-a, Beta,team-a"})
    await caller.chat(headers={TAGS: "team-a"}, metadata={"tags": ["batch"]})
    await caller.chat(metadata={"tags": "batch , x/y"})
    await caller.chat()
    calls = (await caller.get("/v1/calls"))["data"]
    assert [call["tags"] for call in calls] == [
        [],
        ["batch", "x/y"],
        ["team-a", "batch"],
        ["team-a", "Beta"],
    ]
    assert [
        len((await caller.get(f"/v1/calls?tag={tag}"))["data"])
        for tag in ("team-a", "batch", "x/y", "beta", "team", "none")
    ] == [2, 2, 1, 0, 0, 0]
    usage = {
        row["tag"]: (row["calls"], row["cost_nanos"])
        for row in (await caller.get("/v1/account/usage?by=tag"))["data"]
    }
    costs = [call["cost_nanos"] for call in calls]
    assert usage == {
        "team-a": (2, costs[2] + costs[3]),
        "batch": (2, costs[1] + costs[2]),
        "Beta": (1, costs[3]),
        "x/y": (1, costs[1]),
    }
    assert (await control_plane.operator.get("/admin/calls?tag=Beta"))["data"][0]["id"] == calls[3][
        "id"
    ]


@pytest.mark.parametrize("path", BODIES)
async def test_no_label_of_a_header_goes_upstream_whatever_the_dialect(location, tmp_path, path):
    async with run_control_plane(location, tmp_path, models=models()) as control_plane:
        caller = await control_plane.create_key("acme", "inference", "account")
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
        for request in control_plane.gateway.upstream.requests:
            assert "marked" not in f"{request.headers}{request.content}"


async def test_tags_of_a_body_stay_here_and_the_clients_own_metadata_goes_on(control_plane):
    caller = await control_plane.create_key("acme")
    await caller.chat(metadata={"tags": ["mine"], "order": "17"})
    assert control_plane.gateway.sent["metadata"] == {"order": "17"}
    await caller.chat(metadata={"tags": "mine"})
    assert "metadata" not in control_plane.gateway.sent


@pytest.mark.parametrize(
    ("headers", "more", "param"),
    [
        ({TAGS: ",".join(f"t{n}" for n in range(MAX_TAGS + 1))}, {}, TAGS),
        (
            {TAGS: ",".join(f"t{n}" for n in range(MAX_TAGS))},
            {"metadata": {"tags": ["one-more"]}},
            TAGS,
        ),
        ({TAGS: "a" * (MAX_TAG_CHARS + 1)}, {}, TAGS),
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
async def test_what_is_out_of_bounds_is_refused_by_name(control_plane, headers, more, param):
    caller = await control_plane.create_key("acme")
    refused = await caller("POST", "/v1/chat/completions", {**HELLO, **more}, **headers)
    assert refused.status == 400, refused.text
    assert refused.json()["error"]["param"] == param.replace("_", "-")
    assert (await caller.get("/v1/calls"))["data"] == []


async def test_as_many_tags_as_may_be_and_as_long_are_taken(control_plane):
    caller = await control_plane.create_key("acme")
    tags = [f"{n:02}".ljust(MAX_TAG_CHARS, "~") for n in range(MAX_TAGS)]
    assert (
        await caller.chat(headers={TAGS: ",".join(tags)}, user="u" * MAX_END_USER)
    ).status == 200
    assert (await caller.get("/v1/calls"))["data"][0]["tags"] == tags


async def test_the_header_names_the_end_user_in_the_place_of_the_body(control_plane):
    caller = await control_plane.create_key("acme")
    await caller.chat(user="body", headers={USER: "head"})
    assert (await caller.get("/v1/calls"))["data"][0]["end_user"] == "head"
    assert control_plane.gateway.sent["user"] == "body"


async def test_a_call_that_is_refused_keeps_its_labels(control_plane):
    poor = await control_plane.create_key("other")
    assert (await poor.chat(headers={TAGS: "a"}, user="eve")).status == 402
    await control_plane.finish_calls()
    call = (await poor.get("/v1/calls"))["data"][0]
    assert (call["tags"], call["end_user"]) == (["a"], "eve")


def naming_user(path, user):
    """How a request of this dialect names its end user."""
    return {"metadata": {"user_id": user}} if path == "/v1/messages" else {"user": user}


@pytest.mark.parametrize("path", ASKED)
async def test_an_end_users_budget_holds_in_every_dialect_streamed_and_not(
    location, tmp_path, path
):
    async with run_control_plane(location, tmp_path, models=models()) as control_plane:
        for user, amount in (("anna", 0), ("rich", 10**12)):
            await budgets.put_budget(
                control_plane.transaction,
                "acme",
                budgets.end_user_subject("acme", user),
                budgets.BudgetLimit(amount=Nanos(amount), period="day"),
            )
        caller = await control_plane.create_key("acme", "inference", "account")
        modes = [{}, {"stream": True}] if path in STREAMED else [{}]
        for mode in modes:
            statuses = [
                (
                    await caller("POST", path, body_of(path, **mode, **naming_user(path, user)))
                ).status
                for user in ("anna", "rich", "bert")
            ]
            assert statuses == [402, 200, 200]
            by_header = await caller(
                "POST", path, body_of(path, **mode, **naming_user(path, "bert")), **{USER: "anna"}
            )
            assert by_header.status == 402
        await control_plane.finish_calls()
        spent = {
            budget.subject: (budget.spent, budget.held)
            for budget in await budgets.list_budgets(
                control_plane.transaction.database,
                "acme",
                control_plane.transaction.clock.wall_ms(),
            )
        }
        query = text("SELECT COALESCE(SUM(cost), 0) FROM calls WHERE end_user = 'rich'")
        async with control_plane.transaction.database.begin(reading=True) as connection:
            cost = (await connection.execute(query)).scalar_one()
        assert spent == {"user:acme/anna": (0, 0), "user:acme/rich": (int(cost), 0)}
        assert cost > 0
