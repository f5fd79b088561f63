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
from gatewayz.store.sql.journal import FOLDER, REJECTED
from tests.support.commands import Commands
from tests.support.databases import url_of
from tests.support.house import offers
from tests.support.paying import asked, paying

TWO = [offers(("first", "fault-503"), ("second", "model"))]


class Beside:
    """Commands in another thread, so that the gateway of the test goes on."""

    def __init__(self, location, data_dir):
        self.commands = Commands(location, data_dir)

    async def __call__(self, *words, status=0):
        return await asyncio.to_thread(self.commands, *words, status=status)

    async def json(self, *words, status=0):
        return await asyncio.to_thread(self.commands.json, *words, status=status)


@pytest.fixture
def gatewayz(location, tmp_path):
    return Beside(location, tmp_path / "data")


async def answered(here):
    """The id of a call as its client has it."""
    client = here.client()
    done = await client.chat.completions.create(
        model="test/model", messages=[{"role": "user", "content": "Hello there"}]
    )
    await here.settled()
    return done.id


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
    assert [one["kind"] for one in shown["transfers"]] == ["topup", "grant", "adjust", "refund"]
    assert shown["payments"][0]["refunded"] == 3_000_000_000
    said = await gatewayz("credits", "show", "acme")
    assert "topup:stripe:pi_1" in said
    assert "5.75" in said
    assert "only $5.75" in await gatewayz(
        "credits", "adjust", "acme", "-6", "--why", "too much", status=2
    )
    assert "add up" in await gatewayz("credits", "check")
    actions = [one["action"] for one in await gatewayz.json("audit", "list", "-a", "acme")]
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
    async with paying(tmp_path, location, models=TWO) as here:
        shown_id = await answered(here)
        story = await gatewayz.json("calls", "show", shown_id)
        record = story["record"]
        assert record["id"] == shown_id.removeprefix("chatcmpl-")
        assert (record["provider"], record["status"], record["account_id"]) == (
            "second",
            200,
            here.account,
        )
        assert [(one["provider"], one["fault"]) for one in story["attempts"]] == [
            ("first", "upstream_overloaded"),
            ("second", ""),
        ]
        assert (
            sum(one["amount"] for one in story["transfers"] if one["kind"] == "usage")
            == record["cost"]
            > 0
        )
        said = await gatewayz("calls", "show", shown_id)
        for word in (
            "candidates:",
            "attempts:",
            "booked:",
            "upstream_overloaded",
            "input ×",
            f"held:{here.account}",
            "income:usage",
        ):
            assert word in said
        for form in ("msg_", "resp_", ""):
            assert (await gatewayz.json("calls", "show", form + record["id"]))["record"] == record
        (line,) = (
            (await gatewayz("calls", "tail", "--no-follow", "-a", here.account))
            .strip()
            .splitlines()
        )
        assert record["id"] in line
        assert "second/model" in line
        before = (await here.wallet()).paid
        refunded = await gatewayz.json("credits", "refund", shown_id, "--id", "sorry")
        assert refunded["amount_nanos"] == record["cost"]
        assert (await here.wallet()).paid == before + record["cost"]
        assert not (await gatewayz.json("credits", "refund", shown_id, "--id", "sorry"))[
            "moved_now"
        ]
        await here.balanced()


async def test_calls_are_shown_as_they_end_until_it_is_interrupted(location, tmp_path):
    async with paying(tmp_path, location) as here:
        given = {
            **os.environ,
            "GATEWAYZ_DATABASE__URL": url_of(location),
            "GATEWAYZ_DATA_DIR": str(tmp_path / "data"),
        }
        command = [sys.executable, "-m", "gatewayz", "calls", "tail", "-n", "1", "--json"]
        await asked(here.client())
        await here.settled()
        watching = subprocess.Popen(
            command, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            ids = [json.loads(await asyncio.to_thread(watching.stdout.readline))["id"]]
            for _ in range(2):
                ids.append((await answered(here)).removeprefix("chatcmpl-"))
                assert (
                    json.loads(await asyncio.to_thread(watching.stdout.readline))["id"] == ids[-1]
                )
            assert len(set(ids)) == 3
            watching.send_signal(signal.SIGINT)
            said, wrong = await asyncio.to_thread(watching.communicate, timeout=20)
            assert (said, wrong) == ("", "")
        finally:
            watching.kill()
            watching.wait()


async def test_the_check_and_the_doctor_find_what_is_planted(gatewayz, database, tmp_path):
    await gatewayz("accounts", "create", "Acme", "--id", "acme")
    await gatewayz("keys", "make", "-a", "acme", "-n", "ci")
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
    found = await gatewayz.json("credits", "check", status=1)
    assert {one["check"] for one in found} == {
        "sum_is_zero",
        "balance_is_its_transfers",
        "no_settlement_is_rejected",
    }
    assert "wallet:acme:paid" in await gatewayz("credits", "check", status=1)
    assert [one["subject"] for one in await gatewayz.json("audit", "verify", status=1)] == [
        "entry 2"
    ]
    (tmp_path / "data" / "secret").write_text("another\n")
    ill = " ".join((await gatewayz("doctor", status=1)).split())
    for word in (
        "balance_is_its_transfers: wallet:acme:paid",
        "3 bytes of settlements wait",
        "could not be booked",
        "another secret than this one",
    ):
        assert word in ill


async def test_a_store_that_is_away_is_a_sentence(tmp_path, kind):
    nowhere = {
        "sqlite": Location("sqlite", path="/dev/null/gatewayz.db"),
        "postgresql": Location("postgresql", dsn="postgresql://nobody@127.0.0.1:1/x"),
    }
    gatewayz = Beside(nowhere[kind], tmp_path / "data")
    for words in (
        ("credits", "check"),
        ("keys", "list"),
        ("calls", "show", "01HZZZZZZZZZZZZZZZZZZZZZZZ"),
    ):
        said = await gatewayz(*words, status=2)
        assert "cannot be used" in said
    if kind == "postgresql":
        assert "cannot be used" in " ".join((await gatewayz("doctor", status=1)).split())


def test_a_store_in_memory_has_nothing_to_show(tmp_path):
    class Memory:
        dsn = "memory:"

    assert "nothing is kept" in Commands(Memory, tmp_path)("keys", "list", status=2)
