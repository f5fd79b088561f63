"""Once: a request that its client named is served once, and its answer is given again to whoever repeats it.

The answer is kept before it is sent. Whatever was refused, and did nothing, leaves its key free.
"""

from typing import Any

from msgspec import Struct
from msgspec.msgpack import decode, encode

from gatewayz.ports.replays import Claim
from gatewayz.store.sql.idempotency import SqlClaims
from gatewayz.web.api.table import Row
from gatewayz.web.api.visit import Visitor
from gatewayz.web.asgi import Message, Scope, Send
from gatewayz.web.repeats import fingerprint, key_of

AT_MOST_S = 60
"""How long a named request may run before another by that name takes over."""
REPLAYED = (b"idempotent-replayed", b"true")


class Answer(Struct):
    """A whole answer, as it is kept."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    async def told(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class Heard:
    """Listens to the application in the client's place."""

    def __init__(self) -> None:
        self.answer: Answer | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.answer = Answer(message["status"], list(message["headers"]), b"")
        elif self.answer is not None:
            self.answer.body += message["body"]


def claim_of(
    row: Row, visitor: Visitor, scope: Scope, headers: dict[str, str], body: bytes, now_ms: int
) -> Claim | None:
    """The client's key for this request, if it gave one and the operation does something. Faults: `bad_request`.

    Only whoever asked has the answer again: a key that was made is not for the account's other keys.
    """
    key = key_of(headers) if row.once else ""
    who = visitor.principal
    if not key or who is None:
        return None
    path = f"{row.method} {scope['path']}?{scope['query_string'].decode('latin-1')}"
    return Claim(
        account=who.account,
        key=key,
        fingerprint=fingerprint(who, path, body, by=who.key),
        request=visitor.call_id,
        until_ms=now_ms + AT_MOST_S * 1000,
    )


async def served_once(claims: SqlClaims, claim: Claim, application: Any, send: Send) -> None:
    """Lets the application answer, or gives its earlier answer. Faults: as for `SqlClaims.take`."""
    kept = await claims.take(claim)
    if kept is not None:
        answer = decode(kept, type=Answer)
        answer.headers.append(REPLAYED)
        await answer.told(send)
        return
    heard = Heard()
    try:
        await application(heard.send)
    finally:
        await _over(claims, claim, heard.answer)
        if heard.answer is not None:
            await heard.answer.told(send)


async def _over(claims: SqlClaims, claim: Claim, answer: Answer | None) -> None:
    if answer is not None and answer.status < 300:
        await claims.keep(claim, encode(answer))
    else:
        await claims.free(claim)
