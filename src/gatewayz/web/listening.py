"""The listening address: taken before anything else starts, by whoever will serve or share it.

Processes that share a socket take turns. Left to itself an event loop takes all that wait in one go, so that the first
of two workers that wakes has every connection, and with keep-alive keeps them.
"""

import asyncio
import socket
from collections.abc import Callable

BACKLOG = 4_096
PAUSE_S = 0.001
"""After its turn a worker leaves the socket to the others for this long."""
MOST_AT_ONCE = 64
NO_DESCRIPTORS_S = 1.0
"""How long nothing is accepted when the process cannot open any more sockets."""


def bound(host: str, port: int) -> socket.socket:
    """A listening address, taken before anything else starts. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError:
        taken.close()
        raise
    taken.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return taken


class Turns:
    """Accepts from a shared socket: one connection a turn, twice as many in the next when there were enough of them."""

    def __init__(self, listening: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._listening = listening
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._accepting: set[asyncio.Task[object]] = set()
        self._most = 1
        listening.listen(BACKLOG)
        self._look()

    def _look(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listening, self._turn)

    def _turn(self) -> None:
        wait_s, taken = PAUSE_S, 0
        try:
            while taken < self._most:
                connection, _ = self._listening.accept()
                taken += 1
                self._begin(connection)
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            # Another worker was quicker, or the client left.
            pass
        except OSError:
            wait_s = NO_DESCRIPTORS_S
        self._most = min(2 * self._most, MOST_AT_ONCE) if taken == self._most else 1
        if taken or wait_s > PAUSE_S:
            self._loop.remove_reader(self._listening)
            self._pause = self._loop.call_later(wait_s, self._look)

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, connection))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)

    def close(self) -> None:
        """Accepts nothing more; connections that were accepted live on."""
        if self._pause is not None:
            self._pause.cancel()
        elif self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening)
        self._listening.close()

    async def wait_closed(self) -> None:
        if self._accepting:
            await asyncio.wait(self._accepting)
