"""The simulator's server: a small HTTP/1.1 loop of its own, because faults need the raw socket.

Dialects are spoken where `routes` says, under any prefix; `/_simulator/…` is for tests in other
processes.
"""

import asyncio
import json
import socket
import struct
from types import TracebackType
from typing import Self

import httptools
import msgspec

from gatewayz.simulator.faults import (
    Action,
    CloseConnection,
    ResetConnection,
    SendBytes,
    Sleep,
    http_response,
)
from gatewayz.simulator.google_accounts import GoogleAccounts
from gatewayz.simulator.recorder import Invoice, RecordedRequest, Recorder, parse_request
from gatewayz.simulator.routes import SimulatorRoute, match_route

CONTROL = "/_simulator/"
UNKNOWN_URL = b'{"error": {"message": "Unknown request URL", "type": "invalid_request_error"}}'


class Simulator(Recorder):
    """A provider that needs no key. `async with Simulator() as simulator: simulator.url`."""

    def __init__(self) -> None:
        super().__init__()
        self.url = ""
        self.accounts = GoogleAccounts()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listens; returns the URL without a path. Raises `OSError` for a port that is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, self._connections), host, port, backlog=4_096
        )
        _, bound_port, *_ = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{bound_port}"
        return self.url

    async def close(self) -> None:
        """Stops listening, and breaks off every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.drop()
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def control(self, path: str, body: bytes) -> bytes:
        """The answers for tests in another process: what was asked and billed, and scripts."""
        match path.removeprefix(CONTROL):
            case "invoice":
                return msgspec.json.encode(list(self.invoices))
            case "requests":
                return msgspec.json.encode(
                    [(request.path, request.headers, request.content) for request in self.requests]
                )
            case "script":
                for scene, outcomes in json.loads(body).items():
                    self.script(scene, outcomes)
            case "reset":
                self.reset()
        return json.dumps(self.state()).encode()


class _Connection(asyncio.Protocol):
    """One connection: requests in turn, each answered by its actions."""

    def __init__(self, simulator: Simulator, connections: "set[_Connection]") -> None:
        self._simulator = simulator
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._queue: list[tuple[str, str, dict[str, str], bytes]] = []
        self._writable = asyncio.Event()
        self._writable.set()
        self._path = ""
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports register no base class.
        self._transport = transport  # type: ignore[assignment]
        self._connections.add(self)
        self._simulator.open_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._simulator.open_connections -= 1
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.drop()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def drop(self) -> None:
        """Breaks the connection off."""
        if self._transport is not None:
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._path, self._headers, self._body = "", {}, bytearray()

    def on_url(self, url: bytes) -> None:
        self._path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        self._queue.append((method, self._path, self._headers, bytes(self._body)))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        # Pipelined requests are answered in their order.
        while self._queue:
            await self._handle_request(*self._queue.pop(0))

    async def _handle_request(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> None:
        plain_path = path.partition("?")[0]
        if plain_path.startswith(CONTROL):
            self._write(http_response(200, self._simulator.control(plain_path, body)))
            return

        match = match_route(method, plain_path, self._simulator.accounts.routes)
        if match is None:
            self._write(http_response(404, UNKNOWN_URL))
            return
        route, model = match
        request = parse_request(self._simulator.next_number(), method, path, headers, body, model)
        await self._play(route, request)

    async def _play(self, route: SimulatorRoute, request: RecordedRequest) -> None:
        simulator = self._simulator
        simulator.requests.append(request)
        # A path without a model is scripted by its own name.
        scene = simulator.next_scene(request.scene or request.path.partition("?")[0])
        invoice, actions = route.play(request, scene)
        if route.billed:
            simulator.invoices.append(invoice)

        simulator.open_streams += 1
        try:
            for action in actions:
                if not await self._perform(action, invoice):
                    return
            invoice.finished = True
        except asyncio.CancelledError:
            invoice.aborted = True
        finally:
            simulator.open_streams -= 1

    async def _perform(self, action: Action, invoice: Invoice) -> bool:
        """Does one thing; false when the connection is closed."""
        match action:
            case SendBytes(tokens=tokens):
                await self._writable.wait()
                if self._transport is None or self._transport.is_closing():
                    invoice.aborted = True
                    return False
                self._write(action)
                invoice.sent_tokens += tokens
            case Sleep(seconds=seconds):
                await asyncio.sleep(seconds)
            case ResetConnection():
                self._reset()
                return False
            case CloseConnection():
                if self._transport is not None:
                    self._transport.close()
                return False
        return True

    def _write(self, send: SendBytes) -> None:
        if self._transport is not None:
            self._transport.write(send.data)

    def _reset(self) -> None:
        if self._transport is None:
            return
        raw_socket = self._transport.get_extra_info("socket")
        # With no time to linger the kernel answers with RST instead of FIN (socket(7), SO_LINGER).
        raw_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
