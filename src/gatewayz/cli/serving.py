"""A gateway process and `gatewayz simulator`: start, say what is there, ask one question, serve."""

import asyncio
import gc
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from rich.console import Console

from gatewayz.assemble import SIMULATOR, Built, assembled
from gatewayz.cli.asking import Asked, question
from gatewayz.cli.link import Link, linked
from gatewayz.core.faults import Fault
from gatewayz.providers.spec import Provider
from gatewayz.settings import Loaded
from gatewayz.simulator.server import Simulator

T = TypeVar("T")
SHOWN_OFF = 6
GC_THRESHOLDS = (20_000, 20, 50)
"""Calls make cycles rarely; with Python's own 700 a collection runs every few calls."""


def run_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs on uvloop where there is one."""
    if sys.platform == "win32":
        return asyncio.run(main())
    import uvloop

    return uvloop.run(main())


def serve_alone(found: Loaded, listening: socket.socket) -> int:
    """Serves in this process until it is told to stop; returns the exit status."""
    return run_loop(lambda: _served(found, listening, None))


def work(descriptor: int) -> int:
    """Serves as one of several workers, on the line that the supervisor left at the descriptor."""
    return run_loop(lambda: _worked(descriptor))


async def _worked(descriptor: int) -> int:
    link = await linked(descriptor)
    if link is None:
        return 1
    return await _served(link.start.loaded, socket.socket(fileno=link.start.listening), link)


async def _served(found: Loaded, listening: socket.socket, link: Link | None) -> int:
    """The exit status: 0 when every call could end as it should."""
    async with assembled(found, link) as built:
        speaks = link is None or link.start.speaks
        serving = asyncio.get_running_loop().create_task(built.server.serve(sockets=[listening]))
        await built.server.listening.wait()
        if link is not None:
            link.join(built)
        if speaks:
            await _speak(found, listening, built)
        # What start-up made stays; looking through it again and again costs every call, and finds nothing.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        await serving
        if link is not None:
            await link.leave(built)
        return int(built.server.force_exit)


async def _speak(found: Loaded, listening: socket.socket, built: Built) -> None:
    """What people read goes to standard error, so that standard output is the log alone."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    host, port = listening.getsockname()[:2]
    url = f"http://{'127.0.0.1' if host in {'0.0.0.0', '::'} else host}:{port}"  # noqa: S104 - compared, not bound
    _say_start(console, url, built.first_key, built)
    workers = found.settings.web.workers
    if workers > 1:
        console.print(
            f"  {workers} workers; limits are divided among them: each lets through its share"
        )
    await _say_first(console, url, found, built, built.first_key)


def _say_start(console: Console, url: str, key: str, built: Built) -> None:
    on = [provider for provider in built.providers.values() if not provider.off]
    off = [provider for provider in built.providers.values() if provider.off]
    console.print(f"\n[bold]gatewayz[/bold] serves [bold]{url}/v1[/bold]")
    console.print(f"  on:  {', '.join(_shown(provider) for provider in on)}")
    reasons = "; ".join(f"{provider.id}: {provider.off}" for provider in off[:SHOWN_OFF])
    console.print(
        f"  off: {reasons}; and {len(off) - SHOWN_OFF} more (`gatewayz providers` lists all with the reason)"
    )
    if not key:
        console.print("  key: made before; `gatewayz keys make` replaces a lost one")
        return
    console.print(f"\n  [bold]API key (shown this once):[/bold] {key}\n")
    body = '{"model": "simulator/echo", "messages": [{"role": "user", "content": "Hello"}]}'
    console.print(
        f"  curl {url}/v1/chat/completions -H 'Authorization: Bearer {key}' \\\n"
        f"    -H 'Content-Type: application/json' -d '{body}'\n",
        markup=False,
    )
    console.print(
        "  from openai import OpenAI\n"
        f'  client = OpenAI(base_url="{url}/v1", api_key="{key}")\n'
        '  reply = client.chat.completions.create(model="simulator/echo",\n'
        '      messages=[{"role": "user", "content": "Hello"}])\n'
        "  print(reply.choices[0].message.content)\n",
        markup=False,
    )


def _shown(provider: Provider) -> str:
    return provider.id if provider.verified else f"{provider.id} (unverified)"


async def _say_first(console: Console, url: str, found: Loaded, built: Built, key: str) -> None:
    """Asks the simulator one question through the whole path, with the key of the first start or of the environment."""
    usable = key or found.settings.bootstrap_key
    if not usable or built.providers[SIMULATOR].off:
        return
    try:
        asked: Asked = await question(url, usable, f"{SIMULATOR}/echo", "Is the gateway up?")
    except Fault as fault:
        console.print(f"  [bold red]the first question failed:[/bold red] {fault.message}")
        return
    console.print(
        f"  asked: {asked.question!r}  answer: {asked.answer!r}  "
        f"({asked.provider}, {asked.took_ms:.0f} ms, ${asked.cost_usd})\n"
    )


def simulate(host: str, port: int) -> None:
    """Runs the simulator until it is interrupted."""
    run_loop(lambda: _simulate(host, port))


async def _simulate(host: str, port: int) -> None:
    simulator = Simulator()
    try:
        url = await simulator.start(host, port)
    except OSError as error:
        raise Fault(
            "unavailable", f"{host}:{port} cannot be listened on: {error.strerror or error}."
        ) from None
    print(f"The simulator serves {url}/v1", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await simulator.close()
