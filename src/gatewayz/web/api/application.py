"""The control plane as a FastAPI application: its routes, and one shape for whatever is refused."""

from functools import cache
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from gatewayz import __version__
from gatewayz.core.faults import Fault
from gatewayz.dialects.openai.errors import error_response
from gatewayz.web.api.handlers import CSV_MODELS, HANDLERS, RESPONSE_MODELS
from gatewayz.web.api.routes import ROUTES, ApiRoute
from gatewayz.web.api.shapes import ErrorResponse
from gatewayz.web.handler_request import parse_query
from gatewayz.web.idempotency_key import MAX_KEY_CHARS
from gatewayz.web.respond import INTERNAL, fault_headers

TITLE = "Gatewayz control plane"
SUMMARY = (
    "Accounts, keys, usage and calls; "
    "for operators also people, credit, models, prices and the audit log."
)
SECURITY = "key"
SECURITY_SCHEMES = {
    SECURITY: {"type": "http", "scheme": "bearer", "description": "An API key: gw_live_…"}
}
IDEMPOTENCY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Names this request: it is served once, and its answer is replayed for a day",
    "schema": {"type": "string", "maxLength": MAX_KEY_CHARS, "pattern": "^[ -~]*$"},
}
ERROR_DESCRIPTION = "The request is refused; `error.message` says why and what to do."
ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": ERROR_DESCRIPTION} for status in ("4XX", "503")
}
CSV_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}}
}
"""What an operation that can be exported answers with besides JSON."""


@cache
def create_app() -> FastAPI:
    """The application, with every route of the table: one for the process, as it holds no state."""
    app = FastAPI(
        title=TITLE,
        summary=SUMMARY,
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            Fault: _handle_fault,
            RequestValidationError: _handle_invalid_request,
            HTTPException: _handle_unknown_route,
            Exception: _handle_error,
        },
    )
    for route in ROUTES:
        _add_route(app, route)
    app.openapi().setdefault("components", {})["securitySchemes"] = SECURITY_SCHEMES
    return app


def _add_route(app: FastAPI, route: ApiRoute) -> None:
    handler = HANDLERS[route.operation]
    anonymous = route.access == "anonymous"
    # `/v1/keys/{id}` has the tag `keys`, `/admin/keys/{id}` the tag `admin`.
    _, first, *rest = route.path.split("/")
    model = {"response_model": RESPONSE_MODELS[handler]} if handler in RESPONSE_MODELS else {}
    app.add_api_route(
        route.path,
        handler,
        methods=[route.method],
        operation_id=route.operation,
        summary=(handler.__doc__ or "").partition("\n")[0].rstrip("."),
        tags=[rest[0] if first == "v1" else first],
        responses={**ERROR_RESPONSES, **(CSV_RESPONSES if handler in CSV_MODELS else {})},
        openapi_extra={
            "x-who": route.access,
            "security": [] if anonymous else [{SECURITY: []}],
            **({"parameters": [IDEMPOTENCY_PARAMETER]} if route.idempotent else {}),
        },
        include_in_schema=not anonymous,
        dependencies=[Depends(reject_unknown_query_fields)],
        **model,
    )


def _fault_response(request: Request, fault: Fault) -> Response:
    # The caller of the application learns of it too, for the log and the metrics.
    request.scope["faults"].append(fault)
    response = error_response(fault)
    headers = dict(response.headers) | {
        name.decode(): value.decode() for name, value in fault_headers(fault)
    }
    return Response(response.body, response.status, headers)


async def _handle_fault(request: Request, error: Exception) -> Response:
    fault = error if isinstance(error, Fault) else Fault("internal", INTERNAL)
    return _fault_response(request, fault)


async def _handle_invalid_request(request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    problem = problems[0] if problems else {"loc": (), "msg": "it is not valid"}
    field = ".".join(str(part) for part in problem["loc"][1:])
    message = str(problem["msg"]).removeprefix("Value error, ")
    fault = Fault("bad_request", f"{field or 'the body'}: {message}", param=field)
    return _fault_response(request, fault)


async def _handle_unknown_route(request: Request, error: Exception) -> Response:
    fault = Fault("unknown_route", f"There is nothing at {request.url.path[:200]}.")
    return _fault_response(request, fault)


async def _handle_error(request: Request, error: Exception) -> Response:
    return _fault_response(request, Fault("internal", INTERNAL))


async def reject_unknown_query_fields(request: Request) -> None:
    """A query field that the operation does not know is a mistake. Faults: `bad_request`."""
    query = parse_query(request.scope["query_string"])
    if not query:
        return
    operations = request.app.openapi()["paths"].get(request.scope["route"].path, {})
    parameters = operations.get(request.method.lower(), {}).get("parameters", [])
    known = sorted(parameter["name"] for parameter in parameters if parameter["in"] == "query")
    for name in query:
        if name not in known:
            raise Fault(
                "bad_request",
                f"There is no query field {name[:64]!r} here; known: {', '.join(known) or 'none'}.",
                param=name[:64],
            )
