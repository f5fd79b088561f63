"""The OpenAPI document, and a page that shows it: without scripts, so that it works offline."""

from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import Any

from fastapi import Request, Response
from msgspec.json import encode

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "public, max-age=300",
}
METHODS = ("get", "post", "put", "patch", "delete")
ACCESS_LABELS = {
    "minting": "a key that may make calls",
    "member": "any key of the account",
    "account": "a key with the scope account",
    "operator": "an operator's key",
}


async def openapi_document(request: Request) -> Response:
    """The OpenAPI document of the control plane."""
    return Response(encode(request.app.openapi()), media_type="application/json", headers=HEADERS)


async def docs_style(request: Request) -> Response:
    """The style sheet of the page."""
    text = (files(__package__) / "docs.css").read_text("utf-8")
    return Response(text, media_type="text/css", headers=HEADERS)


async def docs_page(request: Request) -> Response:
    """Every operation of the control plane, for people."""
    return Response(_render_page(request.app.openapi()), media_type="text/html", headers=HEADERS)


def _render_page(document: dict[str, Any]) -> str:
    info = document["info"]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(info['title'])}</title>",
        '<link rel="stylesheet" href="/docs/style.css"></head><body>',
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
        f"<p>{escape(info['summary'])} The whole document: ",
        '<a href="/openapi.json">/openapi.json</a>.</p>',
        *(
            _render_operation(path, method, operation, document)
            for path, method, operation in _operations(document)
        ),
        "</body></html>",
    ]
    return "\n".join(parts)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _render_operation(
    path: str, method: str, operation: dict[str, Any], document: dict[str, Any]
) -> str:
    parts = [
        f'<details id="{escape(operation["operationId"])}"><summary>',
        f'<b class="{method}">{method.upper()}</b> ',
        f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary>",
        f"<p>For {escape(ACCESS_LABELS.get(operation['x-who'], operation['x-who']))}.</p>",
    ]
    rows = [
        _render_row(
            parameter["name"],
            parameter["schema"],
            parameter["in"],
            required=parameter.get("required", False),
        )
        for parameter in operation.get("parameters", ())
    ]
    parts.append(_render_table("Parameters", rows))
    body = (
        operation.get("requestBody", {})
        .get("content", {})
        .get("application/json", {})
        .get("schema")
    )
    if body is not None:
        parts.append(_render_table("Body", _schema_rows(body, document)))
    for status, answer in operation["responses"].items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        if status.startswith("2") and schema is not None:
            parts.append(_render_table(f"Answer {status}", _schema_rows(schema, document)))
    return "".join([*parts, "</details>"])


def _schema_rows(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    resolved = _resolve_schema(schema, document)
    required = resolved.get("required", ())
    return [
        _render_row(name, field, "", required=name in required)
        for name, field in resolved.get("properties", {}).items()
    ]


def _resolve_schema(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, where it is a name or may be nothing."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if options:
        schema = options[0]
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def _render_row(name: str, schema: dict[str, Any], place: str, *, required: bool) -> str:
    marks = ", ".join(
        [_type_name(schema), *([place] if place else []), *(["required"] if required else [])]
    )
    cells = (f"<code>{escape(name)}</code>", escape(marks), escape(schema.get("description", "")))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _type_name(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return repr(schema["const"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type_name(option) for option in schema["anyOf"]))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"[{_type_name(schema.get('items', {}))}]"
    return str(schema.get("type", "any"))


def _render_table(title: str, rows: list[str]) -> str:
    return f"<h3>{escape(title)}</h3><table>{''.join(rows)}</table>" if rows else ""
