"""Webhooks by API, command line and settings, on both databases: from a call to a notice that its receiver can verify."""

import asyncio

import openai
import pytest
from sqlalchemy import update

from gatewayz.observe.exposition import exposition
from gatewayz.store.sql.tables import BUDGETS
from tests.support.commands import Commands
from tests.support.control import USD, place
from tests.support.receiver import Receiver


@pytest.fixture
async def there(location, tmp_path):
    async with place(location, tmp_path, notices={"private_addresses": True}) as found:
        yield found


async def sent(there):
    await there.here.built.gateway.finished()
    await there.here.built.notices.round()


async def test_a_call_that_takes_the_balance_below_is_told_once_and_signed(there):
    admin = await there.key("acme", "inference", "account")
    async with Receiver(500, 204) as receiver:
        made = await admin.does(
            "PUT", "/v1/account/webhook", {"url": receiver.url, "low_balance": "100"}
        )
        assert (made["low_balance_nanos"], made["waiting"], made["secret"][:6]) == (
            100 * USD,
            0,
            "whsec_",
        )
        await sent(there)
        assert receiver.posted == []
        for _ in range(3):
            assert (await admin.calls()).status == 200
            await sent(there)
        [first] = receiver.posted
        first.verified(made["secret"])
        with pytest.raises(openai.InvalidWebhookSignatureError):
            first.verified("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        balance = 100 * USD - (await admin.get("/v1/calls"))["data"][-1]["cost_nanos"]
        assert first.told["type"] == "balance.low"
        assert first.told["data"] == {
            "account": "acme",
            "balance": first.told["data"]["balance"],
            "balance_nanos": balance,
            "threshold": "100",
            "threshold_nanos": 100 * USD,
        }
        assert (first.headers["content-type"], first.headers["user-agent"][:9]) == (
            "application/json",
            "gatewayz/",
        )
        [notice] = (await admin.get("/v1/account/notices"))["data"]
        assert (
            notice["id"],
            notice["state"],
            notice["attempts"],
            notice["status"],
            notice["why"],
        ) == (first.headers["webhook-id"], "waiting", 1, 500, "it answered 500")
        assert notice["body"] == first.told
        assert (await admin.get("/v1/account/webhook"))["waiting"] == 1
        there.here.built.bus.flush()
        shown = exposition(there.here.built.metrics.counts()).decode()
        assert 'gatewayz_notices_total{kind="balance.low",outcome="retried"} 1' in shown
        assert "gatewayz_notices_waiting 1" in shown


async def test_a_budget_that_refuses_a_call_is_told(there):
    admin = await there.key("acme", "inference", "account")
    async with Receiver() as receiver:
        await there.operator.does(
            "PUT", "/admin/webhooks", {"account": "acme", "url": receiver.url}
        )
        await admin.does("PUT", "/v1/account/budgets", {"end_user": "eve", "limit": "1"})
        async with there.desk.database.begin() as connection:
            await connection.execute(update(BUDGETS).values(spent=USD - 50_000))
        await asyncio.sleep(2.0)
        assert (await admin.calls(user="eve")).status == 402
        await sent(there)
        await sent(there)
        [posted] = receiver.posted
        told = posted.told["data"]
        assert (
            posted.told["type"],
            told["percent"],
            told["end_user"],
            told["limit"],
            told["spent_nanos"],
        ) == ("budget.reached", 100, "eve", "1", USD - 50_000)


async def test_a_test_arrives_and_a_webhook_can_be_taken_away(there):
    admin = await there.key("acme", "account")
    async with Receiver() as receiver:
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        put = await admin.does(
            "PUT", "/v1/account/webhook", {"url": receiver.url, "secret": secret}
        )
        assert (put["secret"], put["low_balance"]) == (None, None)
        made = await admin.does("POST", "/v1/account/webhook/test")
        await sent(there)
        [posted] = receiver.posted
        posted.verified(secret)
        assert (posted.told["type"], posted.headers["webhook-id"]) == ("webhook.test", made["id"])
        assert [
            one["state"]
            for one in (await there.operator.get("/admin/notices?account=acme"))["data"]
        ] == ["delivered"]
        assert await admin.does("DELETE", "/v1/account/webhook") == {
            "id": "acme",
            "object": "webhook",
            "deleted": True,
        }
        for method, path in (
            ("GET", "/v1/account/webhook"),
            ("DELETE", "/v1/account/webhook"),
            ("POST", "/v1/account/webhook/test"),
        ):
            assert (
                "has no webhook" in (await admin.does(method, path, status=404))["error"]["message"]
            )


async def test_nobody_else_sees_or_gets_what_an_account_is_told(there):
    acme, other = await there.key("acme", "account"), await there.key("other", "account")
    async with Receiver() as receiver:
        await acme.does("PUT", "/v1/account/webhook", {"url": receiver.url})
        await acme.does("POST", "/v1/account/webhook/test")
        await other.get("/v1/account/webhook", status=404)
        assert (await other.get("/v1/account/notices"))["data"] == []


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"url": "https://hooks.example/", "secret": "short"}, "secret"),
        ({"url": "ftp://hooks.example/"}, "url"),
        ({"url": "https://hooks.example/", "low_balance": "0"}, "low_balance"),
        ({"url": "https://hooks.example/", "low_balance": "-5"}, "low_balance"),
        ({"url": "https://hooks.example/", "other": 1}, "other"),
        ({}, "url"),
    ],
)
async def test_what_is_no_webhook_is_refused_by_name(there, given, param):
    admin = await there.key("acme", "account")
    assert (await admin.does("PUT", "/v1/account/webhook", given, status=400))["error"][
        "param"
    ] == param
    await admin.get("/v1/account/webhook", status=404)


