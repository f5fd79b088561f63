"""The ASGI application: a table of routes, each with who may call it, and what walks the table.

Routes are matched on the raw path, byte for byte: another spelling of a path is another path, and
there is nothing at it.
"""

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from gatewayz.control.context import Caller
from gatewayz.core.access import ACCESS_SCOPES, Access, can_access
from gatewayz.core.calls import Principal, new_ulid
from gatewayz.core.facts import CallRefused, Warned
from gatewayz.core.faults import Fault
from gatewayz.dialects.kit.base import ClientRole, HttpResponse
from gatewayz.engine.gateway import Gateway
from gatewayz.limits.rules import client_network
from gatewayz.ports.facts import Bus
from gatewayz.web.anthropic_models import VERSION_HEADER
from gatewayz.web.api.control_plane import ControlPlane
from gatewayz.web.api.routes import ApiRoute
from gatewayz.web.asgi import KEY_PARAMETERS, RawHeaders, Receive, Scope, Send, headers_from_scope
from gatewayz.web.cors import Cors
from gatewayz.web.handler_request import HandlerRequest, parse_query
from gatewayz.web.inference import Inference, error_origin
from gatewayz.web.path_hints import path_hint
from gatewayz.web.respond import INTERNAL, call_headers, fault_headers, send_response
from gatewayz.web.status import StatusHandlers
from gatewayz.web.unserved import fault_of_unserved, find_unserved, response_of_unserved

ANTHROPIC_PATH = b"/v1/messages"
"""The client dialect of requests with `anthropic-version`."""
OTHER = "other"
"""The label of a path that is none of ours."""
MAX_PATH_SHOWN = 200
Handler = Callable[[HandlerRequest], Awaitable[HttpResponse]]


class Route(Struct, frozen=True):
    """A path, and the access that a key must have for it.

    `is_prefix`: the path goes on, and the rest is the handler's `tail`. `api_route`: the control
    plane answers. Without either of them and without a `handler` it is inference.

    Example: `Route("GET", "/health/live", "anonymous", status.live)`.
    """

    method: str
    path: str
    access: Access
    handler: Handler | None = None
    is_prefix: bool = False
    api_route: ApiRoute | None = None


def build_routes(
    clients: Mapping[str, ClientRole], status: StatusHandlers, control_plane: ControlPlane | None
) -> tuple[Route, ...]:
    """The whole table; without a store there is no control plane."""
    return (
        *(
            Route(row.method, row.path, row.access, api_route=row)
            for row in (control_plane.routes if control_plane is not None else ())
        ),
        *(Route("POST", path, "inference") for path in clients),
        Route("GET", "/v1/models", "catalog", status.models.list_models),
        Route("GET", "/v1/models/", "catalog", status.models.get_model, is_prefix=True),
        Route("GET", "/", "anonymous", status.root),
        Route("GET", "/health/live", "anonymous", status.live),
        Route("GET", "/health/ready", "anonymous", status.ready),
        Route("GET", "/health/providers", "operator", status.health),
        Route("GET", "/metrics", "metrics", status.metrics),
    )


