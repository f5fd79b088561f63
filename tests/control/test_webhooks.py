"""Webhooks by API, command line and settings, on both databases: from a call to a notification that its receiver can verify."""

import asyncio

import openai
import pytest
from sqlalchemy import update

from gatewayz.observe.exposition import render_metrics
from gatewayz.store.sql.tables import BUDGETS
from tests.support.commands import Commands
from tests.support.control_plane import USD, run_control_plane
from tests.support.databases import on_sqlite
from tests.support.webhook_receiver import WebhookReceiver


@pytest.fixture
async def control_plane(location, tmp_path):
    async with run_control_plane(
        location, tmp_path, notifications={"private_addresses": True}
    ) as plane:
        yield plane


async def send_notifications(control_plane):
    await control_plane.finish_calls()
    await control_plane.send_notifications()


async def test_a_call_that_takes_the_balance_below_is_told_once_and_signed(control_plane):
    admin = await control_plane.create_key("acme", "inference", "account")
    async with WebhookReceiver(500, 204) as receiver:
        webhook = await admin.request(
            "PUT", "/v1/account/webhook", {"url": receiver.url, "low_balance": "100"}
        )
        assert (webhook["low_balance_nanos"], webhook["waiting"], webhook["secret"][:6]) == (
            100 * USD,
            0,
            "whsec_",
        )
        await send_notifications(control_plane)
        assert receiver.requests == []
        for _ in range(3):
            assert (await admin.chat()).status == 200
            await send_notifications(control_plane)
        [first] = receiver.requests
        first.verify(webhook["secret"])
        with pytest.raises(openai.InvalidWebhookSignatureError):
            first.verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        balance = 100 * USD - (await admin.get("/v1/calls"))["data"][-1]["cost_nanos"]
        assert first.payload["type"] == "balance.low"
        assert first.payload["data"] == {
            "account": "acme",
            "balance": first.payload["data"]["balance"],
            "balance_nanos": balance,
            "threshold": "100",
            "threshold_nanos": 100 * USD,
        }
        assert (first.headers["content-type"], first.headers["user-agent"][:9]) == (
            "application/json",
            "gatewayz/",
        )
        [notification] = (await admin.get("/v1/account/notifications"))["data"]
        assert (
            notification["id"],
            notification["state"],
            notification["attempts"],
            notification["status"],
            notification["why"],
        ) == (first.headers["webhook-id"], "waiting", 1, 500, "it answered 500")
        assert notification["body"] == first.payload
        assert (await admin.get("/v1/account/webhook"))["waiting"] == 1
        control_plane.gateway.built.bus.flush()
        metrics = render_metrics(control_plane.gateway.built.metrics.snapshot()).decode()
        assert 'gatewayz_notifications_total{kind="balance.low",outcome="retried"} 1' in metrics
        assert "gatewayz_notifications_waiting 1" in metrics


async def test_a_budget_that_refuses_a_call_is_told(control_plane):
    admin = await control_plane.create_key("acme", "inference", "account")
    async with WebhookReceiver() as receiver:
        await control_plane.operator.request(
            "PUT", "/admin/webhooks", {"account": "acme", "url": receiver.url}
        )
        await admin.request("PUT", "/v1/account/budgets", {"end_user": "eve", "limit": "1"})
        async with control_plane.transaction.database.begin() as connection:
            await connection.execute(update(BUDGETS).values(spent=USD - 50_000))
        await control_plane.gateway.refresh_keys()
        assert (await admin.chat(user="eve")).status == 402
        await send_notifications(control_plane)
        await send_notifications(control_plane)
        [request] = receiver.requests
        fields = request.payload["data"]
        assert (
            request.payload["type"],
            fields["percent"],
            fields["end_user"],
            fields["limit"],
            fields["spent_nanos"],
        ) == ("budget.reached", 100, "eve", "1", USD - 50_000)


async def test_a_test_arrives_and_a_webhook_can_be_taken_away(control_plane):
    admin = await control_plane.create_key("acme", "account")
    async with WebhookReceiver() as receiver:
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        webhook = await admin.request(
            "PUT", "/v1/account/webhook", {"url": receiver.url, "secret": secret}
        )
        assert (webhook["secret"], webhook["low_balance"]) == (None, None)
        notification = await admin.request("POST", "/v1/account/webhook/test")
        await send_notifications(control_plane)
        [request] = receiver.requests
        request.verify(secret)
        assert (request.payload["type"], request.headers["webhook-id"]) == (
            "webhook.test",
            notification["id"],
        )
        assert [
            row["state"]
            for row in (await control_plane.operator.get("/admin/notifications?account=acme"))[
                "data"
            ]
        ] == ["delivered"]
        assert await admin.request("DELETE", "/v1/account/webhook") == {
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
                "has no webhook"
                in (await admin.request(method, path, status=404))["error"]["message"]
            )


