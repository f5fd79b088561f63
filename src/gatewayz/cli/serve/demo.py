"""`gatewayz demo`: a provider that fails, one that serves, and a client that notices nothing."""

import asyncio
import os
import secrets
import tempfile

import msgspec
from rich.console import Console

from gatewayz.assemble import Assembly, assemble
from gatewayz.cli.loop import run_loop
from gatewayz.cli.serve.smoke_test import SmokeTestResult, run_smoke_test
from gatewayz.core.calls import Outcome
from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, key_from_random
from gatewayz.core.money import usd_text
from gatewayz.settings import LoadedSettings, Settings, load_settings
from gatewayz.simulator.server import Simulator
from gatewayz.store.memory.books import MemoryBooks
from gatewayz.store.sql.database import MEMORY
from gatewayz.web.listener import bind_socket

SHAKY, STEADY = "shaky", "steady"
PRICE = {"input": "1.00", "output": "2.00"}


def demo() -> int:
    """Exit status 0 when the failover was seen."""
    with tempfile.TemporaryDirectory() as data_dir:
        return run_loop(lambda: _run_demo(data_dir))


async def _run_demo(data_dir: str) -> int:
    console = Console(highlight=False)
    async with Simulator() as simulator:
        loaded = _demo_settings(data_dir, simulator.url)
        async with assemble(loaded) as assembly:
            result = await _ask_once(console, assembly, loaded.settings.bootstrap_key)
            outcome = _last_outcome(assembly)

    _print_attempts(console, outcome, result)
    failed = [bool(attempt.fault) for attempt in outcome.attempts]
    if failed == [True, False] and result.provider == STEADY:
        console.print("The client saw one answer and no error.")
        return 0
    console.print("[bold red]The failover did not happen.[/bold red]")
    return 1


def _last_outcome(assembly: Assembly) -> Outcome:
    """What came of the only call; the demo's books are in memory."""
    if not isinstance(assembly.books, MemoryBooks):
        raise TypeError(type(assembly.books))
    return assembly.books.records[-1].outcome


async def _ask_once(console: Console, assembly: Assembly, key: str) -> SmokeTestResult:
    """Serves on a free port for as long as one question takes."""
    server = assembly.server
    listener = bind_socket("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    serving = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
    await server.listening.wait()

    console.print(f"A gateway serves {url}/v1 with two providers:")
    console.print(f"  '{SHAKY}' answers 503, '{STEADY}' answers.")
    result = await run_smoke_test(url, key, "demo/model", "Hello from the demo")
    server.should_exit = True
    await serving
    return result


def _print_attempts(console: Console, outcome: Outcome, result: SmokeTestResult) -> None:
    for number, attempt in enumerate(outcome.attempts, 1):
        ending = f"failed: {attempt.fault}" if attempt.fault else "served"
        took_ms = attempt.ended_ms - attempt.started_ms
        console.print(f"  attempt {number}: {attempt.provider:7} {ending:26} {took_ms} ms")
    cost = f"${usd_text(outcome.cost)}"
    console.print(f"  answer: {result.answer!r}  provider: {result.provider}  cost: {cost}")


def _demo_settings(data_dir: str, url: str) -> LoadedSettings:
    offers = [
        {"provider": SHAKY, "upstream_id": "fault-503", "price": PRICE},
        {"provider": STEADY, "upstream_id": "echo", "price": PRICE},
    ]
    values = {
        "providers": {
            SHAKY: {"dialect": "openai_chat", "base_url": f"{url}/v1", "priority": 1},
            STEADY: {"dialect": "openai_chat", "base_url": f"{url}/v1", "priority": 2},
        },
        "models": [{"id": "demo/model", "offers": offers}],
        "data_dir": data_dir,
        "database": {"url": MEMORY},
        "observe": {"log": "off"},
        "bootstrap_key": key_from_random(secrets.token_bytes(RANDOM_BYTES)),
    }
    try:
        return load_settings("", values)
    except Fault:
        # The demo shows the product, not this directory's configuration, which may be broken.
        return LoadedSettings(
            settings=msgspec.convert(values, Settings), environment=dict(os.environ), source="demo"
        )
