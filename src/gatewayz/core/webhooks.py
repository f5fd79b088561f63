"""Webhooks as Standard Webhooks defines them (github.com/standard-webhooks): where they may go, how they are signed.

What is signed is `id.timestamp.body`, byte for byte, by HMAC-SHA256 under a secret that only sender and receiver know.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
from urllib.parse import urlsplit

from gatewayz.core.addresses import is_public
from gatewayz.core.faults import Fault

PREFIX = "whsec_"
SECRET_BYTES = 32
LEAST_BYTES, MOST_BYTES = 24, 64
"""Of a secret, as the specification bounds it."""
MAX_URL = 2_048
URL = re.compile(rf"https?://[!-~]{{1,{MAX_URL}}}")
"""Printable ASCII without spaces: what goes into the head of a request cannot break it."""


def secret_text(secret: bytes) -> str:
    """A secret as it is written."""
    return PREFIX + base64.b64encode(secret).decode()


def secret_from(text: str) -> bytes:
    """The secret that is written. Faults: `bad_request`, without what was written."""
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX).encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        secret = b""
    if not text.startswith(PREFIX) or not LEAST_BYTES <= len(secret) <= MOST_BYTES:
        why = (
            f"a webhook's secret is {PREFIX} and the base64 of {LEAST_BYTES} to {MOST_BYTES} bytes"
        )
        raise Fault("bad_request", f"secret: {why}.", param="secret")
    return secret


def signature(secret: bytes, message: str, at_s: int, body: bytes) -> str:
    """What `webhook-signature` says of a message that is sent at this moment."""
    signed = f"{message}.{at_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def checked_url(url: str, *, private: bool) -> str:
    """The address, if a webhook may go there; `private`: also without TLS, and to addresses that are not public.

    Names are resolved, and what they resolve to is checked, whenever something is sent. Faults: `bad_request`.
    """
    if len(url) > MAX_URL or not URL.fullmatch(url):
        raise _refused(
            f"an address begins with https:// and has at most {MAX_URL} characters, none of them a space"
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        numbered = parts.port is None or parts.port > 0
    except ValueError:
        raise _refused("it is no address") from None
    if not host or not numbered or "@" in parts.netloc or parts.fragment:
        raise _refused("an address has a host, and neither a name nor a password nor a fragment")
    if not private and (parts.scheme != "https" or not _maybe_public(host)):
        raise _refused(
            "it must be https, at a public address; notices.private_addresses allows others"
        )
    return url


def _maybe_public(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return is_public(host)


def _refused(why: str) -> Fault:
    return Fault("bad_request", f"url: {why}.", param="url")
