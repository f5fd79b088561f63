"""`gatewayz providers`: keys from standard input, listed masked, removed; switches; and what the doctor says of them."""

import pytest

from tests.support.commands import Commands, run_in_process

KEY = "gsk_set-by-a-command-000000001"


@pytest.fixture
def kind():
    """One database is enough: what commands say is decided above the store."""
    return "sqlite"


@pytest.fixture
def gatewayz(location, tmp_path):
    commands = Commands(location, tmp_path)
    commands("migrate")
    return commands


def row_of(gatewayz, name):
    return next(row for row in gatewayz.json("providers") if row["provider"] == name)


def test_a_key_from_standard_input_is_stored_listed_masked_and_removed(gatewayz):
    assert row_of(gatewayz, "groq")["state"] == "off"
    said = gatewayz("providers", "set-key", "groq", given=f"{KEY}\n")
    assert "gsk…0001" in said
    assert KEY not in said + gatewayz("providers", "keys") + gatewayz("audit", "list")
    [key] = gatewayz.json("providers", "keys", "groq")
    assert (key["key"], key["weight"]) == ("gsk…0001", 1)
    assert row_of(gatewayz, "groq")["key_source"] == "set by command or API"
    assert "asked with its stored key gsk…0001" in gatewayz("doctor")
    gatewayz("providers", "remove-key", "groq")
    assert row_of(gatewayz, "groq")["state"] == "off"
    assert "No such key is stored" in gatewayz("providers", "remove-key", "groq", status=2)


def test_of_several_stored_keys_one_is_named(gatewayz):
    first = gatewayz("providers", "set-key", "groq", given=KEY).split()[0]
    gatewayz("providers", "set-key", "groq", "--beside", given=KEY[:-1] + "2")
    said = gatewayz("providers", "remove-key", "groq", status=2)
    assert first in said
    assert "gsk…0002" in said
    gatewayz("providers", "remove-key", "groq", first)
    assert [row["key"] for row in gatewayz.json("providers", "keys")] == ["gsk…0002"]


def test_a_provider_is_switched_off_with_a_reason_and_on_again(gatewayz):
    gatewayz("providers", "set-key", "groq", given=KEY)
    gatewayz("providers", "off", "groq", "--reason", "too slow")
    assert row_of(gatewayz, "groq")["why_off"] == "switched off by an operator: too slow"
    assert "gatewayz providers on groq" in gatewayz("doctor")
    gatewayz("providers", "on", "groq")
    assert row_of(gatewayz, "groq")["state"] == "on"
    assert "it still needs something" in gatewayz("providers", "on", "openai")


@pytest.mark.parametrize(
    ("words", "given", "says"),
    [
        (("set-key", "grok9"), KEY, "no provider 'grok9'"),
        (("keys", "nobody"), "", "no provider 'nobody'"),
        (("off", "nobody"), "", "no provider 'nobody'"),
        (("set-key", "groq"), "“curly”", "U+201C"),
        (("set-key", "groq"), "two\nlines", "line break"),
        (("set-key", "groq"), "", "empty"),
        (("set-key", "groq", "--weight", "0"), KEY, "weight"),
    ],
)
def test_a_wrong_input_is_answered_by_a_sentence(gatewayz, words, given, says):
    assert says in gatewayz("providers", *words, given=given, status=2)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"GROQ_API_KEY": "“sk-pasted-0123”"}, "GROQ_API_KEY contains the character U+201C"),
        (
            {"GATEWAYZ_PROVIDERS__GROQ__KEY": "sk-pasted\u200b0123"},
            "providers.groq.key contains the character U+200B",
        ),
    ],
)
def test_the_doctor_says_which_key_no_header_carries(tmp_path, environment, says):
    more = {
        **environment,
        "OPENAI_API_KEY": "sk-fine-0123456789",
        "GATEWAYZ_DATA_DIR": str(tmp_path),
    }
    _, printed = run_in_process("doctor", env=more)
    assert says in printed
    assert "pasted" not in printed
    assert "openai" in printed.split("providers on")[1].splitlines()[0]
