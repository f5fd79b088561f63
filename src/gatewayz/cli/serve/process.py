"""A gateway process: it assembles, listens, prints its banner, and serves until told to stop."""

import asyncio
import gc
import socket
from collections.abc import Callable

from gatewayz.assemble import assemble
from gatewayz.cli.loop import run_loop
from gatewayz.cli.serve.banner import print_banner
from gatewayz.cli.serve.drain_message import print_stopping
from gatewayz.cli.serve.lock import ServingLock
from gatewayz.cli.serve.supervisor_link import SupervisorLink, connect_supervisor
from gatewayz.settings import LoadedSettings

GC_THRESHOLDS = (20_000, 20, 50)
"""Calls make cycles rarely; with Python's own 700 a collection runs every few calls."""


def serve_single_process(loaded: LoadedSettings, listener: socket.socket, lock: ServingLock) -> int:
    """Serves in this process until it is told to stop; returns the exit status."""

    def on_drain(running: int) -> None:
        lock.release()
        print_stopping(loaded.settings.web.grace_s, running)

    return run_loop(lambda: _serve(loaded, listener, None, on_drain))


def serve_worker(descriptor: int) -> int:
    """Serves as one of several workers; the descriptor is the channel that the supervisor left."""
    return run_loop(lambda: _serve_worker(descriptor))


async def _serve_worker(descriptor: int) -> int:
    link = await connect_supervisor(descriptor)
    if link is None:
        return 1
    listener = socket.socket(fileno=link.start.listening)
    return await _serve(link.start.loaded, listener, link)


async def _serve(
    loaded: LoadedSettings,
    listener: socket.socket,
    link: SupervisorLink | None,
    on_drain: Callable[[int], None] | None = None,
) -> int:
    """The exit status: 0 when every call could end as it should.

    `on_drain` is told how many calls run when nothing new is accepted any more.
    """
    async with assemble(loaded, link) as assembly:
        server, inference = assembly.server, assembly.app.inference
        if on_drain is not None:
            server.drain_callbacks.append(lambda: on_drain(len(inference.running)))
        serving = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        if link is not None:
            link.join(assembly)
        if link is None or link.start.prints_banner:
            await print_banner(loaded, listener, assembly)

        # What start-up made stays: collections that look through it would only delay calls.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

        await serving
        if link is not None:
            await link.leave(assembly)
        return int(server.hurried or server.force_exit)
