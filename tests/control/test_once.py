"""A change that its client named is made once, whoever is killed or impatient in between, on both databases."""

import asyncio
import json

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select, update

from gatewayz.core.access import HOUSE
from gatewayz.store.sql.tables import API_KEYS, IDEMPOTENCY, METADATA, TRANSFERS
from gatewayz.web.api.table import ROWS
from tests.support.control import USD, place
from tests.support.probes import PROBES, Things, aimed

PAID = {"account": "other", "amount": "20", "source": "bank"}
TOPUP = "/admin/credits/topup"


@pytest.fixture
async def there(location, tmp_path):
    async with place(location, tmp_path) as found:
        yield found


async def rows_of(there, table, *where):
    async with there.desk.database.begin(reading=True) as connection:
        return (await connection.execute(select(table).where(*where))).all()


async def changed(there, **values):
    async with there.desk.database.begin() as connection:
        await connection.execute(update(IDEMPOTENCY).values(**values))


async def everything(there):
    """All that is kept, but for what beats, and letters that are tried again and again."""
    return {
        table.name: await rows_of(there, table)
        for table in METADATA.sorted_tables
        if table.name not in {"owners", "notices"}
    }


def test_every_operation_that_creates_or_spends_is_made_once():
    assert [row.path for row in ROWS if row.method == "POST" and not row.once] == []


async def test_a_repeat_has_the_same_answer_and_changes_nothing(there):
    things = Things(there)
    await there.operator.does(
        "PUT", "/admin/offers", {"model": "made/here", "provider": "first", "upstream_id": "hello"}
    )
    things.calls["acme", ""] = (await (await there.key("acme")).calls()).headers["x-request-id"]
    caller = await there.key("acme", "inference", "account")
    for number, row in enumerate(row for row in ROWS if row.once):
        probe, whoever = (
            PROBES[row.method, row.path],
            there.operator if row.access == "operator" else caller,
        )
        thing, _ = [
            await things.made(kind, "acme", "") if kind else "" for kind in (probe.thing, probe.own)
        ]
        path, body = aimed(row.path, probe, thing)
        first = await whoever(row.method, path, body, Idempotency_Key=f"{number}")
        assert (first.status, first.headers.get("idempotent-replayed")) == (200, None), (
            path,
            first.text,
        )
        before = await everything(there)
        again = await whoever(row.method, path, body, Idempotency_Key=f"{number}")
        assert (again.status, again.text, again.headers["idempotent-replayed"]) == (
            200,
            first.text,
            "true",
        ), path
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
        assert again.headers["content-type"] == first.headers["content-type"]
        assert await everything(there) == before, path


