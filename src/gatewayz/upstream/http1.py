"""The port `Transport`, our own: HTTP/1.1 over pooled connections, parsed by httptools.

It does what a gateway needs and nothing else: no redirects, no cookies. A body that nobody reads to
its end breaks its connection, so the provider stops at once. It costs a third of what aiohttp costs
per call (ADR 0003). How connections are made is in `dialer`.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from msgspec import Struct

from gatewayz.core.calls import HttpRequest
from gatewayz.core.faults import Fault
from gatewayz.core.http_syntax import parse_url
from gatewayz.ports.transport import Exchange
from gatewayz.routing.rules import Deadlines
from gatewayz.upstream.bodies import MAX_BODY_BYTES, body_too_large, inflater_for_encoding
from gatewayz.upstream.connection import Connection
from gatewayz.upstream.dialer import Dialer, Origin
from gatewayz.upstream.network import Network
from gatewayz.upstream.proxies import ProxyRules
from gatewayz.upstream.resolver import PublicResolver

MAX_CONNECTIONS = 8_192
MAX_IDLE_PER_ORIGIN = 512
KEEP_ALIVE_S = 45.0
"""Most servers close idle connections after 60 s or more; a request must not meet that moment."""
MAX_PARSED_URLS = 4_096


class Address(Struct, frozen=True):
    """A URL, parsed once: where to connect, and the beginning of the request's head."""

    origin: Origin
    head: bytes


class HttpExchange:
    """An answer under way."""

    def __init__(self, connection: Connection, host: str) -> None:
        self._connection = connection
        self._host = host
        self.status = connection.status
        self.headers: Mapping[str, str] = connection.headers
        self._inflate = inflater_for_encoding(connection.headers.get("content-encoding", ""), host)
        self._size = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        read_chunk, inflate = self._connection.read_chunk, self._inflate
        while chunk := await read_chunk():
            self._size += len(chunk)
            if self._size > MAX_BODY_BYTES:
                raise body_too_large(self._host)
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
    """Sends requests over pooled connections. Make it inside the running loop, and close it."""

    def __init__(
        self,
        deadlines: Deadlines,
        network: Network | None = None,
        resolver: PublicResolver | None = None,
    ) -> None:
        self.network = network = network if network is not None else Network()
        resolver = resolver if resolver is not None else PublicResolver()
        self._pool_s = deadlines.pool_s
        self._proxies = network.proxies
        self._dialer = Dialer(deadlines, network.tls, resolver)
        self._loop = asyncio.get_running_loop()
        self._idle: defaultdict[Origin, list[Connection]] = defaultdict(list)
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)
        self._parsed_urls: dict[tuple[str, str, str], Address] = {}
        self._open: set[Connection] = set()

    def send(self, request: HttpRequest) -> AbstractAsyncContextManager[Exchange]:
        return _PendingRequest(self, request)

    async def acquire(self, origin: Origin) -> Connection:
        """A connection to the origin: an idle one that is alive, or a new one.

        Faults: `upstream_timeout`, `upstream_unreachable`.
        """
        idle = self._idle[origin]
        oldest = self._loop.time() - KEEP_ALIVE_S
        while idle:
            connection = idle.pop()
            if connection.idle_since > oldest and connection.quiet:
                return connection
            self._drop(connection)
        return await self._connect(origin)

    async def _connect(self, origin: Origin) -> Connection:
        try:
            async with asyncio.timeout(self._pool_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise Fault(
                "upstream_timeout",
                f"All {MAX_CONNECTIONS} upstream connections are in use.",
                blame="gateway",
            ) from error
        try:
            connection = await self._dialer.connect(origin)
        except BaseException:
            # Cancelled or failed: the slot goes back either way.
            self._slots.release()
            raise
        self._open.add(connection)
        return connection

    def release(self, origin: Origin, connection: Connection) -> None:
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

    def parse_address(self, request: HttpRequest) -> Address:
        """The address of a request, parsed once for each URL.

        Faults: `upstream_unreachable` for a URL that is none, `upstream_broken` for a public one
        that carries a name or a password.
        """
        method, url, proxy = request.method, request.url, request.proxy
        known = self._parsed_urls.get((method, url, proxy))
        if known is not None and not request.public:
            return known

        address = _address_of_request(request, self._proxies)
        if request.public:
            # Every file has a URL of its own, which nobody asks for twice.
            return address
        if len(self._parsed_urls) >= MAX_PARSED_URLS:
            self._parsed_urls.clear()
        self._parsed_urls[(method, url, proxy)] = address
        return address

    async def close(self) -> None:
        """Breaks all connections, those in use as well."""
        for connection in list(self._open):
            self._drop(connection)
        self._idle.clear()
        await asyncio.sleep(0)


def _address_of_request(request: HttpRequest, proxies: ProxyRules) -> Address:
    """Faults: `upstream_unreachable`, `upstream_broken` as for `HttpTransport.parse_address`."""
    url = parse_url(request.url)
    # The URL itself is not shown: it may carry a token.
    if url is None:
        if request.public:
            raise Fault(
                "upstream_broken", "The provider named a file whose URL is no http or https URL."
            )
        raise Fault("upstream_unreachable", "The provider's base_url is not an http or https URL.")
    if request.public and url.has_userinfo:
        raise Fault("upstream_broken", "The provider named a file whose URL carries a password.")

    head = f"{request.method} {url.target} HTTP/1.1\r\nHost: {url.authority}\r\n"
    proxy = proxies.choose(request.proxy, url.host, url.port, tls=url.tls)
    origin = Origin(url.host, url.port, url.tls, request.public, proxy)
    return Address(origin, head.encode())


def _head_of_request(request: HttpRequest, address: Address) -> bytes:
    """The whole head. Faults: `upstream_unreachable` where a header would not stay in its line.

    What is configured was checked when it was read; this holds for whatever else comes here.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in request.headers])
    count = len(request.headers)
    try:
        encoded = lines.encode("latin-1")
    except UnicodeEncodeError:
        count = -1
    if lines.count("\n") != count or lines.count("\r") != count:
        raise Fault(
            "upstream_unreachable",
            f"The provider at {address.origin.host} cannot be asked: one of the headers for it "
            "holds what no header carries.",
            blame="gateway",
        )
    return b"%b%bContent-Length: %d\r\n\r\n" % (address.head, encoded, len(request.body))


class _PendingRequest(AbstractAsyncContextManager[Exchange]):
    """One request under way. Leaving it breaks the connection unless its body was read whole."""

    def __init__(self, transport: HttpTransport, request: HttpRequest) -> None:
        self._transport = transport
        self._request = request
        self._address = transport.parse_address(request)
        self._connection: Connection | None = None

    async def __aenter__(self) -> HttpExchange:
        request, origin = self._request, self._address.origin
        head = _head_of_request(request, self._address)
        connection = self._connection = await self._transport.acquire(origin)
        try:
            connection.send_request(head, request.body)
            await connection.wait_for_head()
            return HttpExchange(connection, origin.host)
        except BaseException:
            self._transport.release(origin, connection)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._transport.release(self._address.origin, self._connection)
