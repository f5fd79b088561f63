"""The port to the outside: one HTTP request to an upstream, and its answer as it comes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gatewayz.core.calls import HttpRequest


class Exchange(Protocol):
    """An answer under way.

    `headers` have lower-case keys; leaving the context aborts what is unread at once.
    """

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, decoded from its content encoding and bounded.

        Faults: `upstream_cut` when the connection ends early, `upstream_broken` for a body that
        cannot be read.
        """
        ...

    async def read(self, limit_bytes: int) -> bytes:
        """The body up to `limit_bytes`; what lies beyond is dropped."""
        ...


class Transport(Protocol):
    """Sends requests to upstreams. Redirects are never followed, cookies never kept.

    `send` faults: `upstream_unreachable` (DNS, connect, TLS, refused, reset before the answer),
    `upstream_timeout` (connect or pool), `upstream_broken` (not HTTP). Cancelling closes the
    connection.
    """

    def send(self, request: HttpRequest) -> AbstractAsyncContextManager[Exchange]: ...

    async def close(self) -> None: ...
