"""`gatewayz usage`: spend by account, model and day, for people, as JSON and as CSV."""

import csv
import io

import pytest
from msgspec.structs import replace

from gatewayz.control.usage import day_text
from gatewayz.core.clock import DAY_MS, SystemClock
from tests.support.commands import Commands
from tests.support.money import call_of, open_account, outcome_of


@pytest.fixture
def kind():
    """One database is enough: sums are tested on both below the commands."""
    return "sqlite"


@pytest.fixture
async def gatewayz(location, tmp_path, store, database):
    for account, costs in (("acme", (2_000, 3_000)), ("other", (7_000,))):
        await open_account(database, store.books, account, billing="house")
        for number, cost in enumerate(costs):
            outcome = replace(outcome_of(cost), model=f"family/{number}")
            await store.books.record_refused_call(call_of(account), replace(outcome, cost=cost))
    await store.books.finish()
    return Commands(location, tmp_path)


TODAY = day_text(SystemClock().wall_ms() // DAY_MS)


def test_spend_by_account_model_and_day(gatewayz):
    rows = gatewayz.json("usage")
    assert {row["day"] for row in rows} <= {TODAY, day_text(SystemClock().wall_ms() // DAY_MS)}
    assert [(row["account"], row["model"], row["cost_nanos"]) for row in rows] == [
        ("other", "family/0", 7_000),
        ("acme", "family/1", 3_000),
        ("acme", "family/0", 2_000),
    ]
    [acme] = gatewayz.json("usage", "--by", "account", "--account", "acme")
    assert (acme["calls"], acme["cost_usd"]) == (2, "0.000005")
    said = gatewayz("usage", "--by", "account")
    assert "0.000007" in said
    assert "cost usd" in said


def test_the_same_as_csv(gatewayz):
    rows = list(csv.DictReader(io.StringIO(gatewayz("usage", "--by", "account,model", "--csv"))))
    assert [(row["account"], row["cost_usd"]) for row in rows if row["cost_usd"]] == [
        ("other", "0.000007"),
        ("acme", "0.000003"),
        ("acme", "0.000002"),
    ]


def test_days_are_asked_for_as_dates(gatewayz):
    assert gatewayz.json("usage", "--from", "2020-01-01", "--to", "2020-12-31") == []
    assert "is no date" in gatewayz("usage", "--from", "yesterday", status=2)
    assert "nothing to sum by" in gatewayz("usage", "--by", "customer", status=2)
