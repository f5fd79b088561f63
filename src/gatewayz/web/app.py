"""The application: a table of routes, each with who may call it, and the one function that walks it.

Routes are decided on the raw path, byte for byte: another spelling of a path is another path, and there is none.
"""

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.core.access import OPENS, Access, may
from gatewayz.core.calls import Principal, new_ulid
from gatewayz.core.facts import CallRefused
from gatewayz.core.faults import Fault
from gatewayz.dialects.base import ClientRole, Spoken
from gatewayz.engine.gateway import Gateway
from gatewayz.limits.rules import place_of
from gatewayz.ports.facts import Bus
from gatewayz.web.anthropic_models import HEADER
from gatewayz.web.api.control import Control
from gatewayz.web.api.table import Row
from gatewayz.web.api.visit import Visitor
from gatewayz.web.asgi import KEY_PARAMETERS, RawHeaders, Receive, Scope, Send, headers_of
from gatewayz.web.asked import Asked, query_of
from gatewayz.web.cors import Cors
from gatewayz.web.inference import Inference
from gatewayz.web.pages import Pages
from gatewayz.web.respond import call_headers, refuse, retry_headers

MARKED_PATH = b"/v1/messages"
"""Whose dialect requests with `anthropic-version` speak."""
Page = Callable[[Asked], Awaitable[Spoken]]


class Route(Struct, frozen=True):
    """A path and who may call it: anybody, or a key with this scope. `tail`: the path may go on after it.

    `row`: the control plane answers.
    """

    method: str
    path: str
    access: Access
    page: Page | None = None
    tail: bool = False
    row: Row | None = None


def routes_of(
    clients: Mapping[str, ClientRole], pages: Pages, control: Control | None
) -> tuple[Route, ...]:
    """The whole table; without a store nothing is kept, and there is nothing to control."""
    return (
        *(
            Route(row.method, row.path, row.access, row=row)
            for row in (control.rows if control is not None else ())
        ),
        *(Route("POST", path, "inference") for path in clients),
        Route("GET", "/v1/models", "catalog", pages.models.several),
        Route("GET", "/v1/models/", "catalog", pages.models.one, tail=True),
        Route("GET", "/", "anonymous", pages.root),
        Route("GET", "/health/live", "anonymous", pages.live),
        Route("GET", "/health/ready", "anonymous", pages.ready),
        Route("GET", "/health/providers", "operator", pages.health),
        Route("GET", "/metrics", "metrics", pages.metrics),
    )


