"""What HTTP's grammar lets stand where: whatever is read as a URL, an origin or a header stays in its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import (
    is_header_name,
    is_origin,
    mask_userinfo,
    parse_url,
    unsendable_character,
)
from gatewayz.core.requests import ChatRequest
from gatewayz.core.webhooks import validate_webhook_url
from gatewayz.dialects.anthropic.request import headers_of
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import ProviderSettings
from gatewayz.upstream.package_index import index_url
from gatewayz.upstream.proxies import proxy_from_url

NO_URLS = [
    "",
    "api.test",
    "//api.test/v1",
    "ftp://api.test/",
    "http://",
    "http:///v1",
    "http://[::1",
    "http://api.test:0/",
    "http://api.test:99999/",
    "http://api.test:x/",
    "http://a b/",
    "http://api.test/a b",
    "http://api.test/\r\nX-Injected: 1",
    "http://api.test\t/",
    "http://api\x00.test/",
    "http://äpi.test/",
    "http://api.test/\u2028",
    "http://api<x>.test/",
    'http://api".test/',
    "http://api.test\\@evil.test\\x/",
    "http://" + "a" * 9_000,
]


@pytest.mark.parametrize("text", NO_URLS)
def test_what_is_no_url_is_none_wherever_one_is_read(text):
    assert parse_url(text) is None
    with pytest.raises(Fault):
        validate_webhook_url(text, private=True)
    if text:
        with pytest.raises(Fault):
            index_url(text, {})
        rows, settings = provider_rows(), {"openai": ProviderSettings(key="sk-x")}
        moved = providers_from(rows, {"OPENAI_BASE_URL": text}, settings)["openai"]
        assert "is no http or https URL" in moved.off
    if "://" in text:
        assert proxy_from_url(text) is None


@given(st.text())
def test_a_url_that_is_one_cannot_end_a_line(text):
    url = parse_url(f"http://api.test/{text}")
    if url is not None:
        assert (url.host, url.port) == ("api.test", 80)
        assert not any(each in url.target + url.authority for each in " \r\n\t\x00")


@given(st.text(), st.text())
def test_a_header_that_can_be_sent_stays_in_its_line(name, value):
    if is_header_name(name) and not unsendable_character(value):
        assert f"{name}: {value}".encode("ascii").splitlines() == [f"{name}: {value}".encode()]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://robot:pw@proxy:1/x", "http://***@proxy:1/x"),
        ("robot:pw@proxy:1", "***@proxy:1"),
        ("http://robot:p@w@proxy", "http://***@proxy"),
        ("http://proxy:1/a@b", "http://proxy:1/a@b"),
        ("socks5://u:p@x", "socks5://***@x"),
        ("proxy", "proxy"),
    ],
)
def test_a_name_and_a_password_in_a_url_are_not_shown(text, shown):
    assert mask_userinfo(text) == shown


@pytest.mark.parametrize(
    "text", ["https://a.test", "http://localhost:3000", "https://[2001:db8::1]:8443"]
)
def test_an_origin_is_what_browsers_send(text):
    assert is_origin(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "null",
        "a.test",
        "https://a.test/",
        "https://a.test:443",
        "http://a.test:80",
        "https://A.test",
        "https://u@a.test",
        "https://a.test:0",
        "https://a.test?x",
        "ftp://a.test",
    ],
)
def test_what_browsers_do_not_send_is_no_origin(text):
    assert not is_origin(text)


@pytest.mark.parametrize(
    "value", ["a\r\nX-Injected: 1", "a\nb", "\x00", "“a”", 1, ["a"], {"a": 1}, None]
)
def test_a_field_of_a_body_does_not_become_a_header_that_is_none(value):
    request = ChatRequest(
        dialect="openai_chat", model="m", messages=(), extra={"anthropic-beta": value}
    )
    assert [name for name, _ in headers_of(request)] == ["anthropic-version"]
    fine = ChatRequest(
        dialect="openai_chat", model="m", messages=(), extra={"anthropic-beta": "context-1m"}
    )
    assert headers_of(fine)[1:] == (("anthropic-beta", "context-1m"),)


def test_the_simulator_is_on_before_it_has_an_address():
    assert providers_from(provider_rows(), {}, {})["simulator"].off == ""
