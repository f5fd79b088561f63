"""Requests of google-auth, sent by the one transport: bounded, to known hosts, by the same proxies.

The library calls from a thread; the request is carried out in the loop. A status for which the
library would wait and ask again ends the attempt: waiting is the business of whoever needs the token.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, NamedTuple

import msgspec

from gatewayz.core.calls import HttpRequest
from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import parse_url
from gatewayz.ports.transport import Transport

HTTP_OK = 200
MAX_ANSWER_BYTES = 64 * 2**10
MAX_REQUESTS = 8
"""Of one token: AWS takes four, an impersonation one more."""
MAX_CODE_CHARS = 40
GOOGLE_DOMAIN = "googleapis.com"
FAULT_KINDS = {429: "upstream_limited", 408: "upstream_timeout", 504: "upstream_timeout"}
"""What a refusal of the issuer means; other 4xx are about the credential, 5xx about the issuer."""
LENT_HEADERS = {"accept-encoding", "content-length", "host", "connection"}
"""Headers that are the transport's own."""


class TokenResponse(NamedTuple):
    """An answer, as the library wants it."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class TokenRequests:
    """The library's `Request` for one token; `last` is the last answer. Close it when nobody waits."""

    def __init__(self, transport: Transport, hosts: frozenset[str], proxy: str) -> None:
        self.last: TokenResponse | None = None
        self._transport = transport
        self._hosts = hosts
        self._proxy = proxy
        self._loop = asyncio.get_running_loop()
        self._left = MAX_REQUESTS
        self._closed = False
        self._future: Future[TokenResponse] | None = None

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> TokenResponse:
        """One request, from the library's thread. Faults: those of the transport, `upstream_auth`
        for a host that is neither Google's nor named in the account.
        """
        self._left -= 1
        if self._left < 0 or self._closed:
            raise Fault("upstream_error", "no access token: too many requests were wanted")
        parts = parse_url(url)
        if parts is None or not self._may_ask(parts.host, tls=parts.tls):
            raise Fault("upstream_auth", "no access token: a host is named that is not Google's")
        lines = [
            (name, str(value))
            for name, value in (headers or {}).items()
            if name.lower() not in LENT_HEADERS
        ]
        request = HttpRequest(
            method,
            url,
            (*lines, ("Accept-Encoding", "identity")),
            body.encode() if isinstance(body, str) else body or b"",
            proxy=self._proxy,
        )
        self._future = asyncio.run_coroutine_threadsafe(self._send(request), self._loop)
        if self._closed:
            self._future.cancel()
        try:
            self.last = self._future.result()
        except CancelledError:
            raise Fault("upstream_timeout", "no access token in time") from None
        status = self.last.status
        if status in FAULT_KINDS or status >= 500:
            raise token_fault(status, self.last.data)
        return self.last

    def close(self) -> None:
        """Nothing more is sent, and what is under way is broken off."""
        self._closed = True
        if self._future is not None:
            self._future.cancel()

    def _may_ask(self, host: str, *, tls: bool) -> bool:
        is_google = tls and (host == GOOGLE_DOMAIN or host.endswith(f".{GOOGLE_DOMAIN}"))
        return is_google or host in self._hosts

    async def _send(self, request: HttpRequest) -> TokenResponse:
        async with self._transport.send(request) as exchange:
            body = await exchange.read(MAX_ANSWER_BYTES)
            return TokenResponse(exchange.status, exchange.headers, body)


def token_fault(status: int, body: bytes) -> Fault:
    """The fault of an answer that is no token."""
    kind = FAULT_KINDS.get(status) or ("upstream_auth" if 400 <= status < 500 else "upstream_error")
    code = parse_object(body).get("error")
    # Only a word that cannot hold a secret is repeated.
    reason = ""
    if isinstance(code, str) and code.replace("_", "").isalpha():
        reason = f" ({code[:MAX_CODE_CHARS]})"
    return Fault(kind, f"Google gave no access token: HTTP {status}{reason}")


def parse_object(body: bytes) -> dict[str, Any]:
    """The object in a body; an empty one where there is none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
