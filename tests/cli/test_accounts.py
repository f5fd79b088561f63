"""Accounts, people, keys and budgets from the command line, on both databases."""

import pytest

from gatewayz.core.keys import is_well_formed
from tests.support.commands import Commands
from tests.support.databases import on_sqlite


@pytest.fixture
def gatewayz(location, tmp_path):
    return Commands(location, tmp_path / "data")


def test_an_account_is_created_changed_and_suspended(gatewayz):
    account = gatewayz.json(
        "accounts", "create", "Acme", "--billing", "credit", "--credit-line", "12.50"
    )
    assert (account["billing"], account["floor_usd"], account["floor_nanos"]) == (
        "credit",
        "-12.5",
        -12_500_000_000,
    )
    gatewayz(
        "accounts", "rules", "Acme", "--limit", "account_rpm=5", "--models", "simulator/one, gpt-4o"
    )
    gatewayz("accounts", "markup", "Acme", "250")
    gatewayz("accounts", "caching", "Acme", "auto")
    gatewayz("accounts", "suspend", "Acme")
    shown = gatewayz.json("accounts", "show", "Acme")
    assert shown["rules"] == {
        "limits": {"account_rpm": 5},
        "models": ["simulator/one", "openai/gpt-4o"],
    }
    assert (shown["markup_bp"], shown["status"]) == (250, "suspended")
    assert shown["caching"] == "auto"
    gatewayz("accounts", "resume", account["id"])
    gatewayz("accounts", "billing", "Acme", "--billing", "prepaid")
    assert [
        (row["id"], row["status"], row["billing"]) for row in gatewayz.json("accounts", "list")
    ] == [("house", "active", "house"), (account["id"], "active", "prepaid")]
    assert "Acme" in gatewayz("accounts", "list")


def test_a_change_of_rules_changes_what_it_names(gatewayz):
    gatewayz("accounts", "create", "Acme", "--id", "acme")
    steps = [
        (["--models", "openai/gpt-4o"], {}, ["openai/gpt-4o"]),
        (["--limit", "account_rpm=5"], {"account_rpm": 5}, ["openai/gpt-4o"]),
        (["--models", "gpt-4o-mini"], {"account_rpm": 5}, ["openai/gpt-4o-mini"]),
        (["--limit", "key_rpm=1"], {"key_rpm": 1}, ["openai/gpt-4o-mini"]),
        (["--models", "all"], {"key_rpm": 1}, []),
        (["--limit", "none", "--models", "gpt-4o"], {}, ["openai/gpt-4o"]),
    ]
    for words, limits, models in steps:
        changed = gatewayz.json("accounts", "rules", "acme", *words)
        assert changed["rules"] == {"limits": limits, "models": models}
        assert gatewayz.json("accounts", "show", "acme")["rules"] == changed["rules"]
    assert "limits: –; models: openai/gpt-4o" in gatewayz("accounts", "show", "acme")
    assert "Name what to change" in gatewayz("accounts", "rules", "acme", status=2)


@on_sqlite
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["accounts", "create", "X", "--billing", "barter"], "Billing is prepaid, credit, house"),
        (["accounts", "create", "X", "--billing", "prepaid", "--credit-line", "5"], "credit line"),
        (["accounts", "create", "X", "--id", "a:b"], "An account id has"),
        (["accounts", "create", "X", "--id", "house"], "There is an account 'house' already"),
        (["accounts", "show", "nobody"], "There is no account 'nobody'"),
        (["accounts", "markup", "house", "2%"], "A markup is a number of basis points"),
        (["accounts", "caching", "house", "always"], "Caching is auto or off, not 'always'"),
        (["accounts", "rules", "house", "--models", "gtp-40"], "does not exist"),
        (["accounts", "rules", "house", "--models", "openai/gpt-4o,no-such/x"], "does not exist"),
        (["keys", "create", "--models", "claude-sonet-4-5"], "near it: anthropic/claude-sonnet"),
        (["accounts", "rules", "house", "--limit", "rpm=5"], "There is no limit 'rpm'"),
        (["accounts", "rules", "house", "--limit", "key_rpm=many"], "'key_rpm=many' is no limit"),
        (["users", "create", "eve"], "no e-mail address"),
        (
            ["users", "create", "eve@example.com", "--role", "king"],
            "Roles are member, admin, operator, metrics",
        ),
        (["users", "role", "eve@example.com", "admin"], "The account has no user"),
        (
            ["keys", "create", "-n", "x", "--scopes", "everything"],
            "Scopes are inference, account, metrics, operator",
        ),
        (["keys", "create", "-n", "x", "--expires", "soon"], "neither a duration"),
        (["keys", "create", "-n", "x", "--from", "here"], "neither an address nor a network"),
        (["keys", "create", "-a", "nobody", "-n", "x"], "There is no account 'nobody'"),
        (["keys", "revoke", "K"], "There is no active key 'K'"),
        (["keys", "show", "K"], "There is no active key 'K'"),
        (["budgets", "set", "5"], "Name one: --key"),
        (
            ["budgets", "set", "5", "-a", "house", "--per", "year"],
            "A period is total, day, week, month",
        ),
        (["budgets", "set", "five", "-a", "house"], "not an amount in US dollars"),
        (["budgets", "delete", "-a", "house"], "There is no budget"),
        (["credits", "topup", "house", "0.0000000001"], "at most nine decimals"),
        (["credits", "refund", "what"], "is no id of a call"),
        (["credits", "refund-payment", "stripe:x"], "There is no payment"),
        (
            ["calls", "show", "chatcmpl-01HZZZZZZZZZZZZZZZZZZZZZZZ"],
            "There is no call '01HZZZZZZZZZZZZZZZZZZZZZZZ'",
        ),
    ],
)
def test_what_is_wrong_is_a_sentence(gatewayz, words, message):
    assert message in gatewayz(*words, status=2)


