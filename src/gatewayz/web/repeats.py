"""Repeats: the key by which a client names a request, and what makes two requests the same one.

The mode (streamed or whole) makes no difference: a kept answer is given in the mode that is asked for.
"""

import hashlib
from collections.abc import Mapping

from msgspec.json import encode

from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.dialects.jsontext import client_object

HEADER = "idempotency-key"
MAX_KEY = 255
MODE = ("stream", "stream_options")


def key_of(headers: Mapping[str, str]) -> str:
    """The key that a client gave its request; empty for none. Faults: `bad_request`."""
    key = headers.get(HEADER, "").strip()
    if len(key) > MAX_KEY or not key.isascii() or not key.isprintable():
        raise Fault(
            "bad_request",
            f"Idempotency-Key must have at most {MAX_KEY} printable ASCII characters.",
        )
    return key


def fingerprint(principal: Principal, path: str, body: bytes, *, by: str = "") -> str:
    """What two requests of an account have in common if they ask for the same, `by` the same if that is said."""
    fields = {
        name: value for name, value in client_object(body or b"{}").items() if name not in MODE
    }
    asked = encode([principal.account, path, fields, *([by] if by else [])], order="sorted")
    return hashlib.sha256(asked).hexdigest()
