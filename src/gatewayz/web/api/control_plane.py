"""The door to the control plane: reads the body within bounds, and lets FastAPI answer.

FastAPI is loaded in a thread by the first request: a gateway that only serves calls never loads it.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from msgspec.structs import replace

from gatewayz.control.context import Caller, ControlContext, RequestContext
from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.jsontext import parse_client_object
from gatewayz.web.api.context import scope_with_context
from gatewayz.web.api.idempotency import claim_from_request, serve_once
from gatewayz.web.api.routes import ROUTES, ApiRoute
from gatewayz.web.asgi import (
    ClientDisconnectedError,
    Message,
    Receive,
    Scope,
    Send,
    headers_from_scope,
    read_body,
)
from gatewayz.web.handler_request import parse_query
from gatewayz.web.request_bodies import check_charset, decode_body
from gatewayz.web.respond import BODY_HEADERS, call_headers

MAX_BODY_BYTES = 2**20
APPLICATION = "gatewayz.web.api.application"
"""Named, not imported: it loads FastAPI."""
NUL = ("\x00", rb"\u0000")


class ControlPlane:
    """The routes, and the application that answers them."""

    routes = ROUTES

    def __init__(self, context: ControlContext) -> None:
        self._context = context
        self._application_task: asyncio.Task[Any] | None = None

    async def serve(
        self, route: ApiRoute, caller: Caller, scope: Scope, receive: Receive, send: Send
    ) -> Fault | None:
        """Answers; the fault that it answered with, if it did.

        Faults: `bad_request`, `too_large`, `unsupported_encoding`, and those of an idempotency key.
        """
        headers = headers_from_scope(scope)
        try:
            body = await read_body(receive, headers, MAX_BODY_BYTES)
        except ClientDisconnectedError:
            return None
        check_charset(headers.get("content-type", ""))
        body = decode_body(body, headers.get("content-encoding", ""), MAX_BODY_BYTES)
        _check_input(scope, headers, body)

        now_ms = self._context.transaction.clock.wall_ms()
        claim = claim_from_request(route, caller, scope, headers, body, now_ms)
        ctx = RequestContext(self._context, replace(caller, claim=claim))
        faults: list[Fault] = []
        # HEAD is answered as GET; the server drops the body.
        inner = {**scope_with_context(scope, ctx), "method": route.method, "faults": faults}
        application = partial(
            await self._get_application(), inner, _receive_replayed(body, receive)
        )

        send = _with_headers(send, caller.call_id)
        if claim is None:
            await application(send)
        else:
            await serve_once(self._context.claims, claim, application, send)
        return faults[0] if faults else None

    async def _get_application(self) -> Callable[[Any, Receive, Send], Any]:
        """The application; requests that come while it is loaded wait for the same one.

        A loading that failed is begun anew by the next request.
        """
        loading = self._application_task
        if loading is None or (loading.done() and (loading.cancelled() or loading.exception())):
            loading = asyncio.create_task(asyncio.to_thread(_create_application))
            self._application_task = loading
        # Shielded: a client that leaves must not end the loading for the others.
        application: Callable[[Any, Receive, Send], Any] = await asyncio.shield(loading)
        return application


def _create_application() -> Any:
    return import_module(APPLICATION).create_app()


def _check_input(scope: Scope, headers: dict[str, str], body: bytes) -> None:
    """Refuses what no operation can use: a query that is no text, a body that is no JSON object."""
    query = parse_query(scope["query_string"])
    if any(NUL[0] in text for name, values in query.items() for text in (name, *values)):
        raise Fault("bad_request", "The query contains the character NUL.")
    if body:
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Fault(
                "bad_request", "A body is JSON: send it with Content-Type: application/json."
            )
        parse_client_object(body)
        if NUL[1] in body:
            raise Fault("bad_request", "The body contains the character NUL.")


def _receive_replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read, then what comes after it."""
    is_given = False

    async def receive_body() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


def _with_headers(send: Send, call_id: str) -> Send:
    """Adds the headers that every answer has; a handler's own `cache-control` stays."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = message["headers"]
            names = {name for name, _ in own}
            defaults = [pair for pair in BODY_HEADERS if pair[0] not in names]
            message["headers"] = [*own, *call_headers(call_id), *defaults]
        await send(message)

    return send_with_headers
