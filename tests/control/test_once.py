"""A change that its client named is made once, whoever is killed or impatient in between, on both databases."""

import asyncio
import json

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select, update

from gatewayz.control.idempotency import SqlClaims
from gatewayz.core.access import HOUSE
from gatewayz.store.sql.tables import API_KEYS, IDEMPOTENCY, METADATA, TRANSFERS
from gatewayz.web.api.routes import ROUTES
from tests.support.control_plane import USD, run_control_plane
from tests.support.route_requests import ROUTE_REQUESTS, ResourceFactory, render_request

PAID = {"account": "other", "amount": "20", "source": "bank"}
TOPUP = "/admin/credits/topup"


@pytest.fixture
async def control_plane(location, tmp_path):
    async with run_control_plane(location, tmp_path) as plane:
        yield plane


async def rows_of(control_plane, table, *where):
    async with control_plane.transaction.database.begin(reading=True) as connection:
        return (await connection.execute(select(table).where(*where))).all()


async def update_claims(control_plane, **values):
    async with control_plane.transaction.database.begin() as connection:
        await connection.execute(update(IDEMPOTENCY).values(**values))


async def everything(control_plane):
    """All that is kept, but for what beats, and notifications that are tried again and again."""
    return {
        table.name: await rows_of(control_plane, table)
        for table in METADATA.sorted_tables
        if table.name not in {"owners", "notices"}
    }


def test_every_operation_that_creates_or_spends_is_made_once():
    assert [route.path for route in ROUTES if route.method == "POST" and not route.idempotent] == []


async def test_a_repeat_has_the_same_answer_and_changes_nothing(control_plane):
    resources = ResourceFactory(control_plane.transaction)
    await control_plane.operator.request(
        "PUT", "/admin/offers", {"model": "made/here", "provider": "first", "upstream_id": "hello"}
    )
    resources.calls["acme", ""] = (await (await control_plane.create_key("acme")).chat()).headers[
        "x-request-id"
    ]
    caller = await control_plane.create_key("acme", "inference", "account")
    for number, route in enumerate(route for route in ROUTES if route.idempotent):
        request, asker = (
            ROUTE_REQUESTS[route.method, route.path],
            control_plane.operator if route.access == "operator" else caller,
        )
        resource, _ = [
            await resources.create(kind, "acme", "") if kind else ""
            for kind in (request.resource, request.prerequisite)
        ]
        path, body = render_request(route.path, request, resource)
        first = await asker(route.method, path, body, Idempotency_Key=f"{number}")
        assert (first.status, first.headers.get("idempotent-replayed")) == (200, None), (
            path,
            first.text,
        )
        before = await everything(control_plane)
        repeat = await asker(route.method, path, body, Idempotency_Key=f"{number}")
        assert (repeat.status, repeat.text, repeat.headers["idempotent-replayed"]) == (
            200,
            first.text,
            "true",
        ), path
        assert repeat.headers["x-request-id"] != first.headers["x-request-id"]
        assert repeat.headers["content-type"] == first.headers["content-type"]
        assert await everything(control_plane) == before, path


