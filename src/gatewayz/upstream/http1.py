"""The port `Transport`, our own: HTTP/1.1 over pooled connections, parsed by httptools.

It does what a gateway needs and nothing else: no redirects, no cookies, no proxies, no environment. A body that
nobody reads to its end breaks its connection, so the provider stops at once. It costs a third of aiohttp per call.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from urllib.parse import urlsplit

from msgspec import Struct

from gatewayz.core.calls import Wire
from gatewayz.core.faults import Fault
from gatewayz.ports.transport import Exchange
from gatewayz.routing.rules import Deadlines
from gatewayz.upstream.addresses import PublicAddresses
from gatewayz.upstream.bodies import MAX_BODY_BYTES, inflater, too_large
from gatewayz.upstream.connection import Connection

MAX_CONNECTIONS = 8_192
MAX_IDLE_PER_ORIGIN = 512
KEEP_ALIVE_S = 45.0
"""Most servers close idle connections after 60 s or more; a request must not meet that moment."""
MAX_KNOWN_URLS = 4_096

UNREACHABLE: tuple[tuple[type[BaseException], str, str], ...] = (
    (TimeoutError, "upstream_timeout", "could not be connected to in time"),
    (ssl.SSLError, "upstream_unreachable", "cannot be trusted: TLS failed"),
    (OSError, "upstream_unreachable", "cannot be reached"),
    (ValueError, "upstream_unreachable", "has no usable address"),
)
FOREIGN = tuple(row[0] for row in UNREACHABLE)


class Origin(Struct, frozen=True):
    """Where connections go. `public` ones are kept apart from those that the operator configured."""

    host: str
    port: int
    tls: bool
    public: bool = False


class Place(Struct, frozen=True):
    """A URL, taken apart once: where to connect, and the beginning of the request's head."""

    origin: Origin
    head: bytes


class HttpExchange:
    """An answer under way."""

    def __init__(self, connection: Connection, host: str) -> None:
        self._connection = connection
        self._host = host
        self.status = connection.status
        self.headers: Mapping[str, str] = connection.headers
        self._inflate = inflater(connection.headers.get("content-encoding", ""), host)
        self._size = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        piece, inflate = self._connection.piece, self._inflate
        while chunk := await piece():
            self._size += len(chunk)
            if self._size > MAX_BODY_BYTES:
                raise too_large(self._host)
            yield chunk if inflate is None else inflate.feed(chunk)
        if inflate is not None:
            inflate.close()

    async def read(self, limit_bytes: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            pieces.append(chunk)
            size += len(chunk)
            if size >= limit_bytes:
                break
        return b"".join(pieces)[:limit_bytes]


class HttpTransport:
    """Sends requests over connections that it keeps. Make it inside the running loop, and close it."""

    def __init__(
        self,
        deadlines: Deadlines,
        tls: ssl.SSLContext | None = None,
        addresses: PublicAddresses | None = None,
    ) -> None:
        self._deadlines = deadlines
        self._addresses = addresses if addresses is not None else PublicAddresses()
        self._tls = tls if tls is not None else tls_context()
        self._loop = asyncio.get_running_loop()
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._places: dict[tuple[str, str], Place] = {}
        self._open: set[Connection] = set()

    def send(self, wire: Wire) -> AbstractAsyncContextManager[Exchange]:
        return _Sending(self, wire)

    async def taken(self, origin: Origin) -> Connection:
        """A connection to the origin: an idle one that is alive, or a new one."""
        idle = self._idle[origin]
        oldest = self._loop.time() - KEEP_ALIVE_S
        while idle:
            connection = idle.pop()
            if connection.open and connection.idle_since > oldest:
                return connection
            self._drop(connection)
        return await self._connected(origin)

    async def _connected(self, origin: Origin) -> Connection:
        rules = self._deadlines
        try:
            async with asyncio.timeout(rules.pool_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise Fault("upstream_timeout", "All upstream connections are in use.") from error
        try:
            async with asyncio.timeout(rules.connect_s + (rules.tls_s if origin.tls else 0)):
                host = (
                    await self._addresses.one(origin.host, origin.port)
                    if origin.public
                    else origin.host
                )
                _, connection = await self._loop.create_connection(
                    lambda: Connection(origin.host),
                    host,
                    origin.port,
                    ssl=self._tls if origin.tls else None,
                    server_hostname=origin.host if origin.tls else None,
                )
        except BaseException as error:
            self._slots.release()
            if isinstance(error, FOREIGN):
                kind, says = next(
                    (row[1], row[2]) for row in UNREACHABLE if isinstance(error, row[0])
                )
                raise Fault(kind, f"The provider at {origin.host} {says}.") from error
            raise
        self._open.add(connection)
        return connection

    def given_back(self, origin: Origin, connection: Connection) -> None:
        """Keeps a connection whose answer was read to its end; breaks any other."""
        idle = self._idle[origin]
        if connection.reusable and len(idle) < MAX_IDLE_PER_ORIGIN:
            connection.idle_since = self._loop.time()
            idle.append(connection)
        else:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        connection.abort()
        if connection in self._open:
            self._open.remove(connection)
            self._slots.release()

    def place(self, wire: Wire) -> Place:
        """The parts of a URL. Faults: `upstream_unreachable` for one that is none, `upstream_broken` for a public one
        that carries a name or a password.
        """
        method, url = wire.method, wire.url
        known = self._places.get((method, url))
        if known is not None and not wire.public:
            return known
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Fault(
                "upstream_unreachable", "The provider's base_url is no http or https address."
            )
        if wire.public and "@" in parts.netloc:
            raise Fault(
                "upstream_broken", "The provider named a file whose address carries a password."
            )
        tls = parts.scheme == "https"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = f"{method} {target} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
        made = Place(
            Origin(parts.hostname, parts.port or (443 if tls else 80), tls, wire.public),
            head.encode(),
        )
        if wire.public:
            # Every file has an address of its own, which nobody asks for twice.
            return made
        if len(self._places) >= MAX_KNOWN_URLS:
            self._places.clear()
        self._places[(method, url)] = made
        return made

    async def close(self) -> None:
        for connection in list(self._open):
            self._drop(connection)
        self._idle.clear()
        await asyncio.sleep(0)


class _Sending(AbstractAsyncContextManager[Exchange]):
    """One request under way. Leaving it breaks the connection unless the body was read to its end."""

    def __init__(self, transport: HttpTransport, wire: Wire) -> None:
        self._transport = transport
        self._wire = wire
        self._place = transport.place(wire)
        self._connection: Connection | None = None

    async def __aenter__(self) -> HttpExchange:
        wire, origin = self._wire, self._place.origin
        connection = self._connection = await self._transport.taken(origin)
        lines = "".join([f"{name}: {value}\r\n" for name, value in wire.headers])
        head = b"%b%bContent-Length: %d\r\n\r\n" % (
            self._place.head,
            lines.encode("latin-1"),
            len(wire.body),
        )
        try:
            connection.request(head, wire.body)
            await connection.begun()
            return HttpExchange(connection, origin.host)
        except BaseException:
            self._transport.given_back(origin, connection)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._transport.given_back(self._place.origin, self._connection)


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """Verification against the system's authorities, and those in `ca_file`."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        context.load_verify_locations(ca_file)
    return context
