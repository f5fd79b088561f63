"""The server: uvicorn with the guard, and a shutdown that ends streams instead of cutting them.

On SIGTERM nothing new is accepted, and readiness says so; running calls may end within the grace;
then each gets its dialect's typed end.
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
from gatewayz.web.guard import NOSNIFF, GuardRules, protocol_with_rules
from gatewayz.web.listener import BACKLOG
from gatewayz.web.tls import RELOAD_S, ListenerTls

FINAL_GRACE_S = 5.0
"""After the grace: how long the typed ends and settlements may take."""
HURRY_S = 2.0
"""After a second signal: how long the typed ends and settlements may take."""
KEEP_ALIVE_S = 65
"""Longer than the minute of most load balancers: they close an idle connection, not we."""


class Server(uvicorn.Server):
    """Serves the app until a signal. `drain_callbacks` are called when it begins to shut down.

    `hurried`: calls were not given their grace.
    """

    def __init__(
        self,
        app: App,
        rules: GuardRules,
        grace_s: float,
        on_drain: Callable[[], None],
        tls: ListenerTls | None = None,
    ) -> None:
        config = uvicorn.Config(
            app,
            http=protocol_with_rules(rules),
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            headers=[(NOSNIFF[0].decode(), NOSNIFF[1].decode())],
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=round(grace_s + FINAL_GRACE_S),
            ssl_context_factory=(lambda *_: tls.context) if tls is not None else None,
            callback_notify=tls.reload if tls is not None else None,
            timeout_notify=RELOAD_S,
        )
        super().__init__(config)
        self._app = app
        self._grace_s = grace_s
        self.drain_callbacks = [on_drain]
        self.hurried = False
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again after the drain: the process would end as if killed.
        loop = asyncio.get_running_loop()
        is_main = threading.current_thread() is threading.main_thread()
        signals = (signal.SIGINT, signal.SIGTERM) if is_main else ()
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains; the second one does not wait."""
        if self.should_exit:
            self.hurry()
        self.should_exit = True

    def hurry(self) -> None:
        """Ends what runs now, each call with its typed end; asked again, without any."""
        self.force_exit = self.hurried
        self.should_exit = self.hurried = True
        self._app.inference.end_running()
        asyncio.get_running_loop().call_later(HURRY_S, self._exit_now)

    def _exit_now(self) -> None:
        self.force_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for callback in self.drain_callbacks:
            callback()
        self._app.inference.end_drains()
        timer = asyncio.get_running_loop().call_later(
            self._grace_s, self._app.inference.end_running
        )
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()
