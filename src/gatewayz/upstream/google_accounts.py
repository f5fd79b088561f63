"""Google's accounts, as they are written down, and the request that asks for an access token.

Forms: a service account's key file (RFC 7523, a JWT signed RS256), an `authorized_user` file of
application-default credentials (a refresh token), and the metadata server of a Google machine.
"""

import base64
import binascii
import json
from typing import Any
from urllib.parse import urlencode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Struct

from gatewayz.core.calls import HttpRequest
from gatewayz.core.faults import Fault
from gatewayz.core.secrets import Secret

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, no password
ASSERTION_LIFE_S = 3_600
"""The longest that Google accepts an assertion for."""
MAX_TYPE_CHARS = 40
METADATA_PREFIX = "metadata"
METADATA_URL = "http://metadata.google.internal"
METADATA_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
HEADERS = (("Accept", "application/json"), ("Accept-Encoding", "identity"))
FORM = ("Content-Type", "application/x-www-form-urlencoded")


class ServiceAccount(Struct, frozen=True):
    """A key file of type `service_account`."""

    email: str
    key_id: str
    key: RSAPrivateKey
    token_uri: str

    def token_request(self, now_s: int) -> HttpRequest:
        """The request that exchanges a signed assertion for a token. `now_s` is Unix time."""
        header = {"alg": "RS256", "typ": "JWT", "kid": self.key_id}
        claims = {
            "iss": self.email,
            "scope": SCOPE,
            "aud": self.token_uri,
            "iat": now_s,
            "exp": now_s + ASSERTION_LIFE_S,
        }
        signed = b".".join([_base64url(header), _base64url(claims)])
        signature = self.key.sign(signed, PKCS1v15(), SHA256())
        assertion = b".".join([signed, base64.urlsafe_b64encode(signature).rstrip(b"=")])
        return _form(self.token_uri, {"grant_type": JWT_BEARER, "assertion": assertion.decode()})


class AuthorizedUser(Struct, frozen=True):
    """A file that `gcloud auth application-default login` wrote."""

    client_id: str
    client_secret: Secret
    refresh_token: Secret
    token_uri: str

    def token_request(self, now_s: int) -> HttpRequest:
        fields = {
            "grant_type": "refresh_token",
            "client_id": self.client_id,
            "client_secret": self.client_secret.reveal(),
            "refresh_token": self.refresh_token.reveal(),
        }
        return _form(self.token_uri, fields)


class MetadataServer(Struct, frozen=True):
    """The account that a Google machine runs under."""

    url: str = METADATA_URL

    def token_request(self, now_s: int) -> HttpRequest:
        return HttpRequest(
            "GET", self.url + METADATA_PATH, (("Metadata-Flavor", "Google"), *HEADERS)
        )


GoogleAccount = ServiceAccount | AuthorizedUser | MetadataServer


def account_from_text(text: str) -> GoogleAccount:
    """The account that is written in `text`: JSON, base64 of JSON, `metadata`, or `metadata:URL`.

    Faults: `upstream_auth` says what is wrong, and nothing of what was read.
    """
    if text == METADATA_PREFIX:
        return MetadataServer()
    if text.startswith(f"{METADATA_PREFIX}:"):
        return MetadataServer(text.removeprefix(f"{METADATA_PREFIX}:").rstrip("/"))
    fields = _parse_object(text)
    match fields.get("type"):
        case "service_account":
            return _parse_service_account(fields)
        case "authorized_user":
            names = ("client_id", "client_secret", "refresh_token")
            client_id, secret, refresh_token = (_require_text(fields, name) for name in names)
            return AuthorizedUser(
                client_id=client_id,
                client_secret=Secret(secret),
                refresh_token=Secret(refresh_token),
                token_uri=str(fields.get("token_uri") or TOKEN_URI),
            )
    kind = str(fields.get("type"))[:MAX_TYPE_CHARS]
    raise Fault("upstream_auth", f"a Google credential of type {kind!r} cannot be used")


def is_inline(text: str) -> bool:
    """Whether this is an account itself, not the path of a file that holds one."""
    return text.startswith((METADATA_PREFIX, "{")) or _decode_base64_json(text) is not None


def _parse_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(_decode_base64_json(text) or text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Fault("upstream_auth", "the Google credential is not JSON")
    return value


def _decode_base64_json(text: str) -> str | None:
    """The JSON that is in base64, as variables that take one line often hold it."""
    try:
        plain = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return plain if plain.lstrip().startswith("{") else None


def _require_text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise Fault("upstream_auth", f"the Google credential has no {name}")
    return value


def _parse_service_account(fields: dict[str, Any]) -> ServiceAccount:
    # Variables often hold the line breaks of the key as two characters.
    pem = _require_text(fields, "private_key").replace("\\n", "\n").encode()
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise Fault(
            "upstream_auth", "the private_key of the Google credential is not an RSA key"
        ) from None
    return ServiceAccount(
        email=_require_text(fields, "client_email"),
        key_id=str(fields.get("private_key_id") or ""),
        key=key,
        token_uri=str(fields.get("token_uri") or TOKEN_URI),
    )


def _base64url(value: dict[str, Any]) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=")


def _form(url: str, fields: dict[str, str]) -> HttpRequest:
    return HttpRequest("POST", url, (FORM, *HEADERS), urlencode(fields).encode())
