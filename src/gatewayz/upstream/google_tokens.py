"""Access tokens of Google: fetched once for all who wait, kept until shortly before they expire.

Law: at most one request for a credential is under way, and no fault holds anything of a credential
or a token.
"""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.clock import Clock
from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import unsendable_character
from gatewayz.core.secrets import Secret
from gatewayz.ports.transport import Transport
from gatewayz.providers.spec import Credential
from gatewayz.upstream.google_accounts import GoogleAccount, account_from_text, is_inline

REFRESH_EARLY_S = 300.0
"""A token is replaced this long before it expires; until it does it serves if none can be had."""
MIN_REFRESH_AGE_S = 10.0
"""A token this young was not refused for its age: another one would be refused too."""
FETCH_TIMEOUT_S = 10.0
HTTP_OK = 200
MAX_ANSWER_BYTES = 64 * 2**10
MAX_FILE_BYTES = 64 * 2**10
MAX_CODE_CHARS = 40
MAX_ACCOUNTS = 256
"""Credentials whose tokens are kept; operators have a few."""
FAULT_KINDS = {429: "upstream_limited", 408: "upstream_timeout", 504: "upstream_timeout"}
"""What a refusal of the issuer means; other 4xx are about the credential, 5xx about the issuer."""


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
        request = state.account.token_request(self._clock.wall_ms() // 1000)
        sent_at = self._clock.now()
        async with self._transport.send(replace(request, proxy=proxy)) as exchange:
            body = await exchange.read(MAX_ANSWER_BYTES)

        answer = _parse_object(body)
        if exchange.status != HTTP_OK:
            # The account may have been replaced in its file meanwhile.
            state.account = None
            raise _token_fault(credential, exchange.status, answer)
        return _token_from_answer(credential, answer, sent_at)


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


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _token_fault(credential: Credential, status: int, answer: dict[str, Any]) -> Fault:
    kind = FAULT_KINDS.get(status) or ("upstream_auth" if 400 <= status < 500 else "upstream_error")
    code = answer.get("error")
    # Only a word that cannot hold a secret is repeated.
    reason = ""
    if isinstance(code, str) and code.replace("_", "").isalpha():
        reason = f" ({code[:MAX_CODE_CHARS]})"
    return Fault(kind, f"{credential.id}: Google gave no access token: HTTP {status}{reason}")


def _token_from_answer(
    credential: Credential, answer: dict[str, Any], sent_at: float
) -> AccessToken:
    secret, life_s = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(secret, str) or not secret or not isinstance(life_s, int | float):
        raise Fault("upstream_broken", f"{credential.id}: Google's answer holds no access token")
    if odd := unsendable_character(secret):
        raise Fault("upstream_broken", f"{credential.id}: Google's access token contains {odd}")
    return AccessToken(Secret(secret), fetched_at=sent_at, expires_at=sent_at + life_s)
