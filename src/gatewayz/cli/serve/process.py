"""A gateway process: it assembles, listens, prints its banner, and serves until told to stop."""

import asyncio
import gc
import socket

from gatewayz.assemble import assemble
from gatewayz.cli.loop import run_loop
from gatewayz.cli.serve.banner import print_banner
from gatewayz.cli.serve.supervisor_link import SupervisorLink, connect_supervisor
from gatewayz.settings import LoadedSettings

GC_THRESHOLDS = (20_000, 20, 50)
"""Calls make cycles rarely; with Python's own 700 a collection runs every few calls."""


def serve_single_process(loaded: LoadedSettings, listener: socket.socket) -> int:
    """Serves in this process until it is told to stop; returns the exit status."""
    return run_loop(lambda: _serve(loaded, listener, None))


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
    loaded: LoadedSettings, listener: socket.socket, link: SupervisorLink | None
) -> int:
    """The exit status: 0 when every call could end as it should."""
    async with assemble(loaded, link) as assembly:
        server = assembly.server
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
        return int(server.force_exit)
