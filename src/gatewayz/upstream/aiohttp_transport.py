"""The port `Transport` over aiohttp: one session, no redirects, no cookies, no environment, bodies bounded.

Foreign exceptions end here. A body that nobody reads to its end closes its connection, so the provider stops at once.
"""

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from gatewayz.core.calls import Wire
from gatewayz.core.faults import Fault
from gatewayz.routing.rules import Deadlines

MAX_CONNECTIONS = 8_192
KEEP_ALIVE_S = 45.0
MAX_RATIO = 100
"""Decompressed bytes for one compressed byte; above it, and above `FREE_BYTES`, a body is a bomb."""
FREE_BYTES = 2**20
MAX_BODY_BYTES = 256 * 2**20
"""A whole answer, streamed ones included: more than an hour of tokens."""

BEFORE_ANSWER: tuple[tuple[type[BaseException], str, str], ...] = (
    (aiohttp.ConnectionTimeoutError, "upstream_timeout", "could not be connected to in time"),
    (aiohttp.ServerTimeoutError, "upstream_timeout", "did not answer in time"),
    (aiohttp.ClientConnectorError, "upstream_unreachable", "cannot be reached"),
    (aiohttp.ServerDisconnectedError, "upstream_unreachable", "closed the connection before it answered"),
    (aiohttp.ClientOSError, "upstream_unreachable", "broke the connection before it answered"),
    (aiohttp.ClientConnectionError, "upstream_unreachable", "broke the connection before it answered"),
    (aiohttp.InvalidURL, "upstream_unreachable", "has no usable address"),
    (aiohttp.ClientError, "upstream_broken", "does not speak HTTP"),
    (TimeoutError, "upstream_timeout", "could not be connected to in time"),
    (ValueError, "upstream_broken", "sent an answer that cannot be read"),
)
WITHIN_ANSWER: tuple[tuple[type[BaseException], str, str], ...] = (
    (aiohttp.ClientPayloadError, "upstream_cut", "broke off its answer"),
    (aiohttp.ClientConnectionError, "upstream_cut", "broke off its answer"),
    (ConnectionError, "upstream_cut", "broke off its answer"),
    (aiohttp.ClientError, "upstream_broken", "sent an answer that cannot be read"),
    (zlib.error, "upstream_broken", "sent a compressed answer that cannot be read"),
)


FOREIGN_BEFORE = tuple(row[0] for row in BEFORE_ANSWER)
FOREIGN_WITHIN = tuple(row[0] for row in WITHIN_ANSWER)


def translated(error: BaseException, table: tuple[tuple[type[BaseException], str, str], ...], host: str) -> Fault:
    """A foreign exception as a fault, by the first row that fits."""
    kind, says = next((row[1], row[2]) for row in table if isinstance(error, row[0]))
    return Fault(kind, f"The provider at {host} {says}.")


class AiohttpExchange:
    """An answer under way."""

    def __init__(self, response: aiohttp.ClientResponse, host: str) -> None:
        self._response = response
        self._host = host
        self.status = response.status
        self.headers: Mapping[str, str] = _lowered(response.headers)
        self._inflate = _decompressor(self.headers.get("content-encoding", ""), host)

    async def chunks(self) -> AsyncIterator[bytes]:
        read = self._response.content.readany
        inflate, size = self._inflate, 0
        try:
            while chunk := await read():
                size += len(chunk)
                if size > MAX_BODY_BYTES:
                    raise Fault(
                        "upstream_broken", f"The provider at {self._host} sent more than {MAX_BODY_BYTES} bytes."
                    )
                yield chunk if inflate is None else inflate.feed(chunk)
        except FOREIGN_WITHIN as error:
            raise translated(error, WITHIN_ANSWER, self._host) from error
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


class _Inflate:
    """gzip and deflate, as they come, with a bound on what they may become."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._machine = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._in, self._out = 0, 0

    def feed(self, chunk: bytes) -> bytes:
        self._in += len(chunk)
        room = max(FREE_BYTES, self._in * MAX_RATIO) - self._out
        data = self._machine.decompress(chunk, max(room, 1))
        self._out += len(data)
        if self._machine.unconsumed_tail:
            raise Fault(
                "upstream_broken", f"The provider at {self._host} sent a compressed answer that swells too much."
            )
        return data

    def close(self) -> None:
        if not self._machine.eof:
            raise Fault("upstream_cut", f"The provider at {self._host} broke off its compressed answer.")


def _decompressor(encoding: str, host: str) -> _Inflate | None:
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return _Inflate(host)
    raise Fault(
        "upstream_broken", f"The provider at {host} answered in the encoding {encoding!r}, which was not asked for."
    )


def _lowered(headers: CIMultiDictProxy[str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


class AiohttpTransport:
    """Sends requests. Make it inside the running loop, and close it."""

    def __init__(self, deadlines: Deadlines, tls: ssl.SSLContext | None = None) -> None:
        connector = aiohttp.TCPConnector(
            limit=MAX_CONNECTIONS,
            keepalive_timeout=KEEP_ALIVE_S,
            ssl=tls if tls is not None else True,
            ttl_dns_cache=30,
        )
        connect_s = deadlines.connect_s + deadlines.tls_s
        # Reading has no limit here: the engine's deadlines know content from keep-alives.
        timeout = aiohttp.ClientTimeout(total=None, connect=connect_s + deadlines.pool_s, sock_connect=connect_s)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            read_bufsize=2**17,
        )

    def send(self, wire: Wire) -> AbstractAsyncContextManager[AiohttpExchange]:
        return _Sending(self._session, wire)

    async def close(self) -> None:
        await self._session.close()
        # TLS connections need one more turn of the loop to say goodbye.
        await asyncio.sleep(0)


class _Sending(AbstractAsyncContextManager[AiohttpExchange]):
    """One request under way. Leaving closes the connection unless the body was read to its end."""

    def __init__(self, session: aiohttp.ClientSession, wire: Wire) -> None:
        self._session = session
        self._wire = wire
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> AiohttpExchange:
        wire = self._wire
        host = wire.url
        try:
            url = URL(wire.url)
            host = url.host or wire.url
            # aiohttp sends again by itself only what is idempotent; a POST on a stale connection is a fault of ours
            # to decide about, because nobody can prove that it never arrived.
            self._response = await self._session.request(
                wire.method, url, data=wire.body or None, headers=wire.headers, allow_redirects=False
            )
        except FOREIGN_BEFORE as error:
            raise translated(error, BEFORE_ANSWER, host) from error
        return AiohttpExchange(self._response, host)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._response is not None:
            self._response.close()


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Verification against the system's authorities and those in `ca_file`."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca_file)
    return context