def test_people_have_roles_and_their_keys_follow(gatewayz):
    gatewayz("accounts", "create", "Acme", "--id", "acme")
    person = gatewayz.json("users", "create", "Eve@Example.com", "-a", "acme", "--name", "Eve")
    assert (person["email"], person["role"]) == ("eve@example.com", "member")
    gatewayz("users", "role", "eve@example.com", "admin", "-a", "acme")
    gatewayz("users", "disable", person["id"], "-a", "acme")
    assert [
        (row["role"], row["state"]) for row in gatewayz.json("users", "list", "-a", "acme")
    ] == [("admin", "disabled")]
    assert "no user" in gatewayz("keys", "create", "-a", "acme", "-u", "eve@example.com", status=2)
    gatewayz("users", "disable", person["id"], "-a", "acme", "--undo")
    key = gatewayz.json("keys", "create", "-a", "acme", "-u", "eve@example.com")
    assert (key["user"], key["scopes"]) == (person["id"], ["inference"])
    assert "used already" in gatewayz("users", "create", "eve@example.com", status=2)


def test_a_key_is_created_shown_rotated_and_revoked(gatewayz):
    gatewayz("accounts", "create", "Acme", "--id", "acme")
    key = gatewayz.json(
        "keys",
        "create",
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
        "gpt-4o",
    )
    assert is_well_formed(key["secret"])
    gatewayz("budgets", "set", "1.50", "--per", "day", "--key", key["id"])
    gatewayz("keys", "caching", key["id"], "off")
    assert gatewayz.json("keys", "show", key["id"])["caching"] == "off"
    shown = gatewayz.json("keys", "show", key["id"])
    assert (shown["limits"], shown["addresses"], shown["models"], shown["state"]) == (
        {"key_rpm": 60},
        ["10.0.0.0/8"],
        ["openai/gpt-4o"],
        "active",
    )
    assert shown["budget"]["limit"] == 1_500_000_000
    assert "secret" not in shown
    rotated = gatewayz.json("keys", "rotate", key["id"], "--keep", "1h")
    assert (rotated["limits"], rotated["caching"]) == ({"key_rpm": 60}, "off")
    assert gatewayz.json("keys", "show", rotated["id"])["budget"]["limit"] == 1_500_000_000
    gatewayz("keys", "revoke", key["id"])
    assert "There is no active key" in gatewayz("keys", "revoke", key["id"], status=2)
    assert {row["id"]: row["state"] for row in gatewayz.json("keys", "list", "-a", "acme")} == {
        key["id"]: "revoked",
        rotated["id"]: "active",
    }
    assert key["secret"] not in gatewayz("keys", "list") + gatewayz("audit", "list", "--json")


def test_what_makes_a_key_adds_one_and_what_ends_one_is_called_so_and_asks(gatewayz):
    for words in (("keys", "create"), ("keys", "make"), ("keys", "create", "--user", "")):
        assert is_well_formed(gatewayz(*words).split()[0])
    assert is_well_formed(gatewayz("keys", "reset", "--yes").split()[0])
    assert "Aborted" in gatewayz("keys", "reset", status=1)
    assert is_well_formed(gatewayz("keys", "reset", "-y").split()[0])
    assert sorted((row["name"], row["state"]) for row in gatewayz.json("keys", "list")) == [
        *[("", "active")] * 3,
        ("bootstrap", "active"),
        ("bootstrap", "revoked"),
    ]


def test_the_words_of_older_versions_still_work(gatewayz):
    gatewayz("budgets", "set", "5", "-a", "house")
    gatewayz("budgets", "remove", "-a", "house")
    assert is_well_formed(gatewayz("keys", "make").split()[0])
    assert "There are none" in gatewayz("webhooks", "notices")
    assert "make" not in gatewayz("keys", "--help").split()


def test_a_key_is_not_made_with_another_machines_secret(gatewayz, location, tmp_path):
    gatewayz("keys", "create", "-n", "one")
    elsewhere = Commands(location, tmp_path / "elsewhere")
    assert "made with another secret" in elsewhere("keys", "create", "-n", "two", status=2)


def test_budgets_of_keys_accounts_and_end_users_are_listed_and_deleted(gatewayz):
    gatewayz("accounts", "create", "Acme", "--id", "acme")
    gatewayz("budgets", "set", "100", "--per", "month", "-a", "acme")
    gatewayz("budgets", "set", "2", "--per", "week", "-a", "acme", "--end-user", "eve")
    gatewayz("budgets", "set", "3", "--end-user", "guest")
    listed = gatewayz.json("budgets", "list", "-a", "acme")
    assert [
        (row["subject"], row["limit_usd"], row["period"], row["left_usd"]) for row in listed
    ] == [("account:acme", "100", "month", "100"), ("user:acme/eve", "2", "week", "2")]
    assert [row["subject"] for row in gatewayz.json("budgets", "list")] == ["user:house/guest"]
    gatewayz("budgets", "delete", "-a", "acme", "--end-user", "eve")
    assert "account:acme" in gatewayz("budgets", "list", "-a", "acme")
    assert "user:acme" not in gatewayz("budgets", "list", "-a", "acme")
