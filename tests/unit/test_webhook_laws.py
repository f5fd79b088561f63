"""Webhooks: what is signed can be verified by somebody else's code and by nobody else's key; where one may go."""

import base64
import os
import time

import openai
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from gatewayz.core.faults import Fault
from gatewayz.core.webhooks import (
    MAX_URL,
    secret_from_text,
    secret_text,
    validate_webhook_url,
    webhook_headers,
)
from tests.contract.test_public_addresses import PRIVATE
from tests.support.webhook_receiver import WebhookRequest

SECRET = bytes(range(32))


def signed_request(secret=SECRET, body=b'{"type":"x"}', *, id="msg_1", at_s=None):
    at_s = int(time.time()) if at_s is None else at_s
    headers = dict(webhook_headers(secret, id, at_s, body))
    return WebhookRequest("POST / HTTP/1.1", headers, body)


def test_the_signature_is_what_the_specification_says():
    """The example of the specification's own libraries (standardwebhooks, tests)."""
    secret = secret_from_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = webhook_headers(
        secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == (
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    )


@pytest.mark.parametrize(
    "body", [b"{}", '{"name":"caf\u00e9 \U0001f600"}'.encode(), b"", b"a\r\n."]
)
def test_the_librarys_own_verification_takes_what_we_sign_and_nothing_else(body):
    request = signed_request(body=body)
    receiver = Webhook(secret_text(SECRET))
    receiver.verify(body, request.headers, json_parse=False)
    for changed in ({"webhook-id": "msg_2"}, {"webhook-signature": "v1,AAAA"}):
        with pytest.raises(WebhookVerificationError):
            receiver.verify(body, {**request.headers, **changed}, json_parse=False)
    with pytest.raises(WebhookVerificationError):
        receiver.verify(body + b" ", request.headers, json_parse=False)


def test_openais_sdk_verifies_it_and_nothing_that_was_changed():
    request = signed_request()
    request.verify(secret_text(SECRET))
    for changed in (
        request._replace(body=request.body + b" "),
        request._replace(headers={**request.headers, "webhook-id": "msg_2"}),
        request._replace(
            headers={**request.headers, "webhook-timestamp": str(int(time.time()) + 1)}
        ),
        signed_request(os.urandom(32)),
    ):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            changed.verify(secret_text(SECRET))
    with pytest.raises(openai.InvalidWebhookSignatureError):
        signed_request(at_s=int(time.time()) - 3_600).verify(secret_text(SECRET))


def test_a_secret_is_read_as_it_is_written():
    assert secret_from_text(secret_text(SECRET)) == SECRET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "hunter2",
        base64.b64encode(SECRET).decode(),
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_not base64!",
        "whsec_caf\u00e9",
    ],
)
def test_what_is_no_secret_is_refused_without_being_repeated(text):
    with pytest.raises(Fault) as caught:
        secret_from_text(text)
    assert caught.value.param == "secret"
    assert not text or text not in caught.value.message or text == "whsec_"


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused_unless_it_is_allowed(address):
    url = f"https://[{address.partition('%')[0]}]/x" if ":" in address else f"https://{address}/x"
    with pytest.raises(Fault, match="public address"):
        validate_webhook_url(url, private=False)
    assert validate_webhook_url(url, private=True) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example",
        "ftp://hooks.example/",
        "https://",
        "https:///x",
        "https://u:p@hooks.example/",
        "https://u@hooks.example/",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nX: y",
        "https://hooks.example/\u00e9",
        "https://hooks.example:99999/",
        "https://hooks.example:x/",
        "https://hooks.example:0/",
        "https://hooks.example/#x",
        "https://[::1/",
        "https://hooks.example/" + "x" * MAX_URL,
    ],
)
def test_what_is_no_address_is_refused_whatever_is_allowed(url):
    for private in (False, True):
        with pytest.raises(Fault) as caught:
            validate_webhook_url(url, private=private)
        assert caught.value.kind == "bad_request"


def test_without_tls_only_where_private_addresses_are_allowed():
    with pytest.raises(Fault, match="https"):
        validate_webhook_url("http://hooks.example/", private=False)
    assert validate_webhook_url("http://10.0.0.1:8080/x", private=True)
    assert validate_webhook_url("https://hooks.example:8443/x?y=z", private=False)
