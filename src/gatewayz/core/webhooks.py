"""Webhooks as Standard Webhooks defines them (github.com/standard-webhooks): where they may go, and
their headers, which its own library signs.

What is signed is `id.timestamp.body`, byte for byte, by HMAC-SHA256 under a secret that only sender
and receiver know.
"""

import base64
import binascii
import ipaddress
import re
from datetime import UTC, datetime
from urllib.parse import urlsplit

from standardwebhooks import Webhook

from gatewayz.core.addresses import is_public
from gatewayz.core.faults import Fault

Headers = tuple[tuple[str, str], ...]
PREFIX = "whsec_"
SECRET_BYTES = 32
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
"""Of a secret, as the specification bounds it."""
MAX_URL = 2_048
URL_PATTERN = re.compile(rf"https?://[!-~]{{1,{MAX_URL}}}")
"""Printable ASCII without spaces: what goes into the head of a request cannot break it."""


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
    if len(url) > MAX_URL or not URL_PATTERN.fullmatch(url):
        raise _invalid_url(
            f"it must begin with https:// and have at most {MAX_URL} characters, without spaces"
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        has_valid_port = parts.port is None or parts.port > 0
    except ValueError:
        raise _invalid_url("it is not a URL") from None
    if not host or not has_valid_port or "@" in parts.netloc or parts.fragment:
        raise _invalid_url("it must have a host, and no user name, password or fragment")
    if not private and (parts.scheme != "https" or not _maybe_public(host)):
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