async def test_nobody_else_sees_or_gets_what_an_account_is_told(control_plane):
    acme, other = (
        await control_plane.create_key("acme", "account"),
        await control_plane.create_key("other", "account"),
    )
    async with WebhookReceiver() as receiver:
        await acme.request("PUT", "/v1/account/webhook", {"url": receiver.url})
        await acme.request("POST", "/v1/account/webhook/test")
        await other.get("/v1/account/webhook", status=404)
        assert (await other.get("/v1/account/notifications"))["data"] == []


@on_sqlite
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"url": "https://hooks.example/", "secret": "short"}, "secret"),
        ({"url": "ftp://hooks.example/"}, "url"),
        ({"url": "https://hooks.example/", "low_balance": "0"}, "low_balance"),
        ({"url": "https://hooks.example/", "low_balance": "-5"}, "low_balance"),
        ({"url": "https://hooks.example/", "other": 1}, "other"),
        ({}, "url"),
    ],
)
async def test_what_is_no_webhook_is_refused_by_name(control_plane, body, param):
    admin = await control_plane.create_key("acme", "account")
    assert (await admin.request("PUT", "/v1/account/webhook", body, status=400))["error"][
        "param"
    ] == param
    await admin.get("/v1/account/webhook", status=404)


async def test_private_addresses_are_refused_unless_the_operator_allows_them(location, tmp_path):
    async with run_control_plane(location, tmp_path) as control_plane:
        admin = await control_plane.create_key("acme", "account")
        for url in (
            "http://hooks.example/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://169.254.169.254/latest",
        ):
            refused = await admin.request("PUT", "/v1/account/webhook", {"url": url}, status=400)
            assert "notifications.private_addresses" in refused["error"]["message"]


async def test_the_secret_is_in_no_answer_log_or_audit_entry_but_the_one_that_made_it(
    control_plane, tmp_path
):
    admin = await control_plane.create_key("acme", "account")
    webhook = await admin.request("PUT", "/v1/account/webhook", {"url": "https://hooks.example/"})
    changed = await admin.request("PUT", "/v1/account/webhook", {"url": "https://hooks.example/2"})
    assert changed["secret"] is None
    await admin.request("POST", "/v1/account/webhook/test")
    await send_notifications(control_plane)
    control_plane.gateway.built.bus.flush()
    answers = [
        await admin("GET", "/v1/account/webhook"),
        await admin("GET", "/v1/account/notifications"),
        await control_plane.operator("GET", "/admin/audit"),
    ]
    assert "webhook.set" in answers[-1].text
    secret = webhook["secret"].removeprefix("whsec_")
    assert secret not in str(answers)
    assert secret not in (tmp_path / "log.jsonl").read_text()


async def test_the_command_line_does_the_same_and_the_doctor_tells_what_did_not_arrive(
    control_plane, location, tmp_path
):
    gatewayz = Commands(location, tmp_path / "data")
    webhook = await asyncio.to_thread(
        gatewayz.json, "webhooks", "set", "acme", "https://hooks.example/x", "--low-balance", "5"
    )
    assert (webhook["low_balance_nanos"], webhook["secret"][:6]) == (5 * USD, "whsec_")
    assert "secret" not in await asyncio.to_thread(gatewayz.json, "webhooks", "show", "acme")
    assert "must be https" in await asyncio.to_thread(
        gatewayz, "webhooks", "set", "acme", "http://10.0.0.1/", status=2
    )
    async with WebhookReceiver(410) as receiver:
        await control_plane.operator.request(
            "PUT", "/admin/webhooks", {"account": "acme", "url": receiver.url}
        )
        assert "gateway sends the notification" in await asyncio.to_thread(
            gatewayz, "webhooks", "test", "acme"
        )
        await send_notifications(control_plane)
    [notification] = await asyncio.to_thread(gatewayz.json, "webhooks", "notifications", "acme")
    assert (notification["state"], notification["why"]) == ("failed", "it answered 410")
    assert "410" in await asyncio.to_thread(gatewayz, "webhooks", "notifications")
    report = await asyncio.to_thread(gatewayz, "doctor")
    assert "1 of the account acme did not arrive at its webhook: it answered 410" in " ".join(
        report.split()
    )
    await asyncio.to_thread(gatewayz, "webhooks", "delete", "acme")
    assert "has no webhook" in await asyncio.to_thread(
        gatewayz, "webhooks", "show", "acme", status=2
    )


async def test_the_worker_goes_by_itself(control_plane):
    admin = await control_plane.create_key("acme", "account")
    notifications = control_plane.notifications
    notifications.poll_every_s = 0.05
    notifications.start()
    async with WebhookReceiver() as receiver:
        await admin.request(
            "PUT", "/v1/account/webhook", {"url": receiver.url, "low_balance": "1000"}
        )
        while not receiver.requests:
            await asyncio.sleep(0.02)
        assert receiver.requests[0].payload["data"]["threshold"] == "1000"
