"""The OpenAPI document, and a page that shows it: no script and nothing from elsewhere, so that it works offline."""

from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import Any

from fastapi import Request, Response
from msgspec.json import encode

POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "public, max-age=300",
}
METHODS = ("get", "post", "put", "patch", "delete")
WHO = {
    "minting": "a key that may make calls",
    "member": "any key of the account",
    "account": "a key with the scope account",
    "operator": "an operator's key",
}


async def openapi(request: Request) -> Response:
    """The OpenAPI document of the control plane."""
    return Response(encode(request.app.openapi()), media_type="application/json", headers=HEADERS)


async def style(request: Request) -> Response:
    """How the page looks."""
    text = (files(__package__) / "docs.css").read_text("utf-8")
    return Response(text, media_type="text/css", headers=HEADERS)


async def page(request: Request) -> Response:
    """Every operation of the control plane, for people."""
    return Response(_page(request.app.openapi()), media_type="text/html", headers=HEADERS)


def _page(document: dict[str, Any]) -> str:
    info = document["info"]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{escape(info["title"])}</title><link rel="stylesheet" href="/docs/style.css"></head><body>',
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
        f'<p>{escape(info["summary"])} The whole document: <a href="/openapi.json">/openapi.json</a>.</p>',
        *(
            _operation(path, method, found, document)
            for path, method, found in _operations(document)
        ),
        "</body></html>",
    ]
    return "\n".join(parts)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _operation(path: str, method: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    parts = [
        f'<details id="{escape(operation["operationId"])}"><summary><b class="{method}">{method.upper()}</b> ',
        f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary>",
        f"<p>For {escape(WHO.get(operation['x-who'], operation['x-who']))}.</p>",
    ]
    rows = [
        _row(one["name"], one["schema"], one["in"], required=one.get("required", False))
        for one in operation.get("parameters", ())
    ]
    parts.append(_table("Parameters", rows))
    body = (
        operation.get("requestBody", {})
        .get("content", {})
        .get("application/json", {})
        .get("schema")
    )
    if body is not None:
        parts.append(_table("Body", _fields(body, document)))
    for status, answer in operation["responses"].items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        if status.startswith("2") and schema is not None:
            parts.append(_table(f"Answer {status}", _fields(schema, document)))
    return "".join([*parts, "</details>"])


def _fields(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    found = _resolved(schema, document)
    required = found.get("required", ())
    return [
        _row(name, one, "", required=name in required)
        for name, one in found.get("properties", {}).items()
    ]


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, where it is a name or may be nothing."""
    options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if options:
        schema = options[0]
    name = schema.get("$ref", "").rpartition("/")[2]
    return document["components"]["schemas"][name] if name else schema


def _row(name: str, schema: dict[str, Any], place: str, *, required: bool) -> str:
    marks = ", ".join(
        [_kind(schema), *([place] if place else []), *(["required"] if required else [])]
    )
    about = schema.get("description", "")
    return f"<tr><td><code>{escape(name)}</code></td><td>{escape(marks)}</td><td>{escape(about)}</td></tr>"


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return repr(schema["const"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"[{_kind(schema.get('items', {}))}]"
    return str(schema.get("type", "any"))


def _table(title: str, rows: list[str]) -> str:
    return f"<h3>{escape(title)}</h3><table>{''.join(rows)}</table>" if rows else ""
