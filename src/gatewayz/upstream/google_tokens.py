"""Access tokens of Google: fetched once for all who wait, kept until shortly before they expire.

Law: at most one request for a credential is under way, and no fault holds anything of a credential
or a token.
"""

import asyncio
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from msgspec import Struct

from gatewayz.core.calls import HttpRequest
from gatewayz.core.clock import Clock
from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import unsendable_character
from gatewayz.core.secrets import Secret
from gatewayz.ports.transport import Transport
from gatewayz.providers.spec import Credential
from gatewayz.upstream.google_accounts import (
    MALFORMED,
    METADATA_PATH,
    GoogleAccount,
    account_from_text,
    check_source_file,
    is_inline,
    open_credentials,
)
from gatewayz.upstream.google_requests import (
    HTTP_OK,
    MAX_ANSWER_BYTES,
    TokenRequests,
    parse_object,
    token_fault,
)

REFRESH_EARLY_S = 300.0
"""A token is replaced this long before it expires; until it does it serves if none can be had."""
MIN_REFRESH_AGE_S = 10.0
"""A token this young was not refused for its age: another one would be refused too."""
FETCH_TIMEOUT_S = 10.0
METADATA_HEADERS = (("Accept", "application/json"), ("Accept-Encoding", "identity"))
MAX_FILE_BYTES = 64 * 2**10
MAX_ACCOUNTS = 256
"""Credentials whose tokens are kept; operators have a few."""


class AccessToken(Struct, frozen=True):
    """A token; times are monotonic seconds."""

    secret: Secret
    fetched_at: float
    expires_at: float


class _CredentialState:
    """What is known of one credential."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.account: GoogleAccount | None = None
        self.token: AccessToken | None = None


class GoogleTokens:
    """The port `AccessTokens`, for service accounts, users and machines of Google."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._states: dict[Secret, _CredentialState] = {}

    async def get_token(self, credential: Credential, proxy: str = "") -> Secret:
        state = self._state_for(credential)
        token = self._valid_token(state, REFRESH_EARLY_S)
        if token is None and state.lock.locked():
            # Somebody is fetching a new one: the old one serves while it lives.
            token = self._valid_token(state, 0.0)
        return token.secret if token is not None else await self._refresh(state, credential, proxy)

    def invalidate(self, credential: Credential, token: Secret) -> bool:
        state = self._state_for(credential)
        known = state.token
        if known is None or known.secret != token:
            return True
        if self._clock.now() - known.fetched_at < MIN_REFRESH_AGE_S:
            return False
        state.token = None
        return True

    def _state_for(self, credential: Credential) -> _CredentialState:
        state = self._states.get(credential.key)
        if state is None:
            if len(self._states) >= MAX_ACCOUNTS:
                self._states.clear()
            state = self._states[credential.key] = _CredentialState()
        return state

    def _valid_token(self, state: _CredentialState, early_s: float) -> AccessToken | None:
        """The token, unless it expires within `early_s`."""
        token = state.token
        if token is None or token.expires_at - early_s <= self._clock.now():
            return None
        return token

    async def _refresh(self, state: _CredentialState, credential: Credential, proxy: str) -> Secret:
        """A new token, for everybody who waits for the lock."""
        async with state.lock:
            token = self._valid_token(state, REFRESH_EARLY_S)
            if token is not None:
                return token.secret
            try:
                async with asyncio.timeout(FETCH_TIMEOUT_S):
                    state.token = token = await self._fetch(state, credential, proxy)
            except (Fault, TimeoutError) as error:
                token = self._valid_token(state, 0.0)
                if token is not None:
                    return token.secret
                if isinstance(error, Fault):
                    raise
                raise Fault(
                    "upstream_timeout",
                    f"{credential.id}: no access token within {FETCH_TIMEOUT_S:g} s",
                ) from None
        return token.secret

    async def _fetch(
        self, state: _CredentialState, credential: Credential, proxy: str
    ) -> AccessToken:
        if state.account is None:
            state.account = await asyncio.to_thread(load_account, credential)
        sent_at = self._clock.now()
        requests = TokenRequests(self._transport, state.account.hosts, proxy)
        try:
            if state.account.kind == "metadata":
                secret, life_s = await self._ask_metadata(state.account.url, proxy)
            else:
                secret, life_s = await asyncio.to_thread(fetch_token, state.account, requests)
        except Fault as fault:
            # The account may have been replaced in its file meanwhile.
            state.account = None
            raise Fault(
                fault.kind, f"{credential.id}: {fault.message}", blame=fault.blame
            ) from None
        finally:
            requests.close()
        return AccessToken(Secret(secret), fetched_at=sent_at, expires_at=sent_at + life_s)

    async def _ask_metadata(self, url: str, proxy: str) -> tuple[str, float]:
        """The token of the account that this machine runs under, and its life in seconds."""
        headers = (("Metadata-Flavor", "Google"), *METADATA_HEADERS)
        request = HttpRequest("GET", url + METADATA_PATH, headers, proxy=proxy)
        async with self._transport.send(request) as exchange:
            body = await exchange.read(MAX_ANSWER_BYTES)
        if exchange.status != HTTP_OK:
            raise token_fault(exchange.status, body)
        answer = parse_object(body)
        return _usable_token(answer.get("access_token"), answer.get("expires_in"))


def fetch_token(account: GoogleAccount, requests: TokenRequests) -> tuple[str, float]:
    """A token by google-auth, and its life in seconds. It blocks: for a thread.

    Faults: those of the transport; `upstream_auth` and the like for what the issuer refused.
    """
    check_source_file(account)
    credentials = open_credentials(account)
    errors = (import_module("google.auth.exceptions").GoogleAuthError, *MALFORMED, OSError)
    began = datetime.now(UTC).replace(tzinfo=None)
    try:
        credentials.refresh(requests)
        is_refreshed = credentials.expiry is not None
    except errors:
        is_refreshed = False
    # Outside of the handler: what the library says may hold something of the credential.
    if is_refreshed:
        return _usable_token(credentials.token, (credentials.expiry - began).total_seconds())
    if requests.last is None:
        raise Fault("upstream_auth", "the Google credential cannot be used")
    if requests.last.status != HTTP_OK:
        raise token_fault(requests.last.status, requests.last.data)
    raise Fault("upstream_broken", "Google's answer holds no access token")


def _usable_token(secret: object, life_s: object) -> tuple[str, float]:
    if not isinstance(secret, str) or not secret or not isinstance(life_s, int | float):
        raise Fault("upstream_broken", "Google's answer holds no access token")
    if odd := unsendable_character(secret):
        raise Fault("upstream_broken", f"Google's access token contains {odd}")
    return secret, life_s


def load_account(credential: Credential) -> GoogleAccount:
    """The account that the credential is, or that its file holds. Faults: `upstream_auth`."""
    text = credential.key.reveal()
    try:
        return account_from_text(text if is_inline(text) else _read_file(text))
    except OSError as error:
        raise Fault(
            "upstream_auth", f"{credential.id}: its file cannot be read: {error.strerror}"
        ) from None
    except Fault as fault:
        raise Fault(fault.kind, f"{credential.id}: {fault.message}") from None


def _read_file(path: str) -> str:
    with Path(path).expanduser().open("rb") as file:
        return file.read(MAX_FILE_BYTES).decode(errors="replace")
