"""The application: the rows of the table as FastAPI knows them, and one shape for everything that is refused."""

from importlib import import_module
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from gatewayz import __version__
from gatewayz.core.faults import Fault
from gatewayz.dialects.openai_errors import refusal
from gatewayz.web.api.shapes import Refusal
from gatewayz.web.api.table import ROWS, Row
from gatewayz.web.asked import query_of
from gatewayz.web.repeats import MAX_KEY
from gatewayz.web.respond import retry_headers

HERE = __name__.rpartition(".")[0]
TITLE = "Gatewayz control plane"
SUMMARY = "Accounts, keys, usage and calls; for operators also people, credit, models, prices and the audit log."
SECURITY = "key"
ONCE = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A name for this request: it is served once, and its answer is given again for a day",
    "schema": {"type": "string", "maxLength": MAX_KEY, "pattern": "^[ -~]*$"},
}
OFTEN = "The request is refused; `error.message` says why and what to do."
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": OFTEN} for status in ("4XX", "503")
}
FILES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}}
}
"""What an operation that can be exported answers with besides JSON."""


def made() -> FastAPI:
    """The application, with every row of the table."""
    api = FastAPI(
        title=TITLE,
        summary=SUMMARY,
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            Fault: _refused,
            RequestValidationError: _invalid,
            HTTPException: _unserved,
            Exception: _failed,
        },
    )
    for row in ROWS:
        _add(api, row)
    schemes = {
        SECURITY: {"type": "http", "scheme": "bearer", "description": "An API key: gw_live_…"}
    }
    api.openapi().setdefault("components", {})["securitySchemes"] = schemes
    return api


def _add(api: FastAPI, row: Row) -> None:
    module_name, _, name = row.serves.partition(".")
    module = import_module(f"{HERE}.{module_name}")
    handler = getattr(module, name)
    own: dict[str, Any] = getattr(module, "ANSWERS", {})
    anonymous = row.access == "anonymous"
    api.add_api_route(
        row.path,
        handler,
        methods=[row.method],
        operation_id=row.serves.replace(".", "_"),
        summary=(handler.__doc__ or "").partition("\n")[0].rstrip("."),
        tags=[row.path.split("/")[2] if row.path.startswith("/v1/") else row.path.split("/")[1]],
        responses={**REFUSALS, **(FILES if name in getattr(module, "EXPORTED", {}) else {})},
        openapi_extra={
            "x-who": row.access,
            "security": [] if anonymous else [{SECURITY: []}],
            **({"parameters": [ONCE]} if row.once else {}),
        },
        include_in_schema=not anonymous,
        **({"response_model": own[name]} if name in own else {}),
        dependencies=[Depends(only_known)],
    )


def _spoken(request: Request, fault: Fault) -> Response:
    request.scope["faults"].append(fault)
    spoken = refusal(fault)
    headers = dict(spoken.headers) | {
        name.decode(): value.decode() for name, value in retry_headers(fault)
    }
    return Response(spoken.body, spoken.status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    fault = error if isinstance(error, Fault) else Fault("internal", "The gateway failed.")
    return _spoken(request, fault)


async def _invalid(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    first = found[0] if found else {"loc": (), "msg": "it is not valid"}
    where = ".".join(str(part) for part in first["loc"][1:])
    said = str(first["msg"]).removeprefix("Value error, ")
    return _spoken(request, Fault("bad_request", f"{where or 'the body'}: {said}", param=where))


async def _unserved(request: Request, error: Exception) -> Response:
    return _spoken(
        request, Fault("unknown_route", f"There is nothing at {request.url.path[:200]}.")
    )


async def _failed(request: Request, error: Exception) -> Response:
    return _spoken(
        request, Fault("internal", "The gateway failed; the request id tells its operator why.")
    )


async def only_known(request: Request) -> None:
    """A field of the query that the operation does not know is a mistake. Faults: `bad_request`."""
    given = query_of(request.scope["query_string"])
    if not given:
        return
    operations = request.app.openapi()["paths"].get(request.scope["route"].path, {})
    parameters = operations.get(request.method.lower(), {}).get("parameters", [])
    known = sorted(parameter["name"] for parameter in parameters if parameter["in"] == "query")
    for name in given:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise Fault(
                "bad_request",
                f"There is no query field {name[:64]!r} here; known: {listed}.",
                param=name[:64],
            )
