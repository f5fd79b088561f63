"""A package index, asked for the newest wheel of a package: PEP 503's pages and PEP 691's JSON.

Everything is bounded: the page, the wheel, the file inside it, the time. What a wheel holds is
looked at only after its hash is the one that the index told.
"""

import asyncio
import base64
import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
from zipfile import BadZipFile, ZipFile

import msgspec

from gatewayz.core.calls import HttpRequest
from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import mask_userinfo, parse_url
from gatewayz.ports.transport import Exchange, Transport
from gatewayz.providers.headers import USER_AGENT

MAX_PAGE_BYTES = 48 * 2**20
"""A page of a package with some thousand files has about 5 MiB."""
MAX_WHEEL_BYTES = 128 * 2**20
MAX_FILE_BYTES = 32 * 2**20
"""The largest file of a wheel that is looked at."""
FETCH_S = 300.0
"""The longest that a page or a wheel may take."""
INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
"""Variables that name the index for other programs, in the order in which they are looked at."""
JSON_TYPE = "application/vnd.pypi.simple.v1+json"
ACCEPT = f"{JSON_TYPE}, text/html;q=0.5"
FINAL_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,5}")
"""Versions that are released: neither candidates nor builds of a developer."""
SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_ERROR_CHARS = 200


class Wheel(NamedTuple):
    """A wheel as an index names it.

    Example: `Wheel("1.2.0", "https://files.example/acme-1.2.0-py3-none-any.whl", "9f86…")`
    """

    version: str
    url: str
    sha256: str

    @property
    def order(self) -> tuple[int, ...]:
        """What a later version has more of."""
        return tuple(map(int, self.version.split(".")))


def index_url(configured: str, environment: Mapping[str, str]) -> str:
    """The index that is asked: the one that is set, else the one that pip asks.

    Faults: `bad_request` where there is none.
    """
    named = (environment.get(name, "").strip() for name in INDEX_VARIABLES)
    url = configured or next(filter(None, named), "") or _index_of_pip()
    if parse_url(url) is None:
        raise Fault(
            "bad_request",
            f"No package index is known ({mask_userinfo(url) or 'nothing'!r}); say which:"
            f" --index URL, catalog.index_url or {INDEX_VARIABLES[-1]}.",
        )
    return url.rstrip("/")


def _index_of_pip() -> str:
    """What pip asks where nobody told it anything; empty where it is not installed."""
    try:
        return str(import_module("pip._internal.models.index").PyPI.simple_url)
    except (ImportError, AttributeError):
        return ""


async def newest_wheel(transport: Transport, index: str, package: str) -> Wheel:
    """The newest release of a package that has a wheel.

    Faults: `upstream_unreachable` and the like; `upstream_broken` for a page that is none.
    """
    url = f"{index}/{package}/"
    page = await _fetch(transport, url, ACCEPT, MAX_PAGE_BYTES)
    wheels = [wheel for wheel in wheels_from_page(page, url) if wheel.sha256]
    if not wheels:
        raise Fault(
            "upstream_broken", f"{_public_url(url)} lists no wheel of {package} with its hash"
        )
    return max(wheels, key=lambda wheel: (wheel.order, wheel.url))


def wheels_from_page(page: bytes, url: str) -> list[Wheel]:
    """The wheels of released versions that a page names."""
    try:
        document = msgspec.json.decode(page)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        links = list(_links_of_html(page))
    else:
        links = list(_links_of_json(document))
    found = (_wheel(name, urljoin(url, target), digest) for name, target, digest in links)
    return [wheel for wheel in found if wheel is not None]


def _links_of_json(document: Any) -> Iterator[tuple[str, str, str]]:
    """Name, address and hash of each file that is not withdrawn."""
    files = document.get("files") if isinstance(document, dict) else None
    for file in files if isinstance(files, list) else ():
        if not isinstance(file, dict) or file.get("yanked"):
            continue
        hashes = file.get("hashes")
        digest = hashes.get("sha256") if isinstance(hashes, dict) else ""
        yield str(file.get("filename")), str(file.get("url")), str(digest)


