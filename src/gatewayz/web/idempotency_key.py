"""The `Idempotency-Key` by which a client names a request, and what makes two requests the same.

Whether the answer is streamed makes no difference: it is replayed in the mode that the repeat asks
for.
"""

import hashlib
from collections.abc import Mapping

from msgspec.json import encode

from gatewayz.core.calls import Principal
from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.jsontext import parse_client_object

IDEMPOTENCY_HEADER = "idempotency-key"
MAX_KEY_CHARS = 255
MODE_FIELDS = ("stream", "stream_options")


def idempotency_key(headers: Mapping[str, str]) -> str:
    """The key of a request; empty if it has none. Faults: `bad_request`."""
    key = headers.get(IDEMPOTENCY_HEADER, "").strip()
    if len(key) > MAX_KEY_CHARS or not key.isascii() or not key.isprintable():
        raise Fault(
            "bad_request",
            f"Idempotency-Key must have at most {MAX_KEY_CHARS} printable ASCII characters.",
        )
    return key


def request_fingerprint(principal: Principal, path: str, body: bytes, *, by: str = "") -> str:
    """Equal for two requests of an account that ask for the same, `by` the same if it is set."""
    fields = {
        name: value
        for name, value in parse_client_object(body or b"{}").items()
        if name not in MODE_FIELDS
    }
    identity = encode([principal.account, path, fields, *([by] if by else [])], order="sorted")
    return hashlib.sha256(identity).hexdigest()
