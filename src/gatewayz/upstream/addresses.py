"""Resolving for requests whose host others than the operator have named.

Every address that a name resolves to must be public, and the connection is made to the address that was checked, so
that a name cannot point elsewhere a moment later.
"""

import asyncio
import socket

from gatewayz.core.addresses import is_public
from gatewayz.core.faults import Fault


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
            raise Fault(
                "upstream_broken",
                f"The provider named a file at {host[:100]}, which is no public address.",
            )
        return addresses[0]