class App:
    """The ASGI callable."""

    def __init__(  # noqa: PLR0913 - it is wired once, in assemble
        self,
        *,
        clients: Mapping[str, ClientRole],
        pages: Pages,
        inference: Inference,
        gateway: Gateway,
        cors: Cors,
        bus: Bus,
        control: Control | None = None,
    ) -> None:
        self.routes = routes_of(clients, pages, control)
        self.inference = inference
        self._clients = {path.encode(): role for path, role in clients.items()}
        self._neutral = next(iter(clients.values()))
        self._control = control
        self._exact = {
            (route.method, route.path.encode()): route for route in self.routes if not route.tail
        }
        patterns = [(route.row.pattern, route) for route in self.routes if route.row is not None]
        self._patterns = tuple(
            (pattern, route) for pattern, route in patterns if pattern is not None
        )
        self._tails = tuple(route for route in self.routes if route.tail)
        self._gateway = gateway
        self._cors = cors
        self._bus = bus

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self._cors.origins:
            answered, send = await self._cors.applied(scope, send)
            if answered:
                return
        role = self._clients.get(scope["raw_path"]) if scope["method"] == "POST" else None
        if role is not None and not scope["query_string"]:
            await self.inference.serve(role, scope, receive, send)
            return
        await self._page(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        call_id = new_ulid()
        role = self._clients.get(scope["raw_path"]) or self._spoken_by(scope)
        headers = call_headers(call_id)
        try:
            route, tail = self._reached(scope)
            if route.row is not None and self._control is not None:
                role = self._neutral
                principal = await self._may(route, scope)
                fault = await self._control.serve(
                    route.row, Visitor(principal, call_id), scope, receive, send
                )
                if fault is not None:
                    self._bus.emit(_refused(call_id, route.path, fault, fault.rule.status))
                return
            if route.page is None:
                await self.inference.serve(role, scope, receive, send)
                return
            asked = Asked(
                tail=tail, query=query_of(scope["query_string"]), headers=headers_of(scope)
            )
            principal = await self._may(route, scope)
            spoken = await route.page(replace(asked, principal=principal))
        except Fault as fault:
            spoken = role.refusal(fault, call_id)
            headers = (
                headers + retry_headers(fault) + _allow(fault, self._methods(scope["raw_path"]))
            )
            path = scope["path"][:200]
            self._bus.emit(_refused(call_id, _known(path, self.routes), fault, spoken.status))
        await refuse(send, spoken, headers)

    def _spoken_by(self, scope: Scope) -> ClientRole:
        """The dialect in which a page is refused: a header tells Anthropic's clients, all others read OpenAI's."""
        marked = any(name == HEADER.encode() for name, _ in scope["headers"])
        return self._clients.get(MARKED_PATH, self._neutral) if marked else self._neutral

    def _reached(self, scope: Scope) -> tuple[Route, str]:
        try:
            return self._found(scope)
        except Fault:
            self._gateway.turn_page(
                f"refused:{place_of(self.inference.address(scope, headers_of(scope)))}"
            )
            raise

    def _found(self, scope: Scope) -> tuple[Route, str]:
        path, query = scope["raw_path"], scope["query_string"].lower()
        if any(query.startswith(name) or b"&" + name in query for name in KEY_PARAMETERS):
            raise Fault(
                "bad_request",
                "Keys do not belong into addresses, where logs keep them: send a header.",
            )
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        route = self._exact.get((method, path))
        if route is not None:
            return route, ""
        for pattern, route in self._patterns:
            if route.method == method and pattern.fullmatch(path):
                return route, ""
        for route in self._tails:
            start = route.path.encode()
            if (
                path.startswith(start)
                and len(path) > len(start)
                and b"/." not in path
                and b"//" not in path
            ):
                if route.method != method:
                    raise Fault("wrong_method", f"{scope['method']} is not served here.")
                return route, path[len(start) :].decode("latin-1")
        if self._methods(path):
            raise Fault("wrong_method", f"{scope['method']} is not served here.")
        raise Fault(
            "unknown_route",
            f"There is nothing at {scope['method']} {path.decode('latin-1')[:200]}.",
        )

    def _methods(self, path: bytes) -> tuple[str, ...]:
        exact = (method for method, known in self._exact if known == path)
        return (
            *exact,
            *(route.method for pattern, route in self._patterns if pattern.fullmatch(path)),
        )

    async def _may(self, route: Route, scope: Scope) -> Principal | None:
        headers = headers_of(scope)
        address = self.inference.address(scope, headers)
        if route.access == "anonymous":
            self._gateway.turn_page(f"address:{place_of(address)}")
            return None
        principal = await self._gateway.who(headers, address)
        self._gateway.turn_page(f"key:{principal.key}")
        if not may(principal.scopes, route.access):
            raise Fault(
                "forbidden",
                f"This needs a key with the scope {' or '.join(sorted(OPENS[route.access]))}.",
            )
        return principal


def _refused(call_id: str, endpoint: str, fault: Fault, status: int) -> CallRefused:
    return CallRefused(id=call_id, endpoint=endpoint, fault=fault.kind, status=status)


def _allow(fault: Fault, methods: tuple[str, ...]) -> RawHeaders:
    return (
        [(b"allow", ", ".join(methods).encode())]
        if fault.kind == "wrong_method" and methods
        else []
    )


def _known(path: str, routes: tuple[Route, ...]) -> str:
    """The route's own path: what strangers ask for must not become a label."""
    return next((route.path for route in routes if path.startswith(route.path)), "other")
