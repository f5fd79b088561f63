"""Access tokens of Google: fetched once for everyone who waits, kept until shortly before they expire.

Law: at most one request for a credential is under way, and nothing of a credential or a token is in a fault.
"""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from gatewayz.core.clock import Clock
from gatewayz.core.faults import Fault
from gatewayz.core.secrets import Secret
from gatewayz.ports.transport import Transport
from gatewayz.providers.spec import Credential
from gatewayz.upstream.google_accounts import Account, account_from, is_written_out

EARLY_S = 300.0
"""A token is replaced this long before it expires; until then it serves when no new one is to be had."""
FRESH_S = 10.0
"""A token this young was not refused for its age: another one would be refused as well."""
WITHIN_S = 10.0
MAX_ANSWER_BYTES = 64 * 2**10
MAX_FILE_BYTES = 64 * 2**10
MAX_ACCOUNTS = 256
"""Credentials whose tokens are kept; operators have a few."""
KINDS = {429: "upstream_limited", 408: "upstream_timeout", 504: "upstream_timeout"}
"""What a refusal of the issuer means; other 4xx are about the credential, 5xx about the issuer."""


class Token(Struct, frozen=True):
    """A token; times are monotonic seconds."""

    secret: Secret
    fetched_at: float
    expires_at: float


class _Kept:
    """What is known of one credential."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.account: Account | None = None
        self.token: Token | None = None


class GoogleTokens:
    """The port `Tokens`, for service accounts, users and machines of Google."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self._clock = clock
        self._kept: dict[Secret, _Kept] = {}

    async def token(self, credential: Credential) -> Secret:
        kept = self._for(credential)
        held = self._alive(kept, EARLY_S)
        if held is None and kept.lock.locked():
            # Somebody is fetching one: the old one serves while it lives.
            held = self._alive(kept, 0.0)
        return held.secret if held is not None else await self._fetched(kept, credential)

    def refused(self, credential: Credential, token: Secret) -> bool:
        kept = self._for(credential)
        held = kept.token
        if held is None or held.secret != token:
            return True
        if self._clock.now() - held.fetched_at < FRESH_S:
            return False
        kept.token = None
        return True

    def _for(self, credential: Credential) -> _Kept:
        known = self._kept.get(credential.key)
        if known is None:
            if len(self._kept) >= MAX_ACCOUNTS:
                self._kept.clear()
            known = self._kept[credential.key] = _Kept()
        return known

    def _alive(self, kept: _Kept, early_s: float) -> Token | None:
        held = kept.token
        return held if held is not None and held.expires_at - early_s > self._clock.now() else None

    async def _fetched(self, kept: _Kept, credential: Credential) -> Secret:
        """A new token, for everybody who waits for the lock."""
        async with kept.lock:
            held = self._alive(kept, EARLY_S)
            if held is not None:
                return held.secret
            try:
                async with asyncio.timeout(WITHIN_S):
                    kept.token = held = await self._asked(kept, credential)
            except (Fault, TimeoutError) as error:
                held = self._alive(kept, 0.0)
                if held is None and isinstance(error, Fault):
                    raise
                if held is None:
                    raise Fault(
                        "upstream_timeout",
                        f"{credential.id}: no access token within {WITHIN_S:g} s",
                    ) from None
        return held.secret

    async def _asked(self, kept: _Kept, credential: Credential) -> Token:
        if kept.account is None:
            kept.account = await asyncio.to_thread(account_of, credential)
        wire = kept.account.request(self._clock.wall_ms() // 1000)
        asked_at = self._clock.now()
        async with self._transport.send(wire) as exchange:
            body = await exchange.read(MAX_ANSWER_BYTES)
        answer = _object(body)
        if exchange.status != 200:
            # The account may have been replaced in its file meanwhile.
            kept.account = None
            raise _refusal(credential, exchange.status, answer)
        return _token(credential, answer, asked_at)


def account_of(credential: Credential) -> Account:
    """The account that the credential is, or that is in the file it names. Faults: `upstream_auth`."""
    text = credential.key.reveal()
    try:
        return account_from(text if is_written_out(text) else _read(text))
    except OSError as error:
        raise Fault(
            "upstream_auth", f"{credential.id}: its file cannot be read: {error.strerror}"
        ) from None
    except Fault as fault:
        raise Fault(fault.kind, f"{credential.id}: {fault.message}") from None


def _read(path: str) -> str:
    with Path(path).expanduser().open("rb") as file:
        return file.read(MAX_FILE_BYTES).decode(errors="replace")


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _refusal(credential: Credential, status: int, answer: dict[str, Any]) -> Fault:
    kind = KINDS.get(status) or ("upstream_auth" if 400 <= status < 500 else "upstream_error")
    word = answer.get("error")
    said = f" ({word[:40]})" if isinstance(word, str) and word.replace("_", "").isalpha() else ""
    return Fault(kind, f"{credential.id}: Google gave no access token: HTTP {status}{said}")


def _token(credential: Credential, answer: dict[str, Any], asked_at: float) -> Token:
    secret, life_s = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(secret, str) or not secret or not isinstance(life_s, int | float):
        raise Fault("upstream_broken", f"{credential.id}: Google's answer holds no access token")
    return Token(Secret(secret), asked_at, asked_at + life_s)
