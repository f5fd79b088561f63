"""Webhooks as Standard Webhooks defines them (github.com/standard-webhooks): where they may go, and
their headers, which its own library signs.

What is signed is `id.timestamp.body`, byte for byte, by HMAC-SHA256 under a secret that only sender
and receiver know.
"""

import base64
import binascii
import ipaddress
from datetime import UTC, datetime

from standardwebhooks import Webhook

from gatewayz.core.addresses import is_public
from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import parse_url

Headers = tuple[tuple[str, str], ...]
PREFIX = "whsec_"
SECRET_BYTES = 32
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
"""Of a secret, as the specification bounds it."""
MAX_URL = 2_048


def secret_text(secret: bytes) -> str:
    """A secret as it is shown: `whsec_` and base64."""
    return PREFIX + base64.b64encode(secret).decode()


def secret_from_text(text: str) -> bytes:
    """The secret's bytes. Faults: `bad_request`, without quoting the text."""
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        secret = b""
    if not text.startswith(PREFIX) or not MIN_SECRET_BYTES <= len(secret) <= MAX_SECRET_BYTES:
        raise Fault(
            "bad_request",
            f"secret: a webhook's secret is {PREFIX} followed by "
            f"{MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes in base64.",
            param="secret",
        )
    return secret


def webhook_headers(secret: bytes, message: str, at_s: int, body: bytes) -> Headers:
    """The headers of a message, a text in UTF-8, that is sent at `at_s`, seconds since the epoch.

    Example: `(("webhook-id", "msg_1"), ("webhook-timestamp", "1795559244"), ("webhook-signature",
    "v1,…"))`
    """
    sent_at = datetime.fromtimestamp(at_s, UTC)
    signature = Webhook(secret).sign(message, sent_at, body.decode())
    return (
        ("webhook-id", message),
        ("webhook-timestamp", str(at_s)),
        ("webhook-signature", signature),
    )


def validate_webhook_url(url: str, *, private: bool) -> str:
    """The URL, if a webhook may go there; `private`: also without TLS, and to addresses that are
    not public.

    Names are resolved, and what they resolve to is checked, whenever something is sent. Faults:
    `bad_request`.
    """
    parts = parse_url(url)
    if parts is None or len(url) > MAX_URL:
        raise _invalid_url(
            "it must begin with https:// and a host, without spaces, and have at most "
            f"{MAX_URL} characters"
        )
    if parts.has_userinfo or parts.has_fragment:
        raise _invalid_url("it must have no user name, password or fragment")
    if not private and (not parts.tls or not _maybe_public(parts.host)):
        raise _invalid_url(
            "it must be https, at a public address; notifications.private_addresses allows others"
        )
    return url


def _maybe_public(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return is_public(host)


def _invalid_url(why: str) -> Fault:
    return Fault("bad_request", f"url: {why}.", param="url")
