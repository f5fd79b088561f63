"""Credit, calls, the audit log and the doctor from the command line, beside a running gateway, on both databases."""

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import text

from gatewayz.store.sql.database import Location
from gatewayz.store.sql.ledger.journal import FOLDER, REJECTED
from tests.support.billing_gateway import complete_chat, run_billing_gateway
from tests.support.commands import Commands
from tests.support.databases import url_of
from tests.support.gateway_process import WAIT_S
from tests.support.running_gateway import model_with_offers

TWO = [model_with_offers(("first", "fault-503"), ("second", "model"))]


class ThreadedCommands:
    """Commands in another thread, so that the gateway of the test goes on."""

    def __init__(self, location, data_dir):
        self.commands = Commands(location, data_dir)

    async def __call__(self, *words, status=0):
        return await asyncio.to_thread(self.commands, *words, status=status)

    async def json(self, *words, status=0):
        return await asyncio.to_thread(self.commands.json, *words, status=status)


@pytest.fixture
def gatewayz(location, tmp_path):
    return ThreadedCommands(location, tmp_path / "data")


async def call_id_of_an_answer(gateway):
    """The id of a call as its client has it."""
    client = gateway.client()
    completion = await client.chat.completions.create(
        model="test/model", messages=[{"role": "user", "content": "Hello there"}]
    )
    await gateway.wait_until_idle()
    return completion.id


async def test_credit_is_given_shown_and_taken_back(gatewayz):
    await gatewayz("accounts", "create", "Acme", "--id", "acme")
    first = await gatewayz.json(
        "credits", "topup", "acme", "10", "--source", "stripe", "--id", "pi_1"
    )
    again = await gatewayz.json(
        "credits", "topup", "acme", "10", "--source", "stripe", "--id", "pi_1"
    )
    assert (first["moved_now"], again["moved_now"], again["account_paid_usd"]) == (
        True,
        False,
        "10",
    )
    assert "booked before" in await gatewayz(
        "credits", "topup", "acme", "10", "--source", "stripe", "--id", "pi_1"
    )
    await gatewayz("credits", "grant", "acme", "2.50", "--expires", "30d", "--id", "welcome")
    await gatewayz("credits", "adjust", "acme", "-1.25", "--why", "a slip")
    await gatewayz("credits", "refund-payment", "stripe:pi_1", "3", "--id", "r1")
    shown = await gatewayz.json("credits", "show", "acme")
    assert (shown["paid_usd"], shown["promo_usd"]) == ("5.75", "2.5")
    assert [row["kind"] for row in shown["transfers"]] == ["topup", "grant", "adjust", "refund"]
    assert shown["payments"][0]["refunded"] == 3_000_000_000
    output = await gatewayz("credits", "show", "acme")
    assert "topup:stripe:pi_1" in output
    assert "5.75" in output
    assert "only $5.75" in await gatewayz(
        "credits", "adjust", "acme", "-6", "--why", "too much", status=2
    )
    assert "add up" in await gatewayz("credits", "check")
    actions = [row["action"] for row in await gatewayz.json("audit", "list", "-a", "acme")]
    assert actions == [
        "account.create",
        "credit.topup",
        "credit.grant",
        "credit.adjust",
        "credit.refund",
        "credit.adjust",
        "credit.refused",
    ]
    assert "7 entries, each as it was written" in await gatewayz("audit", "verify")


async def test_a_call_is_explained_and_given_back(gatewayz, location, tmp_path):
    async with run_billing_gateway(tmp_path, location, models=TWO) as gateway:
        shown_id = await call_id_of_an_answer(gateway)
        details = await gatewayz.json("calls", "show", shown_id)
        record = details["record"]
        assert record["id"] == shown_id.removeprefix("chatcmpl-")
        assert (record["provider"], record["status"], record["account_id"]) == (
            "second",
            200,
            gateway.account,
        )
        assert [(row["provider"], row["fault"]) for row in details["attempts"]] == [
            ("first", "upstream_overloaded"),
            ("second", ""),
        ]
        assert (
            sum(row["amount"] for row in details["transfers"] if row["kind"] == "usage")
            == record["cost"]
            > 0
        )
        output = await gatewayz("calls", "show", shown_id)
        for word in (
            "candidates:",
            "attempts:",
            "booked:",
            "upstream_overloaded",
            "input ×",
            f"held:{gateway.account}",
            "income:usage",
        ):
            assert word in output
        for prefix in ("msg_", "resp_", ""):
            assert (await gatewayz.json("calls", "show", prefix + record["id"]))["record"] == record
        (line, _) = (
            (await gatewayz("calls", "tail", "--no-follow", "-a", gateway.account))
            .strip()
            .splitlines()
        )
        assert record["id"] in line
        assert "second/model" in line
        before = (await gateway.wallet()).paid
        refunded = await gatewayz.json("credits", "refund", shown_id, "--id", "sorry")
        assert refunded["amount_nanos"] == record["cost"]
        assert (await gateway.wallet()).paid == before + record["cost"]
        assert not (await gatewayz.json("credits", "refund", shown_id, "--id", "sorry"))[
            "moved_now"
        ]
        await gateway.assert_balanced()


