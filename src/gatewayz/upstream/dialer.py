"""New connections: names resolved, addresses tried in turn, a proxy's way asked for, TLS agreed on.

Through a proxy the proxy resolves the upstream's name, and TLS ends at the upstream all the same.
Where others than the operator named the host, we resolve it, and the proxy is asked for the address
that was checked: else it could resolve the name to another one.
"""

import asyncio
import ssl
from typing import Literal

from msgspec import Struct

from gatewayz.core.faults import Blame, Fault
from gatewayz.routing.rules import Deadlines
from gatewayz.upstream.connection import Connection
from gatewayz.upstream.proxies import Proxy
from gatewayz.upstream.resolver import PublicResolver
from gatewayz.upstream.tunnel import TunnelProtocol, TunnelRefusedError

Step = Literal["resolve", "connect", "tunnel", "tls"]

CONNECT_FAULTS: tuple[tuple[type[BaseException], str, str], ...] = (
    (TimeoutError, "upstream_timeout", "could not be connected to in time"),
    (ssl.SSLError, "upstream_unreachable", "cannot be trusted: TLS failed"),
    (OSError, "upstream_unreachable", "cannot be reached"),
    (ValueError, "upstream_unreachable", "has no usable address"),
)
CONNECT_ERRORS = tuple(row[0] for row in CONNECT_FAULTS)

PROXY_REFUSALS = {
    0: "does not answer in HTTP",
    401: "does not take its name and password",
    403: "does not allow the way there",
    405: "does not open ways (CONNECT)",
    407: "does not take its name and password",
    502: "cannot reach it either",
    503: "cannot reach it either",
    504: "cannot reach it either",
}
"""What a proxy's status means; another one is told as it is."""
OUR_REFUSALS = frozenset({0, 401, 405, 407})
"""Those that say something of the proxy, and nothing of where the way leads."""


class Origin(Struct, frozen=True):
    """Where connections go. `public` ones are pooled apart from those that the operator configured,
    and those through a proxy apart from others.

    Example: `Origin("api.openai.com", 443, tls=True)`
    """

    host: str
    port: int
    tls: bool
    public: bool = False
    proxy: Proxy | None = None


class Dialer:
    """Makes connections. Make it inside the running loop."""

    def __init__(self, deadlines: Deadlines, tls: ssl.SSLContext, resolver: PublicResolver) -> None:
        self._deadlines = deadlines
        self._tls = tls
        self._resolver = resolver
        self._loop = asyncio.get_running_loop()

    async def connect(self, origin: Origin) -> Connection:
        """A new connection. Faults: `upstream_timeout`, `upstream_unreachable`, `upstream_broken`
        for a host that is not public where it must be.
        """
        rules, step = self._deadlines, _Progress()
        try:
            async with asyncio.timeout(rules.connect_s + (rules.tls_s if origin.tls else 0)):
                if origin.proxy is not None:
                    return await self._connect_through(origin, origin.proxy, step)
                return await self._connect_directly(origin, step)
        except TunnelRefusedError as refusal:
            raise _refusal_fault(origin, refusal.status) from refusal
        except CONNECT_ERRORS as error:
            raise self._fault(origin, step.name, error) from error

    async def _connect_directly(self, origin: Origin, step: "_Progress") -> Connection:
        if origin.public:
            addresses = [await self._resolver.resolve_public(origin.host, origin.port)]
        else:
            addresses = await self._resolver.resolve(origin.host, origin.port)
        step.name = "connect"
        refusal: OSError = OSError("no address")
        for address in addresses:
            try:
                _, connection = await self._loop.create_connection(
                    lambda: Connection(origin.host),
                    address,
                    origin.port,
                    ssl=self._tls if origin.tls else None,
                    server_hostname=origin.host if origin.tls else None,
                )
            except OSError as error:
                refusal = error
            else:
                return connection
        raise refusal

    async def _connect_through(self, origin: Origin, proxy: Proxy, step: "_Progress") -> Connection:
        host = origin.host
        if origin.public:
            host = await self._resolver.resolve_public(origin.host, origin.port)
        addresses = await self._resolver.resolve(proxy.host, proxy.port)
        step.name = "connect"
        tunnel = await self._connect_to_proxy(proxy, addresses)
        try:
            step.name = "tunnel"
            transport = await tunnel.open(proxy, _authority(host, origin.port))
            step.name = "tls"
            return await self._start_connection(origin, transport)
        except BaseException:
            # Refused, failed or cancelled: nobody else would close it.
            tunnel.abort()
            raise

    async def _connect_to_proxy(self, proxy: Proxy, addresses: list[str]) -> TunnelProtocol:
        refusal: OSError = OSError("no address")
        for address in addresses:
            try:
                _, tunnel = await self._loop.create_connection(TunnelProtocol, address, proxy.port)
            except OSError as error:
                refusal = error
            else:
                return tunnel
        raise refusal

    async def _start_connection(self, origin: Origin, transport: asyncio.Transport) -> Connection:
        """Our protocol on a way that is open, under TLS where the upstream wants it."""
        connection = Connection(origin.host)
        if not origin.tls:
            transport.set_protocol(connection)
            connection.connection_made(transport)
            return connection
        secure = await self._loop.start_tls(
            transport, connection, self._tls, server_hostname=origin.host
        )
        if secure is None:
            raise ConnectionError("closed")
        connection.connection_made(secure)
        return connection

    def _fault(self, origin: Origin, step: Step, error: BaseException) -> Fault:
        kind, why = next(
            (kind, why) for cause, kind, why in CONNECT_FAULTS if isinstance(error, cause)
        )
        proxy = origin.proxy
        if proxy is None:
            blame = self._resolver.blame(origin.host, error) if step == "resolve" else "provider"
            return Fault(kind, f"The provider at {origin.host} {why}.", blame=blame)
        # Without the proxy nobody is reached: no provider's doing.
        alone = step in {"resolve", "connect"}
        return Fault(
            kind,
            f"The provider at {origin.host} {why}"
            + (": its proxy does not answer." if alone else " through its proxy."),
            blame="gateway" if alone else "provider",
            detail=_proxy_detail(proxy),
        )


class _Progress:
    """How far a connection has come."""

    name: Step = "resolve"


def _refusal_fault(origin: Origin, status: int) -> Fault:
    """The fault of a connection whose proxy did not open a way."""
    why = PROXY_REFUSALS.get(status, "refuses the way there")
    blame: Blame = "gateway" if status in OUR_REFUSALS else "provider"
    return Fault(
        "upstream_timeout" if status == 504 else "upstream_unreachable",
        f"The provider at {origin.host} cannot be reached: its proxy {why}"
        + (f" ({status})." if status else "."),
        blame=blame,
        detail=_proxy_detail(origin.proxy),
    )


def _proxy_detail(proxy: Proxy | None) -> str:
    return f"the proxy at {proxy.name}" if proxy is not None else ""


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
