"""A key or a header that no request can carry is said at load, without quoting it; other providers go on."""

import pytest

from gatewayz.core.secrets import Secret
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import (
    Credential,
    CredentialSettings,
    ProviderChange,
    ProviderSettings,
)

ROWS = provider_rows()
FINE = "sk-fine-0123456789"
ODD = {
    "“sk-pasted-0123456789”": "U+201C",
    "sk-pasted-0123\x00456789": "U+0000",
    "sk-pasted-0123\r\nX-Injected: 1": "line break",
    "sk-pasted\u200b-0123456789": "U+200B",
    "sk-pasted-0123456789\x7f": "U+007F",
    "sk-pasted\udcff-0123456789": "U+DCFF",
}
PLACES = {
    "the environment": lambda key: ({"GROQ_API_KEY": key}, {}, {}),
    "the settings": lambda key: ({}, {"groq": ProviderSettings(key=key)}, {}),
    "several keys": lambda key: (
        {},
        {"groq": ProviderSettings(credentials=(CredentialSettings(key=key),))},
        {},
    ),
    "the store": lambda key: (
        {},
        {},
        {
            "groq": ProviderChange(
                credentials=(Credential(id="groq#1", key=Secret(key)),),
            )
        },
    ),
    "an own server": lambda key: (
        {},
        {
            "groq": ProviderSettings(
                base_url="http://box:1/v1", dialect="openai_chat", auth="optional_bearer", key=key
            )
        },
        {},
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("key", ODD, ids=ascii)
def test_a_provider_whose_key_no_header_carries_is_off_and_says_why(key, place):
    environment, settings, changes = PLACES[place](key)
    environment = environment | {"OPENAI_API_KEY": FINE}
    providers = providers_from(ROWS, environment, settings, changes)
    groq = providers["groq"]
    assert ODD[key] in groq.off
    assert groq.off == groq.unsendable
    assert groq.credentials == ()
    assert "pasted" not in groq.off
    assert (providers["openai"].off, providers["openai"].unsendable) == ("", "")


@pytest.mark.parametrize("key", ODD, ids=ascii)
def test_of_two_keys_the_one_that_can_be_sent_is_used(key):
    both = tuple(CredentialSettings(key=each) for each in (key, FINE))
    groq = providers_from(ROWS, {}, {"groq": ProviderSettings(credentials=both)})["groq"]
    assert groq.off == ""
    assert ODD[key] in groq.unsendable
    assert [credential.key.reveal() for credential in groq.credentials] == [FINE]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Team": "“blue”"},
        {"X-Team": "blue\r\nHost: elsewhere"},
        {"X-Team": "\x00"},
        {"X Team": "blue"},
        {"": "blue"},
        {"X-Team\r\nHost": "blue"},
    ],
)
def test_a_header_that_cannot_be_sent_switches_its_provider_off(headers):
    settings = {"groq": ProviderSettings(key=FINE, headers=headers)}
    providers = providers_from(ROWS, {"OPENAI_API_KEY": FINE}, settings)
    assert "header" in providers["groq"].off
    assert "blue" not in providers["groq"].off
    assert providers["openai"].off == ""


def test_a_header_from_the_environment_is_looked_at_too():
    name, variable = next(
        (name, variable) for name, row in ROWS.items() for variable in row.header_env.values()
    )
    environment = {ROWS[name].key_env[0]: FINE, variable: "“blue”"}
    assert "U+201C" in providers_from(ROWS, environment, {})[name].off


@pytest.mark.parametrize("key", ["not needed", "sk-~!@#$%^&*()", " sk-with-a-line-end\n"])
def test_what_a_header_carries_is_a_key(key):
    groq = providers_from(ROWS, {"GROQ_API_KEY": key}, {})["groq"]
    assert (groq.off, groq.unsendable, len(groq.credentials)) == ("", "", 1)