async def test_of_fifty_at_once_one_tops_up(there):
    async def insisting():
        while (
            answer := await there.operator("POST", TOPUP, PAID, Idempotency_Key="fifty")
        ).status == 409:
            assert (answer.json()["error"]["code"], answer.headers["retry-after"]) == (
                "request_in_progress",
                "1",
            )
        return answer

    answers = await asyncio.gather(*(insisting() for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len([answer for answer in answers if "idempotent-replayed" not in answer.headers]) == 1
    assert len(await rows_of(there, TRANSFERS, TRANSFERS.c.account_id == "other")) == 1
    assert (await there.operator.get("/admin/credits?account=other"))["account"][
        "balance_nanos"
    ] == 20 * USD


async def test_another_request_or_another_asker_does_not_get_the_answer(there):
    one, two = (
        await there.key("acme", "inference", "account"),
        await there.key("acme", "inference", "account"),
    )
    made = await one.does("POST", "/v1/keys", {"name": "web"}, Idempotency_Key="k")
    for caller, path, body in (
        (one, "/v1/keys", {"name": "other"}),
        (two, "/v1/keys", {"name": "web"}),
        (one, f"/v1/keys/{made['id']}/rotate", {"name": "web"}),
    ):
        refused = await caller.does("POST", path, body, status=422, Idempotency_Key="k")
        assert made["secret"] not in str(refused)
    called = await one.calls(headers={"Idempotency-Key": "k"})
    assert called.status == 422
    stranger = await there.key("other", "inference", "account")
    assert (await stranger.does("POST", "/v1/keys", {"name": "web"}, Idempotency_Key="k"))[
        "account"
    ] == "other"
    assert len(await rows_of(there, API_KEYS, API_KEYS.c.name == "web")) == 2


async def test_a_secret_is_kept_encrypted_and_only_for_a_day(there):
    caller = await there.key("acme", "inference", "account")
    made = await caller.does("POST", "/v1/keys", {"name": "web"}, Idempotency_Key="k")
    (kept,) = await rows_of(there, IDEMPOTENCY)
    assert made["secret"].encode() not in kept.answer
    assert 86_390_000 < kept.expires_ms - there.desk.clock.wall_ms() <= 86_400_000
    await changed(there, expires_ms=1)
    other = await caller.does("POST", "/v1/keys", {"name": "web"}, Idempotency_Key="k")
    assert other["secret"] != made["secret"]


async def test_what_was_refused_leaves_its_key_free(there):
    boss = there.operator
    for body in (
        {**PAID, "amount": "0"},
        {**PAID, "account": "nobody"},
        {"amount": "1"},
        {**PAID, "more": 1},
    ):
        answer = await boss("POST", TOPUP, body, Idempotency_Key="k")
        assert answer.status in {400, 404}
        assert await rows_of(there, IDEMPOTENCY) == []
    await boss.does("POST", TOPUP, PAID, Idempotency_Key="k")
    for key in ("x" * 256, "a\tb"):
        await boss.does("POST", TOPUP, PAID, status=400, Idempotency_Key=key)


async def test_without_a_key_each_request_counts(there):
    for _ in range(2):
        await there.operator.does("POST", TOPUP, PAID)
    assert (await there.operator.get("/admin/credits?account=other"))["account"][
        "balance_nanos"
    ] == 40 * USD


async def test_money_whose_answer_was_lost_is_not_moved_again(there):
    boss, owner = there.operator, there.here.built.store.books.owner
    caller = await there.key("acme")
    call = (await caller.calls()).headers["x-request-id"]
    moves = (
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
    for number, (path, body, other) in enumerate(moves):
        first = await boss.does("POST", path, body, Idempotency_Key=f"k{number}")
        booked = await rows_of(there, TRANSFERS)
        # As the row is when the process dies after the money has moved and before the answer is kept.
        await changed(there, state="running", answer=None)
        assert (await boss("POST", path, body, Idempotency_Key=f"k{number}")).status == 409
        await changed(there, owner="dead")
        again = await boss.does("POST", path, body, Idempotency_Key=f"k{number}")
        assert (again["id"], again["amount"], first["fresh"], again["fresh"]) == (
            first["id"],
            first["amount"],
            True,
            False,
        )
        await changed(there, state="running", answer=None, owner="dead")
        await boss.does("POST", path, other, status=400, Idempotency_Key=f"k{number}")
        assert await rows_of(there, TRANSFERS) == booked
        await changed(there, owner=owner)
    assert (await boss.get("/admin/credits/check"))["adds_up"] is True


async def test_a_change_says_in_its_own_transaction_that_it_was_made(there):
    control = there.here.built.app._control
    office = control._office

    class Dies(type(office.claims)):
        """A process that ends before it keeps the answer."""

        async def keep(self, claim, plain):
            return

    await there.operator.does("POST", "/admin/accounts", {"name": "One"}, Idempotency_Key="kept")
    control._office = replace(
        office, claims=Dies(there.desk.database, there.desk.peppers, there.desk.clock, "dead")
    )
    body = {"account": "acme", "name": "web"}
    await there.operator.does("POST", "/admin/keys", body, Idempotency_Key="k")
    control._office = office
    refused = await there.operator.does(
        "POST", "/admin/keys", body, status=409, Idempotency_Key="k"
    )
    assert refused["error"]["code"] == "replay_unavailable"
    assert len(await rows_of(there, API_KEYS, API_KEYS.c.name == "web")) == 1


async def test_a_change_whose_key_was_taken_over_is_not_made(there):
    control = there.here.built.app._control
    office = control._office

    class Late(type(office.claims)):
        """A process so slow that its claim has passed to another request before it changes anything."""

        async def take(self, claim):
            kept = await super().take(claim)
            await changed(there, call_id="another")
            return kept

    control._office = replace(
        office, claims=Late(there.desk.database, there.desk.peppers, there.desk.clock, "slow")
    )
    await there.operator.does(
        "POST", "/admin/keys", {"account": "acme", "name": "web"}, status=409, Idempotency_Key="k"
    )
    control._office = office
    assert await rows_of(there, API_KEYS, API_KEYS.c.name == "web") == []
    assert [row.call_id for row in await rows_of(there, IDEMPOTENCY)] == ["another"]


async def test_the_document_tells_where_a_key_may_be_given(there):
    paths = (await there.nobody.get("/openapi.json"))["paths"]
    named = {
        (method.upper(), path)
        for path, item in paths.items()
        for method, one in item.items()
        for parameter in one.get("parameters", ())
        if parameter["name"] == "Idempotency-Key"
    }
    assert named == {(row.method, row.path) for row in ROWS if row.once}
    assert json.dumps(paths).count('"Idempotency-Key"') == len(named)
    async with there.desk.database.begin(reading=True) as connection:
        assert (
            await connection.execute(select(func.count()).where(IDEMPOTENCY.c.account_id != HOUSE))
        ).scalar() == 0