class App:
    """The ASGI callable."""

    def __init__(  # noqa: PLR0913 - it is wired once, in assemble
        self,
        *,
        clients: Mapping[str, ClientRole],
        status: StatusHandlers,
        inference: Inference,
        gateway: Gateway,
        cors: Cors,
        bus: Bus,
        control_plane: ControlPlane | None = None,
    ) -> None:
        self.routes = build_routes(clients, status, control_plane)
        self.inference = inference
        self._clients = {path.encode(): role for path, role in clients.items()}
        self._default_role = next(iter(clients.values()))
        self._control_plane = control_plane
        self._exact = {
            (route.method, route.path.encode()): route
            for route in self.routes
            if not route.is_prefix
        }
        self._patterns = tuple(
            (pattern, route)
            for route in self.routes
            if route.api_route is not None and (pattern := route.api_route.pattern) is not None
        )
        self._prefixes = tuple(route for route in self.routes if route.is_prefix)
        self._paths = tuple(dict.fromkeys(route.path for route in self.routes))
        self._gateway = gateway
        self._cors = cors
        self._bus = bus

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self._cors.origins:
            answered, send = await self._cors.apply(scope, send)
            if answered:
                return
        role = self._clients.get(scope["raw_path"]) if scope["method"] == "POST" else None
        if role is not None and not scope["query_string"]:
            await self.inference.serve(role, scope, receive, send)
            return
        await self._serve_route(scope, receive, send)

    async def _serve_route(self, scope: Scope, receive: Receive, send: Send) -> None:
        call_id = new_ulid()
        role = self._clients.get(scope["raw_path"]) or self._error_role(scope)
        headers = call_headers(call_id)
        try:
            route, tail = self._match_counted(scope)
            if route.api_route is not None and self._control_plane is not None:
                # The control plane has one shape of error, whoever asks.
                role = self._default_role
                caller = Caller(await self._authorize(route, scope), call_id)
                fault = await self._control_plane.serve(
                    route.api_route, caller, scope, receive, send
                )
                if fault is not None:
                    self._emit_refusal(call_id, route.path, fault, fault.rule.status)
                return
            if route.handler is None:
                await self.inference.serve(role, scope, receive, send)
                return
            request = HandlerRequest(
                tail=tail,
                query=parse_query(scope["query_string"]),
                headers=headers_from_scope(scope),
            )
            principal = await self._authorize(route, scope)
            response = await self._handle(
                route.handler, replace(request, principal=principal), call_id
            )
        except Fault as fault:
            raw_path = scope["raw_path"].decode("latin-1")
            response = response_of_unserved(fault, raw_path) or role.error_response(fault, call_id)
            headers += fault_headers(fault)
            headers += _allow_header(fault, self._methods(scope["raw_path"]))
            label = _route_label(scope["path"], self.routes)
            path = _shown_path(scope) if label == OTHER else ""
            self._emit_refusal(call_id, label, fault, response.status, path)
        await send_response(send, response, headers)

    async def _handle(
        self, handler: Handler, request: HandlerRequest, call_id: str
    ) -> HttpResponse:
        """The handler's answer; whatever fails in it has a type and an id, and the log a line."""
        try:
            return await handler(request)
        except Fault:
            raise
        except Exception as error:
            message = f"{call_id}: {error_origin(error)}"
            self._bus.emit(Warned(subject="request_failed", message=message))
            raise Fault("internal", INTERNAL) from error

    def _emit_refusal(
        self, call_id: str, endpoint: str, fault: Fault, status: int, path: str = ""
    ) -> None:
        self._bus.emit(
            CallRefused(id=call_id, endpoint=endpoint, fault=fault.kind, status=status, path=path)
        )

    def _error_role(self, scope: Scope) -> ClientRole:
        """The dialect of a refusal: Anthropic's if the request has its header, else OpenAI's."""
        if any(name == VERSION_HEADER.encode() for name, _ in scope["headers"]):
            return self._clients.get(ANTHROPIC_PATH, self._default_role)
        return self._default_role

    def _match_counted(self, scope: Scope) -> tuple[Route, str]:
        """The route and the rest of the path; a path that is not there counts for its client."""
        try:
            return self._match_route(scope)
        except Fault:
            address = self.inference.client_address(scope, headers_from_scope(scope))
            self._gateway.count_request(f"refused:{client_network(address)}")
            raise

    def _match_route(self, scope: Scope) -> tuple[Route, str]:
        path, query = scope["raw_path"], scope["query_string"].lower()
        unserved = find_unserved(path.decode("latin-1"))
        if unserved is not None and not self._methods(path):
            raise fault_of_unserved(scope["method"], path.decode("latin-1"), unserved)
        if any(query.startswith(name) or b"&" + name in query for name in KEY_PARAMETERS):
            raise Fault(
                "bad_request",
                "Send the key in a header: a key in the URL ends up in logs.",
            )

        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        route = self._exact.get((method, path))
        if route is not None:
            return route, ""
        for pattern, route in self._patterns:
            if route.method == method and pattern.fullmatch(path):
                return route, ""
        for route in self._prefixes:
            prefix = route.path.encode()
            is_plain = b"/." not in path and b"//" not in path
            if path.startswith(prefix) and len(path) > len(prefix) and is_plain:
                if route.method != method:
                    raise _method_fault(scope, (route.method,))
                return route, path[len(prefix) :].decode("latin-1")

        methods = self._methods(path)
        if methods:
            raise _method_fault(scope, methods)
        shown = _shown_path(scope)
        raise Fault(
            "unknown_route",
            f"There is nothing at {scope['method']} {shown}{path_hint(shown, self._paths)}.",
        )

    def _methods(self, path: bytes) -> tuple[str, ...]:
        """The methods that are served at a path."""
        exact = (method for method, exact_path in self._exact if exact_path == path)
        matching = (route.method for pattern, route in self._patterns if pattern.fullmatch(path))
        return (*exact, *matching)

    async def _authorize(self, route: Route, scope: Scope) -> Principal | None:
        """Who asks; `None` where anybody may. Counts the request.

        Faults: `unauthenticated`, `forbidden`, `rate_limited`.
        """
        headers = headers_from_scope(scope)
        access = route.access
        address = self.inference.client_address(scope, headers)
        if access == "anonymous":
            self._gateway.count_request(f"address:{client_network(address)}")
            return None

        principal = await self._gateway.principal_from_headers(headers, address)
        units = route.api_route.units if route.api_route is not None else 1
        self._gateway.count_request(f"key:{principal.key}", principal.account, units)
        if not can_access(principal.scopes, access):
            scopes = " or ".join(sorted(ACCESS_SCOPES[access]))
            raise Fault("forbidden", f"This needs a key with the scope {scopes}.")
        return principal


def _allow_header(fault: Fault, methods: tuple[str, ...]) -> RawHeaders:
    if fault.kind != "wrong_method" or not methods:
        return []
    return [(b"allow", ", ".join(methods).encode())]


def _route_label(path: str, routes: tuple[Route, ...]) -> str:
    """The path of the route: an unknown path is a stranger's, and must not become a label."""
    for route in routes:
        matches = path.startswith(route.path) if route.is_prefix else path == route.path
        pattern = route.api_route.pattern if route.api_route is not None else None
        if matches or (pattern is not None and pattern.fullmatch(path.encode())):
            return route.path
    return OTHER


def _method_fault(scope: Scope, methods: tuple[str, ...]) -> Fault:
    taken = " and ".join(sorted(set(methods)))
    return Fault("wrong_method", f"{scope['method']} is not served here; {taken} is.")


def _shown_path(scope: Scope) -> str:
    """The raw path as it is told and logged; cut, because it is a stranger's."""
    path: bytes = scope["raw_path"]
    return path.decode("latin-1")[:MAX_PATH_SHOWN]
