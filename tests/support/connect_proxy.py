"""An HTTP proxy on a real socket: it opens ways (CONNECT), and misbehaves as a test says."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any, Self

HEAD_END = b"\r\n\r\n"
OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ConnectProxy:
    """A proxy for names that only it knows: `names` says where they are (host and port).

    `answer` takes the place of what it would say (`None`: it says nothing); it is a function of the
    request's head where it has to look. `asked` holds what was asked for, `heads` the whole heads.
    """

    def __init__(
        self,
        names: dict[str, tuple[str, int]] | None = None,
        *,
        user: str = "",
        password: str = "",
        answer: Any = OPEN,
    ) -> None:
        self.names = names or {}
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.open = 0
        self._answer: bytes | Callable[[bytes], bytes | None] | None = answer
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._authorization = f"Basic {pair}" if user else ""
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        # So that what was broken off is closed before its loop is.
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.open += 1
        try:
            await self._open_way(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort()

    async def _open_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(HEAD_END)
        self.heads.append(head)
        method, authority, _ = head.partition(b"\r\n")[0].decode().split(" ")
        assert method == "CONNECT", method
        self.asked.append(authority)
        if (
            self._authorization
            and f"Proxy-Authorization: {self._authorization}" not in head.decode()
        ):
            writer.write(
                b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                b'Proxy-Authenticate: Basic realm="x"\r\ncontent-length: 0\r\n\r\n'
            )
            await writer.drain()
            return
        answer = self._answer(head) if callable(self._answer) else self._answer
        if answer is None:
            await reader.read()
            return
        host, port = self.names.get(authority) or _split_authority(authority)
        is_open = b"HTTP/1.1 200 " in answer
        way = await asyncio.open_connection(host, port) if is_open else None
        writer.write(answer)
        await writer.drain()
        if way is None:
            return
        self._writers.add(way[1])
        try:
            await asyncio.gather(_copy(reader, way[1]), _copy(way[0], writer))
        finally:
            way[1].transport.abort()


def _split_authority(authority: str) -> tuple[str, int]:
    host, _, port = authority.rpartition(":")
    return host.strip("[]"), int(port)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()