async def test_calls_are_shown_as_they_end_until_it_is_interrupted(location, tmp_path):
    async with run_billing_gateway(tmp_path, location) as gateway:
        environment = {
            **os.environ,
            "GATEWAYZ_DATABASE__URL": url_of(location),
            "GATEWAYZ_DATA_DIR": str(tmp_path / "data"),
        }
        command = [sys.executable, "-m", "gatewayz", "calls", "tail", "-n", "1", "--json"]
        await complete_chat(gateway.client())
        await gateway.wait_until_idle()
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            ids = [json.loads(await asyncio.to_thread(process.stdout.readline))["id"]]
            for _ in range(2):
                ids.append((await call_id_of_an_answer(gateway)).removeprefix("chatcmpl-"))
                assert json.loads(await asyncio.to_thread(process.stdout.readline))["id"] == ids[-1]
            assert len(set(ids)) == 3
            process.send_signal(signal.SIGINT)
            output, error = await asyncio.to_thread(process.communicate, timeout=WAIT_S)
            assert (output, error.count("\n")) == ("", 1)
            assert error.startswith("database: ")
        finally:
            process.kill()
            process.wait()


async def test_the_check_and_the_doctor_find_what_is_planted(gatewayz, database, tmp_path):
    await gatewayz("accounts", "create", "Acme", "--id", "acme")
    await gatewayz("keys", "create", "-a", "acme", "-n", "ci")
    await gatewayz("credits", "topup", "acme", "10", "--id", "p1")
    assert await gatewayz.json("credits", "check") == []
    healthy = await gatewayz("doctor")
    for word in ("answers, schema", "1 active", "every balance is the sum", "3 entries"):
        assert word in " ".join(healthy.split())
    # The tests' own PostgreSQL is quick and forgetful.
    assert ("synchronous_commit is off" in healthy) == (database.location.kind == "postgresql")
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE wallets SET paid = paid + 7 WHERE account_id = 'acme'")
        )
        await connection.execute(text("UPDATE audit_log SET actor = 'nobody' WHERE number = 2"))
    journal = tmp_path / "data" / FOLDER
    journal.mkdir(exist_ok=True)
    (journal / "dead.jsonl").write_text("{}\n")
    (journal / REJECTED).write_text("{}\n")
    violations = await gatewayz.json("credits", "check", status=1)
    assert {row["check"] for row in violations} == {
        "sum_is_zero",
        "balance_is_its_transfers",
        "no_settlement_is_rejected",
    }
    assert "wallet:acme:paid" in await gatewayz("credits", "check", status=1)
    assert [row["subject"] for row in await gatewayz.json("audit", "verify", status=1)] == [
        "entry 2"
    ]
    (tmp_path / "data" / "secret").write_text("another\n")
    findings = " ".join((await gatewayz("doctor", status=1)).split())
    for word in (
        "balance_is_its_transfers: wallet:acme:paid",
        "3 bytes of settlements wait",
        "could not be booked",
        "another secret than this one",
    ):
        assert word in findings


async def test_a_store_that_is_away_is_a_sentence(tmp_path, kind):
    nowhere = {
        "sqlite": Location("sqlite", path="/dev/null/gatewayz.db"),
        "postgresql": Location("postgresql", dsn="postgresql://nobody@127.0.0.1:1/x"),
    }
    gatewayz = ThreadedCommands(nowhere[kind], tmp_path / "data")
    for words in (
        ("credits", "check"),
        ("keys", "list"),
        ("calls", "show", "01HZZZZZZZZZZZZZZZZZZZZZZZ"),
    ):
        message = await gatewayz(*words, status=2)
        assert {"sqlite": "There is no database", "postgresql": "cannot be used"}[kind] in message
    if kind == "postgresql":
        assert "cannot be used" in " ".join((await gatewayz("doctor", status=1)).split())


def test_a_store_in_memory_has_nothing_to_show(tmp_path):
    class Memory:
        dsn = "memory:"

    assert "nothing is kept" in Commands(Memory, tmp_path)("keys", "list", status=2)
