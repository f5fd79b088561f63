"""The server: uvicorn with the guard, and a shutdown that ends streams instead of cutting them.

On SIGTERM: nothing new is accepted, readiness says so, running calls may end for the grace; then each gets its
dialect's typed end.
"""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from gatewayz.web.app import App
from gatewayz.web.guard import GuardRules, guarded
from gatewayz.web.listening import BACKLOG

GRACE_S = 30.0
LAST_S = 5.0
"""After the grace: how long the typed ends and settlements may take."""
KEEP_ALIVE_S = 65


class Server(uvicorn.Server):
    """Serves the app until it is told to stop."""

    def __init__(
        self, app: App, rules: GuardRules, grace_s: float, on_drain: Callable[[], None]
    ) -> None:
        config = uvicorn.Config(
            app,
            http=guarded(rules),
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=round(grace_s + LAST_S),
        )
        super().__init__(config)
        self._guarded_app = app
        self._grace_s = grace_s
        self._on_drain = on_drain
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again after the drain, and the process would end as if it had been killed.
        loop, taken = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
        main = threading.current_thread() is threading.main_thread()
        for number in taken if main else ():
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in taken if main else ():
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains; the second one does not wait."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_drain()
        self._guarded_app.inference.end_drains()
        timer = asyncio.get_running_loop().call_later(
            self._grace_s, self._guarded_app.inference.end_running
        )
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()
