"""`gatewayz simulator`: the simulated provider as a process of its own."""

import asyncio

from gatewayz.cli.loop import run_loop
from gatewayz.core.faults import Fault
from gatewayz.simulator.server import Simulator


def simulate(host: str, port: int) -> None:
    """Serves until it is interrupted. Faults: `unavailable` for an address that is taken."""
    run_loop(lambda: _simulate(host, port))


async def _simulate(host: str, port: int) -> None:
    simulator = Simulator()
    try:
        url = await simulator.start(host, port)
    except OSError as error:
        raise Fault(
            "unavailable", f"{host}:{port} cannot be listened on: {error.strerror or error}."
        ) from None

    # Flushed, because whoever starts this process waits for the line.
    print(f"The simulator serves {url}/v1", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await simulator.close()
