"""A package index on a real socket: pages in both forms, wheels, and what may be wrong with either."""

import hashlib
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from aiohttp import web

from gatewayz.catalog.price_lists import GENAI, LIST_FILES, LITELLM

GENAI_MODULE = """
from .types import *
providers: list[Provider] = [
    Provider(id='groq', name='Groq', models=[{models}]),
]
"""


def litellm_table(**rows: dict[str, Any]) -> bytes:
    """litellm's table with these rows of xAI, by native id."""
    base = {"litellm_provider": "xai", "mode": "chat"}
    return json.dumps({f"xai/{name}": base | row for name, row in rows.items()}).encode()


def genai_module(**usd: tuple[str, str]) -> bytes:
    """genai-prices' module with these models of Groq: price in and out, for a million tokens."""
    models = ", ".join(
        f"ModelInfo(id={name!r}, match=ClauseOr(or_=[ClauseEquals(equals={name!r})]),"
        f" prices=ModelPrice(input_mtok=Decimal({given!r}), output_mtok=Decimal({made!r})))"
        for name, (given, made) in usd.items()
    )
    return GENAI_MODULE.replace("{models}", models).encode()


def wheel_of(name: str, content: bytes) -> bytes:
    """A wheel of a list, which holds its table and nothing else."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as archive:
        archive.writestr(LIST_FILES[name], content)
    return buffer.getvalue()


class PackageIndex:
    """An index whose files are put there by name and version; `as_json` says in which form it answers."""

    def __init__(self) -> None:
        self.url = ""
        self.as_json = True
        self.wrong_hash = False
        self.status = 200
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._files: dict[str, dict[str, bytes]] = {LITELLM: {}, GENAI: {}}
        self._yanked: set[str] = set()

    def put(self, name: str, version: str, content: bytes, *, yanked: bool = False) -> None:
        """A wheel of a list under a version, with this table."""
        self.put_file(
            f"{name.replace('-', '_')}-{version}-py3-none-any.whl", wheel_of(name, content)
        )
        if yanked:
            self._yanked.add(f"{name.replace('-', '_')}-{version}-py3-none-any.whl")

    def put_file(self, filename: str, content: bytes) -> None:
        """Any file, under its name."""
        self._files[filename.partition("-")[0].replace("_", "-")][filename] = content

    async def page(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, dict(request.headers)))
        files = self._files.get(request.match_info["name"])
        if files is None or self.status != 200:
            return web.Response(status=404 if files is None else self.status)
        digests = {
            name: hashlib.sha256(b"else" if self.wrong_hash else content).hexdigest()
            for name, content in files.items()
        }
        if self.as_json:
            rows = [
                {
                    "filename": name,
                    "url": f"../../files/{name}",
                    "hashes": {"sha256": digest},
                    "yanked": name in self._yanked,
                }
                for name, digest in digests.items()
            ]
            kind = "application/vnd.pypi.simple.v1+json"
            return web.Response(text=json.dumps({"files": rows}), content_type=kind)
        links = "".join(
            f'<a href="/files/{name}#sha256={digest}"'
            f"{' data-yanked' if name in self._yanked else ''}>{name}</a>"
            for name, digest in digests.items()
        )
        return web.Response(text=f"<html><body>{links}</body></html>", content_type="text/html")

    async def file(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, dict(request.headers)))
        name = request.match_info["file"]
        return web.Response(body=self._files[name.partition("-")[0].replace("_", "-")][name])


@asynccontextmanager
async def run_package_index() -> AsyncIterator[PackageIndex]:
    index = PackageIndex()
    app = web.Application()
    app.router.add_get("/simple/{name}/", index.page)
    app.router.add_get("/files/{file}", index.file)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    index.url = f"http://127.0.0.1:{runner.addresses[0][1]}/simple"
    try:
        yield index
    finally:
        await runner.cleanup()