async def test_of_fifty_at_once_one_tops_up(control_plane):
    async def insisting():
        while (
            answer := await control_plane.operator("POST", TOPUP, PAID, Idempotency_Key="fifty")
        ).status != 200:
            # 503: fifty may wait for a connection longer than they are let.
            code, wait = answer.json()["error"]["code"], answer.headers["retry-after"]
            assert (answer.status, code, wait) in {
                (409, "request_in_progress", "1"),
                (503, "unavailable", "2"),
            }
            await asyncio.sleep(0.05)
        return answer

    answers = await asyncio.gather(*(insisting() for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len([answer for answer in answers if "idempotent-replayed" not in answer.headers]) == 1
    assert len(await rows_of(control_plane, TRANSFERS, TRANSFERS.c.account_id == "other")) == 1
    assert (await control_plane.operator.get("/admin/credits?account=other"))["account"][
        "balance_nanos"
    ] == 20 * USD


async def test_another_request_or_another_asker_does_not_get_the_answer(control_plane):
    first, second = (
        await control_plane.create_key("acme", "inference", "account"),
        await control_plane.create_key("acme", "inference", "account"),
    )
    key = await first.request("POST", "/v1/keys", {"name": "web"}, Idempotency_Key="k")
    for caller, path, body in (
        (first, "/v1/keys", {"name": "other"}),
        (second, "/v1/keys", {"name": "web"}),
        (first, f"/v1/keys/{key['id']}/rotate", {"name": "web"}),
    ):
        refused = await caller.request("POST", path, body, status=422, Idempotency_Key="k")
        assert key["secret"] not in str(refused)
    called = await first.chat(headers={"Idempotency-Key": "k"})
    assert called.status == 422
    stranger = await control_plane.create_key("other", "inference", "account")
    assert (await stranger.request("POST", "/v1/keys", {"name": "web"}, Idempotency_Key="k"))[
        "account"
    ] == "other"
    assert len(await rows_of(control_plane, API_KEYS, API_KEYS.c.name == "web")) == 2


async def test_a_secret_is_kept_encrypted_and_only_for_a_day(control_plane):
    caller = await control_plane.create_key("acme", "inference", "account")
    key = await caller.request("POST", "/v1/keys", {"name": "web"}, Idempotency_Key="k")
    (claim,) = await rows_of(control_plane, IDEMPOTENCY)
    assert key["secret"].encode() not in claim.answer
    assert 86_390_000 < claim.expires_ms - control_plane.transaction.clock.wall_ms() <= 86_400_000
    await update_claims(control_plane, expires_ms=1)
    other = await caller.request("POST", "/v1/keys", {"name": "web"}, Idempotency_Key="k")
    assert other["secret"] != key["secret"]


async def test_what_was_refused_leaves_its_key_free(control_plane):
    operator = control_plane.operator
    for body in (
        {**PAID, "amount": "0"},
        {**PAID, "account": "nobody"},
        {"amount": "1"},
        {**PAID, "more": 1},
    ):
        answer = await operator("POST", TOPUP, body, Idempotency_Key="k")
        assert answer.status in {400, 404}
        assert await rows_of(control_plane, IDEMPOTENCY) == []
    await operator.request("POST", TOPUP, PAID, Idempotency_Key="k")
    for key in ("x" * 256, "a\tb"):
        await operator.request("POST", TOPUP, PAID, status=400, Idempotency_Key=key)


async def test_without_a_key_each_request_counts(control_plane):
    for _ in range(2):
        await control_plane.operator.request("POST", TOPUP, PAID)
    assert (await control_plane.operator.get("/admin/credits?account=other"))["account"][
        "balance_nanos"
    ] == 40 * USD


async def test_money_whose_answer_was_lost_is_not_moved_again(control_plane):
    operator, owner = control_plane.operator, control_plane.gateway.built.store.books.owner
    caller = await control_plane.create_key("acme")
    call = (await caller.chat()).headers["x-request-id"]
    movements = (
        (TOPUP, PAID, {**PAID, "amount": "21"}),
        (
            "/admin/credits/grant",
            {"account": "other", "amount": "3"},
            {"account": "acme", "amount": "3"},
        ),
        (
            "/admin/credits/adjust",
            {"account": "other", "amount": "-1", "why": "Counted twice"},
            {"account": "other", "amount": "-2", "why": "x"},
        ),
        ("/admin/credits/refund", {"call": call}, {"call": call, "amount": "0.1"}),
    )
    for number, (path, body, other) in enumerate(movements):
        first = await operator.request("POST", path, body, Idempotency_Key=f"k{number}")
        booked = await rows_of(control_plane, TRANSFERS)
        # As the row is when the process dies after the money has moved and before the answer is kept.
        await update_claims(control_plane, state="running", answer=None)
        assert (await operator("POST", path, body, Idempotency_Key=f"k{number}")).status == 409
        await update_claims(control_plane, owner="dead")
        repeat = await operator.request("POST", path, body, Idempotency_Key=f"k{number}")
        assert (repeat["id"], repeat["amount"], first["fresh"], repeat["fresh"]) == (
            first["id"],
            first["amount"],
            True,
            False,
        )
        await update_claims(control_plane, state="running", answer=None, owner="dead")
        await operator.request("POST", path, other, status=400, Idempotency_Key=f"k{number}")
        assert await rows_of(control_plane, TRANSFERS) == booked
        await update_claims(control_plane, owner=owner)
    assert (await operator.get("/admin/credits/check"))["adds_up"] is True


async def test_a_change_says_in_its_own_transaction_that_it_was_made(control_plane):
    control = control_plane.gateway.built.app._control_plane
    context = control._context

    class Dies(SqlClaims):
        """A process that ends before it keeps the answer."""

        async def complete(self, claim, plain):
            return

    await control_plane.operator.request(
        "POST", "/admin/accounts", {"name": "One"}, Idempotency_Key="kept"
    )
    control._context = replace(
        context,
        claims=Dies(
            control_plane.transaction.database,
            control_plane.transaction.peppers,
            control_plane.transaction.clock,
            "dead",
        ),
    )
    body = {"account": "acme", "name": "web"}
    await control_plane.operator.request("POST", "/admin/keys", body, Idempotency_Key="k")
    control._context = context
    refused = await control_plane.operator.request(
        "POST", "/admin/keys", body, status=409, Idempotency_Key="k"
    )
    assert refused["error"]["code"] == "replay_unavailable"
    assert len(await rows_of(control_plane, API_KEYS, API_KEYS.c.name == "web")) == 1


async def test_a_change_whose_key_was_taken_over_is_not_made(control_plane):
    control = control_plane.gateway.built.app._control_plane
    context = control._context

    class Late(SqlClaims):
        """A process so slow that its claim has passed to another request before it changes anything."""

        async def acquire(self, claim):
            answer = await super().acquire(claim)
            await update_claims(control_plane, call_id="another")
            return answer

    control._context = replace(
        context,
        claims=Late(
            control_plane.transaction.database,
            control_plane.transaction.peppers,
            control_plane.transaction.clock,
            "slow",
        ),
    )
    await control_plane.operator.request(
        "POST", "/admin/keys", {"account": "acme", "name": "web"}, status=409, Idempotency_Key="k"
    )
    control._context = context
    assert await rows_of(control_plane, API_KEYS, API_KEYS.c.name == "web") == []
    assert [row.call_id for row in await rows_of(control_plane, IDEMPOTENCY)] == ["another"]


async def test_the_document_tells_where_a_key_may_be_given(control_plane):
    paths = (await control_plane.nobody.get("/openapi.json"))["paths"]
    operations = {
        (method.upper(), path)
        for path, item in paths.items()
        for method, operation in item.items()
        for parameter in operation.get("parameters", ())
        if parameter["name"] == "Idempotency-Key"
    }
    assert operations == {(route.method, route.path) for route in ROUTES if route.idempotent}
    assert json.dumps(paths).count('"Idempotency-Key"') == len(operations)
    async with control_plane.transaction.database.begin(reading=True) as connection:
        assert (
            await connection.execute(select(func.count()).where(IDEMPOTENCY.c.account_id != HOUSE))
        ).scalar() == 0
