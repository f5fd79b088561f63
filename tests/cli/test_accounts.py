"""Accounts, people, keys and budgets from the command line, on both databases."""

import pytest

from gatewayz.core.keys import well_formed
from tests.support.commands import Commands


@pytest.fixture
def gatewayz(location, tmp_path):
    return Commands(location, tmp_path / "data")


def test_an_account_is_created_changed_and_suspended(gatewayz):
    made = gatewayz.json(
        "accounts", "create", "Acme", "--billing", "credit", "--credit-line", "12.50"
    )
    assert (made["billing"], made["floor_usd"], made["floor_nanos"]) == (
        "credit",
        "-12.5",
        -12_500_000_000,
    )
    gatewayz("accounts", "rules", "Acme", "--limit", "account_rpm=5", "--models", "a/one, a/two")
    gatewayz("accounts", "markup", "Acme", "250")
    gatewayz("accounts", "suspend", "Acme")
    shown = gatewayz.json("accounts", "show", "Acme")
    assert shown["rules"] == {"limits": {"account_rpm": 5}, "models": ["a/one", "a/two"]}
    assert (shown["markup_bp"], shown["status"]) == (250, "suspended")
    gatewayz("accounts", "resume", made["id"])
    gatewayz("accounts", "billing", "Acme", "--billing", "prepaid")
    assert [
        (one["id"], one["status"], one["billing"]) for one in gatewayz.json("accounts", "list")
    ] == [("house", "active", "house"), (made["id"], "active", "prepaid")]
    assert "Acme" in gatewayz("accounts", "list")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["accounts", "create", "X", "--billing", "barter"], "Billing is prepaid, credit, house"),
        (["accounts", "create", "X", "--billing", "prepaid", "--credit-line", "5"], "credit line"),
        (["accounts", "create", "X", "--id", "a:b"], "An account's id has"),
        (["accounts", "create", "X", "--id", "house"], "There is an account 'house' already"),
        (["accounts", "show", "nobody"], "There is no account 'nobody'"),
        (["accounts", "markup", "house", "2%"], "A markup is a number of basis points"),
        (["accounts", "rules", "house", "--limit", "rpm=5"], "There is no limit 'rpm'"),
        (["accounts", "rules", "house", "--limit", "key_rpm=many"], "'key_rpm=many' is no limit"),
        (["users", "create", "eve"], "no e-mail address"),
        (
            ["users", "create", "eve@example.com", "--role", "king"],
            "Roles are member, admin, operator, metrics",
        ),
        (["users", "role", "eve@example.com", "admin"], "The account has no user"),
        (
            ["keys", "make", "-n", "x", "--scopes", "everything"],
            "Scopes are inference, account, metrics, operator",
        ),
        (["keys", "make", "-n", "x", "--expires", "soon"], "neither a span of time"),
        (["keys", "make", "-n", "x", "--from", "here"], "neither an address nor a network"),
        (["keys", "make", "-a", "nobody", "-n", "x"], "There is no account 'nobody'"),
        (["keys", "revoke", "K"], "There is no active key 'K'"),
        (["keys", "show", "K"], "There is no active key 'K'"),
        (["budgets", "set", "5"], "Name one: --key"),
        (
            ["budgets", "set", "5", "-a", "house", "--per", "year"],
            "A period is total, day, week, month",
        ),
        (["budgets", "set", "five", "-a", "house"], "no amount in US dollars"),
        (["budgets", "remove", "-a", "house"], "There is no budget"),
        (["credits", "topup", "house", "0.0000000001"], "at most nine decimals"),
        (["credits", "refund", "what"], "is no id of a call"),
        (["credits", "refund-payment", "stripe:x"], "There is no payment"),
        (
            ["calls", "show", "chatcmpl-01HZZZZZZZZZZZZZZZZZZZZZZZ"],
            "There is no call '01HZZZZZZZZZZZZZZZZZZZZZZZ'",
        ),
    ],
)
def test_what_is_wrong_is_a_sentence(gatewayz, words, said):
    assert said in gatewayz(*words, status=2)


