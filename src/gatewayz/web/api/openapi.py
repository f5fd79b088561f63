"""The OpenAPI document, and the page that shows it and tries it: Swagger UI, from the package's own files.

The page loads nothing from elsewhere, and no script or style stands in it: the policy allows only
files of this server, and talks to no other.
"""

import gzip
import tomllib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from fastapi import Request, Response
from msgspec.json import encode

from gatewayz.web.api.model_operations import with_model_operations

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "public, max-age=300",
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Gatewayz API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; the document is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "list",
  filter: true,
  displayRequestDuration: true,
  validatorUrl: null,
});
"""
"""The key that is typed in is in the page's memory alone: `persistAuthorization` is off."""


async def openapi_document(request: Request) -> Response:
    """The OpenAPI document of the model endpoints and the control plane."""
    document = _document(request.app)
    return Response(document, media_type="application/json", headers=HEADERS)


@cache
def _document(app: Any) -> bytes:
    return encode(with_model_operations(app.openapi()))


async def docs_page(request: Request) -> Response:
    """Every operation, for people: to read and to try."""
    return Response(PAGE, media_type="text/html", headers=HEADERS)


async def docs_start(request: Request) -> Response:
    """What the page does when it is loaded."""
    return Response(START, media_type="text/javascript", headers=HEADERS)


async def docs_style(request: Request) -> Response:
    """Swagger UI's style sheet."""
    return _file_response(request, "swagger-ui.css", "text/css")


async def docs_script(request: Request) -> Response:
    """Swagger UI."""
    return _file_response(request, "swagger-ui-bundle.js", "text/javascript")


def _file_response(request: Request, name: str, media_type: str) -> Response:
    """A file of Swagger UI: 304 for whoever has it, compressed for whoever takes that."""
    tag = f'"{file_hashes()[name]}"'
    headers = {**HEADERS, "ETag": tag, "Vary": "Accept-Encoding"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = gzip_of_file(name)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    else:
        body = gzip.decompress(body)
    return Response(body, media_type=media_type, headers=headers)


@cache
def file_hashes() -> dict[str, str]:
    """Name of a file → the SHA-256 of what it holds, as the package says."""
    table = tomllib.loads(_folder().joinpath("swagger-ui.toml").read_text("utf-8"))
    return dict(table["sha256"])


def gzip_of_file(name: str) -> bytes:
    """A file as the package holds it, by gzip."""
    return _folder().joinpath(f"{name}.gz").read_bytes()


def _folder() -> Traversable:
    return files(__package__) / "swagger_ui"