def _links_of_html(page: bytes) -> Iterator[tuple[str, str, str]]:
    reader = _LinkReader()
    reader.feed(page.decode("utf-8", "replace"))
    for target in reader.targets:
        address, fragment = urldefrag(target)
        name = unquote(urlsplit(address).path.rpartition("/")[2])
        yield name, address, fragment.removeprefix("sha256=")


class _LinkReader(HTMLParser):
    """Remembers where links lead that are not withdrawn."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "a" and named.get("href") and "data-yanked" not in named:
            self.targets.append(str(named["href"]))


def _wheel(name: str, url: str, digest: str) -> Wheel | None:
    parts = name.removesuffix(".whl").split("-")
    if not name.endswith(".whl") or len(parts) < len(("name", "version", "py", "abi", "system")):
        return None
    if not FINAL_VERSION.fullmatch(parts[1]) or parse_url(url) is None:
        return None
    return Wheel(parts[1], url, digest if SHA256.fullmatch(digest) else "")


async def fetch_wheel(transport: Transport, wheel: Wheel) -> bytes:
    """The wheel. Faults: `upstream_broken` where its hash is another than the index told."""
    content = await _fetch(transport, wheel.url, "*/*", MAX_WHEEL_BYTES)
    digest = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
    if digest != wheel.sha256:
        raise Fault(
            "upstream_broken",
            f"{_public_url(wheel.url)} is not the file that the index names: its SHA-256 is {digest},"
            f" not {wheel.sha256}; nothing of it was read.",
        )
    return content


def file_of_wheel(content: bytes, name: str) -> bytes:
    """A file inside a wheel. Faults: `upstream_broken` where it is not there, or too large."""
    try:
        with ZipFile(io.BytesIO(content)) as archive, archive.open(name) as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except (BadZipFile, KeyError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise Fault("upstream_broken", f"the wheel has no {name}: {type(error).__name__}") from None
    if len(text) > MAX_FILE_BYTES:
        raise Fault("upstream_broken", f"{name} of the wheel has more than {MAX_FILE_BYTES} bytes")
    return text


def version_of_wheel(path: os.PathLike[str]) -> str:
    """The version in a wheel's name. Faults: `bad_request` for a file that is no wheel."""
    name = os.fspath(path).replace(os.sep, "/").rpartition("/")[2]
    wheel = _wheel(name, "https://local/" + name, "")
    if wheel is None:
        raise Fault("bad_request", f"{name!r} is no wheel of a release, such as acme-1.2.0-….whl.")
    return wheel.version


async def _fetch(transport: Transport, url: str, accept: str, limit_bytes: int) -> bytes:
    address, credentials = _split_credentials(url)
    headers = (
        ("Accept", accept),
        ("Accept-Encoding", "identity"),
        ("User-Agent", USER_AGENT),
        *credentials,
    )
    try:
        async with (
            asyncio.timeout(FETCH_S),
            transport.send(HttpRequest("GET", address, headers)) as exchange,
        ):
            return await _read_bounded(exchange, limit_bytes)
    except TimeoutError:
        raise Fault(
            "upstream_timeout", f"{_public_url(url)} took longer than {FETCH_S:g} s"
        ) from None
    except Fault as fault:
        message = fault.message[:MAX_ERROR_CHARS]
        raise Fault(fault.kind, f"{_public_url(url)} could not be read: {message}") from None


async def _read_bounded(exchange: Exchange, limit_bytes: int) -> bytes:
    if exchange.status != 200:
        raise Fault("upstream_error", f"it answered {exchange.status}")
    pieces: list[bytes] = []
    size = 0
    async for chunk in exchange.chunks():
        size += len(chunk)
        if size > limit_bytes:
            raise Fault("upstream_broken", f"it has more than {limit_bytes} bytes")
        pieces.append(chunk)
    return b"".join(pieces)


def _split_credentials(url: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """An address, and the header that says who asks, where a name and a password stand in it."""
    parts = parse_url(url)
    if parts is None or not parts.has_userinfo:
        return url, ()
    token = base64.b64encode(f"{parts.user}:{parts.password}".encode()).decode()
    address = f"{parts.scheme}://{parts.authority}{parts.target}"
    return address, (("Authorization", f"Basic {token}"),)


def _public_url(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
