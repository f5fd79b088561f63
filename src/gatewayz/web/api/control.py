"""The door to the control plane: finds the row of a path, reads the body within bounds, and lets FastAPI answer.

FastAPI is loaded in a thread when it is first asked for: a gateway that only serves calls never pays for it.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from msgspec.structs import replace

from gatewayz.core.faults import Fault
from gatewayz.dialects.jsontext import client_object
from gatewayz.web.api.once import claim_of, served_once
from gatewayz.web.api.table import ROWS, Row
from gatewayz.web.api.visit import SCOPE, Office, Visit, Visitor
from gatewayz.web.asgi import ClientLeftError, Message, Receive, Scope, Send, body_of, headers_of
from gatewayz.web.asked import query_of
from gatewayz.web.respond import BODY_HEADERS, call_headers

MAX_BODY_BYTES = 2**20
APPLICATION = "gatewayz.web.api.application"
NUL = ("\x00", rb"\u0000")


class Control:
    """The rows, and the application behind them."""

    rows = ROWS

    def __init__(self, office: Office) -> None:
        self._office = office
        self._loading: asyncio.Task[Any] | None = None

    async def serve(
        self, row: Row, visitor: Visitor, scope: Scope, receive: Receive, send: Send
    ) -> Fault | None:  # fmt: skip
        """Answers; the fault that it answered with, if it did. Faults: `bad_request`, `too_large`."""
        headers = headers_of(scope)
        try:
            body = await body_of(receive, headers, MAX_BODY_BYTES)
        except ClientLeftError:
            return None
        _check(scope, headers, body)
        office, faults = self._office, list[Fault]()
        claim = claim_of(row, visitor, scope, headers, body, office.desk.clock.wall_ms())
        visit = Visit(office, replace(visitor, claim=claim))
        inner = {**scope, "method": row.method, SCOPE: visit, "faults": faults}
        application = partial(await self._loaded(), inner, _again(body, receive))
        send = _with_headers(send, visitor.call_id)
        if claim is None:
            await application(send)
        else:
            await served_once(office.claims, claim, application, send)
        return faults[0] if faults else None

    async def _loaded(self) -> Callable[[Any, Receive, Send], Any]:
        """The application; whoever comes while it is loaded waits for the same one."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(_application))
        loaded: Callable[[Any, Receive, Send], Any] = await asyncio.shield(self._loading)
        return loaded


def _application() -> Any:
    return import_module(APPLICATION).made()


def _check(scope: Scope, headers: dict[str, str], body: bytes) -> None:
    """What no operation can use: a query that is no text, a body that is no JSON object, characters that are none."""
    query = query_of(scope["query_string"])
    if any(NUL[0] in text for name, values in query.items() for text in (name, *values)):
        raise Fault("bad_request", "The query holds the character NUL.")
    if body:
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Fault(
                "bad_request", "A body is JSON: send it with Content-Type: application/json."
            )
        client_object(body)
        if NUL[1] in body:
            raise Fault("bad_request", "The body holds the character NUL.")


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, then what comes after it."""
    told = False

    async def received() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return received


def _with_headers(send: Send, call_id: str) -> Send:
    """The headers that every answer has; what is said of caching stays."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = message["headers"]
            known = {name for name, _ in own}
            more = [pair for pair in BODY_HEADERS if pair[0] not in known]
            message["headers"] = [*own, *call_headers(call_id), *more]
        await send(message)

    return sent
