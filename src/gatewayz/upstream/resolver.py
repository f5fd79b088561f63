"""Resolving names of hosts, in threads of this resolver's own.

The system's resolver blocks, and a name can take half a minute not to resolve: who waits for some
names must not hold up who waits for others, so calls and what tenants cause have a resolver each.

Where somebody else than the operator has named the host, every address that it resolves to must be
public, and the connection is made to the address that was checked, so that a name cannot point
elsewhere a moment later.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from threading import Thread
from typing import Any

from gatewayz.core.addresses import is_public
from gatewayz.core.faults import Blame, Fault

MAX_HOST_CHARS = 100
MAX_LOOKUPS = 16
"""Names that are looked up at the same time; more wait for their turn."""
ANSWERED_LATELY_S = 10.0
"""How long ago another name was answered, for a name without an answer to be its host's fault."""
NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
Lookup = asyncio.Future[list[str]]


class PublicResolver:
    """Resolves names with `look_up`, which may block. Make it inside the running loop."""

    def __init__(self, look_up: Callable[..., Any] = socket.getaddrinfo) -> None:
        self._look_up_rows = look_up
        self._loop = asyncio.get_running_loop()
        self._turns = asyncio.Semaphore(MAX_LOOKUPS)
        self._lookups: dict[str, Lookup] = {}
        self._answered = ("", float("-inf"))
        """The name that was last answered, and when (the loop's seconds)."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a host. Raises `OSError`."""
        if is_address(host):
            return [host]
        lookup = self._lookups.get(host)
        if lookup is None:
            await self._turns.acquire()
            lookup = self._lookups.get(host)
            if lookup is None:
                lookup = self._start(host, port)
            else:
                self._turns.release()
        # One answer is for all who wait for it, whoever of them gives up.
        return await asyncio.shield(lookup)

    async def resolve_public(self, host: str, port: int) -> str:
        """A public address of the host. Faults: `upstream_broken` when one of its addresses is not.

        Raises `OSError` when there is none.
        """
        addresses = await self.resolve(host, port)
        if not addresses or not all(map(is_public, addresses)):
            raise Fault(
                "upstream_broken",
                f"The provider named a file at {host[:MAX_HOST_CHARS]}, not a public address.",
            )
        return addresses[0]

    def blame(self, host: str, error: BaseException) -> Blame:
        """Whose doing it is that a host was not resolved: its own, or ours where no name is."""
        if isinstance(error, socket.gaierror) and error.errno in NO_SUCH_NAME:
            return "provider"
        name, at = self._answered
        works = name != host and at > self._loop.time() - ANSWERED_LATELY_S
        return "provider" if works else "gateway"

    def _start(self, host: str, port: int) -> Lookup:
        lookup = self._lookups[host] = self._loop.create_future()
        # A daemon: a name that takes half a minute must not keep a process from ending.
        Thread(
            target=self._look_up, args=(lookup, host, port), name="resolver", daemon=True
        ).start()
        return lookup

    def _look_up(self, lookup: Lookup, host: str, port: int) -> None:
        addresses, error = [], None
        try:
            rows = self._look_up_rows(host, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(address[0]) for *_, address in rows))
        except (OSError, UnicodeError) as failure:
            error = failure
        try:
            self._loop.call_soon_threadsafe(self._finish, lookup, host, addresses, error)
        except RuntimeError:
            # The loop has ended, and nobody waits any more.
            return

    def _finish(
        self, lookup: Lookup, host: str, addresses: list[str], error: Exception | None
    ) -> None:
        self._turns.release()
        del self._lookups[host]
        if error is None:
            self._answered = (host, self._loop.time())
            lookup.set_result(addresses)
        else:
            lookup.set_exception(error)
            # Whoever waited may have left: then nobody looks at it, and that is no mistake.
            lookup.exception()


def is_address(host: str) -> bool:
    """Whether a host is an address already, and no name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
