"""A request with an `Idempotency-Key` is served once; its answer is given again to a repeat.

The answer is stored before it is sent. A request that was refused has done nothing, and leaves its
key free.
"""

from typing import Any

from msgspec import Struct
from msgspec.msgpack import decode, encode

from gatewayz.control.context import Caller
from gatewayz.control.idempotency import SqlClaims
from gatewayz.ports.replays import Claim
from gatewayz.web.api.routes import ApiRoute
from gatewayz.web.asgi import Message, Scope, Send
from gatewayz.web.idempotency_key import idempotency_key, request_fingerprint

CLAIM_TIMEOUT_S = 60
"""How long a request may run under its key before another one with that key takes over."""
REPLAYED = (b"idempotent-replayed", b"true")


class RecordedResponse(Struct):
    """A whole answer. It is stored by the names of its fields, which therefore stay."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    async def send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class ResponseRecorder:
    """Takes the application's answer in the client's place."""

    def __init__(self) -> None:
        self.response: RecordedResponse | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.response = RecordedResponse(message["status"], list(message["headers"]), b"")
        elif self.response is not None:
            self.response.body += message["body"]


def claim_from_request(
    route: ApiRoute,
    caller: Caller,
    scope: Scope,
    headers: dict[str, str],
    body: bytes,
    now_ms: int,
) -> Claim | None:
    """The request's idempotency key, if it has one and the operation has effects.

    Only the API key that asked gets the answer again: the secret of a key that was made is not for
    the account's other keys. Faults: `bad_request`.
    """
    key = idempotency_key(headers) if route.idempotent else ""
    principal = caller.principal
    if not key or principal is None:
        return None
    path = f"{route.method} {scope['path']}?{scope['query_string'].decode('latin-1')}"
    return Claim(
        account=principal.account,
        key=key,
        fingerprint=request_fingerprint(principal, path, body, by=principal.key),
        request=caller.call_id,
        until_ms=now_ms + CLAIM_TIMEOUT_S * 1000,
    )


async def serve_once(claims: SqlClaims, claim: Claim, application: Any, send: Send) -> None:
    """Lets the application answer, or gives its earlier answer.

    Faults: as for `SqlClaims.acquire`.
    """
    stored = await claims.acquire(claim)
    if stored is not None:
        response = decode(stored, type=RecordedResponse)
        response.headers.append(REPLAYED)
        await response.send(send)
        return

    recorder = ResponseRecorder()
    try:
        await application(recorder.send)
    finally:
        # Stored before it is sent: a client that has its answer gets the same one from a repeat.
        await _finish_claim(claims, claim, recorder.response)
        if recorder.response is not None:
            await recorder.response.send(send)


async def _finish_claim(claims: SqlClaims, claim: Claim, response: RecordedResponse | None) -> None:
    if response is not None and response.status < 300:
        await claims.complete(claim, encode(response))
    else:
        await claims.release(claim)
