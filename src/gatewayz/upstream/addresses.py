"""Addresses of the public internet: where a request may go whose host others than the operator have named.

Every address that a name resolves to must be public, and the connection is made to the address that was checked, so
that a name cannot point elsewhere a moment later.
"""

import asyncio
import ipaddress
import socket

from gatewayz.core.faults import Fault

NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "fec0::/10")))
"""IPv6 ranges that carry an IPv4 address inside (NAT64, 6to4, Teredo), which may be any; the old site-local one."""


def is_public(text: str) -> bool:
    """Whether this is an address that everybody on the internet can reach."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return not any(address in network for network in NOT_PUBLIC if network.version == address.version)


class PublicAddresses:
    """Resolves names with the system's resolver."""

    async def resolved(self, host: str, port: int) -> list[str]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(row[4][0]) for row in found]

    async def one(self, host: str, port: int) -> str:
        """A public address of the host. Faults: `upstream_broken` when one of its addresses is not.

        Raises `OSError` when there is none.
        """
        addresses = await self.resolved(host, port)
        if not addresses or not all(map(is_public, addresses)):
            raise Fault("upstream_broken", f"The provider named a file at {host[:100]}, which is no public address.")
        return addresses[0]