def test_people_have_roles_and_their_keys_follow(gatewayz):
    gatewayz("accounts", "create", "Acme", "--id", "acme")
    made = gatewayz.json("users", "create", "Eve@Example.com", "-a", "acme", "--name", "Eve")
    assert (made["email"], made["role"]) == ("eve@example.com", "member")
    gatewayz("users", "role", "eve@example.com", "admin", "-a", "acme")
    gatewayz("users", "disable", made["id"], "-a", "acme")
    assert [
        (one["role"], one["state"]) for one in gatewayz.json("users", "list", "-a", "acme")
    ] == [("admin", "disabled")]
    assert "no user" in gatewayz("keys", "make", "-a", "acme", "-u", "eve@example.com", status=2)
    gatewayz("users", "disable", made["id"], "-a", "acme", "--undo")
    key = gatewayz.json("keys", "make", "-a", "acme", "-u", "eve@example.com")
    assert (key["user"], key["scopes"]) == (made["id"], ["inference"])
    assert "used already" in gatewayz("users", "create", "eve@example.com", status=2)


def test_a_key_is_made_shown_rotated_and_revoked(gatewayz):
    gatewayz("accounts", "create", "Acme", "--id", "acme")
    made = gatewayz.json(
        "keys",
        "make",
        "-a",
        "acme",
        "-n",
        "ci",
        "--limit",
        "key_rpm=60",
        "--expires",
        "30d",
        "--from",
        "10.0.0.0/8",
        "--models",
        "a/one",
    )
    assert well_formed(made["secret"])
    gatewayz("budgets", "set", "1.50", "--per", "day", "--key", made["id"])
    shown = gatewayz.json("keys", "show", made["id"])
    assert (shown["limits"], shown["addresses"], shown["models"], shown["state"]) == (
        {"key_rpm": 60},
        ["10.0.0.0/8"],
        ["a/one"],
        "active",
    )
    assert shown["budget"]["limit"] == 1_500_000_000
    assert "secret" not in shown
    fresh = gatewayz.json("keys", "rotate", made["id"], "--keep", "1h")
    assert fresh["limits"] == {"key_rpm": 60}
    assert gatewayz.json("keys", "show", fresh["id"])["budget"]["limit"] == 1_500_000_000
    gatewayz("keys", "revoke", made["id"])
    assert "There is no active key" in gatewayz("keys", "revoke", made["id"], status=2)
    assert {one["id"]: one["state"] for one in gatewayz.json("keys", "list", "-a", "acme")} == {
        made["id"]: "revoked",
        fresh["id"]: "active",
    }
    assert made["secret"] not in gatewayz("keys", "list") + gatewayz("audit", "list", "--json")


def test_a_key_without_a_name_takes_the_bootstrap_keys_place(gatewayz):
    assert well_formed(gatewayz("keys", "make").split()[0])
    assert well_formed(gatewayz("keys", "make").split()[0])
    assert sorted((one["name"], one["state"]) for one in gatewayz.json("keys", "list")) == [
        ("bootstrap", "active"),
        ("bootstrap", "revoked"),
    ]


def test_a_key_is_not_made_with_another_machines_secret(gatewayz, location, tmp_path):
    gatewayz("keys", "make", "-n", "one")
    elsewhere = Commands(location, tmp_path / "elsewhere")
    assert "made with another secret" in elsewhere("keys", "make", "-n", "two", status=2)


def test_budgets_of_keys_accounts_and_end_users_are_listed_and_removed(gatewayz):
    gatewayz("accounts", "create", "Acme", "--id", "acme")
    gatewayz("budgets", "set", "100", "--per", "month", "-a", "acme")
    gatewayz("budgets", "set", "2", "--per", "week", "-a", "acme", "--end-user", "eve")
    gatewayz("budgets", "set", "3", "--end-user", "guest")
    listed = gatewayz.json("budgets", "list", "-a", "acme")
    assert [
        (one["subject"], one["limit_usd"], one["period"], one["left_usd"]) for one in listed
    ] == [("account:acme", "100", "month", "100"), ("user:acme/eve", "2", "week", "2")]
    assert [one["subject"] for one in gatewayz.json("budgets", "list")] == ["user:house/guest"]
    gatewayz("budgets", "remove", "-a", "acme", "--end-user", "eve")
    assert "account:acme" in gatewayz("budgets", "list", "-a", "acme")
    assert "user:acme" not in gatewayz("budgets", "list", "-a", "acme")
