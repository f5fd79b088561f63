"""Google's accounts, as they are written down, and google-auth's credentials made of them.

Forms: a service account's key file, an `authorized_user` file of application-default credentials, an
`external_account` file of workload identity federation (a token from a file, a URL or AWS), and the
metadata server of a Google machine, which is one request of our own: the library reads where it is
from the process's environment.
"""

import base64
import binascii
import json
import stat
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import parse_url
from gatewayz.core.secrets import Secret

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address, no password
MAX_TYPE_CHARS = 40
MAX_SOURCE_BYTES = 64 * 2**10
"""Of a file with the token that is exchanged."""
METADATA_PREFIX = "metadata"
METADATA_URL = "http://metadata.google.internal"
METADATA_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"

AccountKind = Literal["service_account", "authorized_user", "external_account", "metadata"]
REQUIRED_FIELDS: dict[str, tuple[AccountKind, tuple[str, ...]]] = {
    "service_account": ("service_account", ("client_email", "private_key")),
    "authorized_user": ("authorized_user", ("client_id", "client_secret", "refresh_token")),
    "external_account": ("external_account", ("audience", "subject_token_type", "token_url")),
}
"""What a file of each type must say, as text."""
UNSERVED_SOURCES = ("executable", "certificate")
"""Of an external account: programs are not run, client certificates not sent."""


class GoogleAccount(Struct, frozen=True):
    """An account; `document` is the file that describes it, `url` the metadata server.

    Example: `GoogleAccount("metadata", url="http://metadata.google.internal")`
    """

    kind: AccountKind
    document: Secret = Secret("{}")
    url: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.document.reveal())
        return value

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that its file names: they may be asked, beside Google's own."""
        urls = (parse_url(text) for text in _texts_in(self.fields))
        return frozenset(url.host for url in urls if url is not None)


def account_from_text(text: str) -> GoogleAccount:
    """The account that is written in `text`: JSON, base64 of JSON, `metadata`, or `metadata:URL`.

    Faults: `upstream_auth` says what is wrong, and nothing of what was read.
    """
    if text == METADATA_PREFIX:
        return GoogleAccount("metadata", url=METADATA_URL)
    if text.startswith(f"{METADATA_PREFIX}:"):
        url = text.removeprefix(f"{METADATA_PREFIX}:").rstrip("/")
        return GoogleAccount("metadata", url=url)
    fields = _parse_object(text)
    kind, names = REQUIRED_FIELDS.get(str(fields.get("type")), ("metadata", ()))
    if not names:
        shown = str(fields.get("type"))[:MAX_TYPE_CHARS]
        raise Fault("upstream_auth", f"a Google credential of type {shown!r} cannot be used")
    for name in names:
        if not isinstance(fields.get(name), str) or not fields[name]:
            raise Fault("upstream_auth", f"the Google credential has no {name}")
    if kind == "external_account":
        _check_source(fields.get("credential_source"))
    if kind == "service_account":
        # Variables often hold the line breaks of the key as two characters.
        fields["private_key"] = fields["private_key"].replace("\\n", "\n")
    if kind != "external_account":
        fields["token_uri"] = str(fields.get("token_uri") or TOKEN_URI)
    account = GoogleAccount(kind, Secret(json.dumps(fields)))
    open_credentials(account)
    return account


def open_credentials(account: GoogleAccount) -> Any:
    """google-auth's credentials for an account; imported with the first of them, as it takes time.

    Faults: `upstream_auth`.
    """
    errors = (import_module("google.auth.exceptions").GoogleAuthError, *MALFORMED)
    try:
        return _create_credentials(account.kind, account.fields)
    except errors:
        what = account.kind
    # Outside of the handler, so that nothing of the credential is in the fault's context.
    why = {"service_account": "the private_key of the Google credential is not an RSA key"}
    raise Fault("upstream_auth", why.get(what, f"the Google credential of type {what!r} is wrong"))


MALFORMED = (ValueError, TypeError, KeyError, AttributeError)
"""What the library raises for a file that is not as it should be."""


def _create_credentials(kind: AccountKind, fields: dict[str, Any]) -> Any:
    scopes = [SCOPE]
    match kind:
        case "service_account":
            module = import_module("google.oauth2.service_account")
            return module.Credentials.from_service_account_info(fields, scopes=scopes)
        case "authorized_user":
            names = ("client_id", "client_secret", "refresh_token", "token_uri")
            given = {name: fields[name] for name in names}
            return import_module("google.oauth2.credentials").Credentials(None, **given)
        case "external_account":
            is_aws = str(fields["credential_source"].get("environment_id", "")).startswith("aws")
            module = import_module(f"google.auth.{'aws' if is_aws else 'identity_pool'}")
            return module.Credentials.from_info(fields, scopes=scopes)
    raise ValueError(kind)


def check_source_file(account: GoogleAccount) -> None:
    """Whether the file with the token that is exchanged may be read. Faults: `upstream_auth`."""
    source = account.fields.get("credential_source")
    file = source.get("file") if isinstance(source, dict) else None
    if not isinstance(file, str):
        return
    try:
        state = Path(file).stat()
    except (OSError, ValueError):
        raise Fault("upstream_auth", "the file with the token to exchange is not there") from None
    if not stat.S_ISREG(state.st_mode) or state.st_size > MAX_SOURCE_BYTES:
        raise Fault(
            "upstream_auth",
            f"the file with the token to exchange is no file of at most {MAX_SOURCE_BYTES} bytes",
        )


def _check_source(source: Any) -> None:
    if not isinstance(source, dict):
        raise Fault("upstream_auth", "the Google credential has no credential_source")
    for name in UNSERVED_SOURCES:
        if name in source:
            raise Fault(
                "upstream_auth",
                f"the Google credential has a credential_source with {name}, which is not served;"
                " use file, url or aws",
            )


def _texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts_in(inner)]
    return [value] if isinstance(value, str) else []


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