async def test_private_addresses_are_refused_unless_the_operator_allows_them(location, tmp_path):
    async with place(location, tmp_path) as there:
        admin = await there.key("acme", "account")
        for url in (
            "http://hooks.example/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://169.254.169.254/latest",
        ):
            refused = await admin.does("PUT", "/v1/account/webhook", {"url": url}, status=400)
            assert "notices.private_addresses" in refused["error"]["message"]


async def test_the_secret_is_in_no_answer_log_or_audit_entry_but_the_one_that_made_it(
    there, tmp_path
):
    admin = await there.key("acme", "account")
    made = await admin.does("PUT", "/v1/account/webhook", {"url": "https://hooks.example/"})
    again = await admin.does("PUT", "/v1/account/webhook", {"url": "https://hooks.example/2"})
    assert again["secret"] is None
    await admin.does("POST", "/v1/account/webhook/test")
    await sent(there)
    there.here.built.bus.flush()
    seen = [
        await admin("GET", "/v1/account/webhook"),
        await admin("GET", "/v1/account/notices"),
        await there.operator("GET", "/admin/audit"),
    ]
    assert "webhook.set" in seen[-1].text
    secret = made["secret"].removeprefix("whsec_")
    assert secret not in str(seen)
    assert secret not in (tmp_path / "log.jsonl").read_text()


async def test_the_command_line_does_the_same_and_the_doctor_tells_what_did_not_arrive(
    there, location, tmp_path
):
    gatewayz = Commands(location, tmp_path / "data")
    made = await asyncio.to_thread(
        gatewayz.json, "webhooks", "set", "acme", "https://hooks.example/x", "--low-balance", "5"
    )
    assert (made["low_balance_nanos"], made["secret"][:6]) == (5 * USD, "whsec_")
    assert "secret" not in await asyncio.to_thread(gatewayz.json, "webhooks", "show", "acme")
    assert "must be https" in await asyncio.to_thread(
        gatewayz, "webhooks", "set", "acme", "http://10.0.0.1/", status=2
    )
    async with Receiver(410) as receiver:
        await there.operator.does(
            "PUT", "/admin/webhooks", {"account": "acme", "url": receiver.url}
        )
        assert "is sent by the next gateway" in await asyncio.to_thread(
            gatewayz, "webhooks", "test", "acme"
        )
        await sent(there)
    [notice] = await asyncio.to_thread(gatewayz.json, "webhooks", "notices", "acme")
    assert (notice["state"], notice["why"]) == ("failed", "it answered 410")
    assert "410" in await asyncio.to_thread(gatewayz, "webhooks", "notices")
    found = await asyncio.to_thread(gatewayz, "doctor")
    assert "1 of the account acme did not arrive at its webhook: it answered 410" in " ".join(
        found.split()
    )
    await asyncio.to_thread(gatewayz, "webhooks", "remove", "acme")
    assert "has no webhook" in await asyncio.to_thread(
        gatewayz, "webhooks", "show", "acme", status=2
    )


async def test_the_worker_goes_by_itself(there):
    admin = await there.key("acme", "account")
    notices = there.here.built.notices
    notices.look_every_s = 0.05
    notices.start()
    async with Receiver() as receiver:
        await admin.does("PUT", "/v1/account/webhook", {"url": receiver.url, "low_balance": "1000"})
        while not receiver.posted:
            await asyncio.sleep(0.02)
        assert receiver.posted[0].told["data"]["threshold"] == "1000"
