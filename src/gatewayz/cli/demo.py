"""`gatewayz demo`: a provider that fails, one that serves, and a client that notices nothing."""

import asyncio
import os
import secrets
import tempfile

from rich.console import Console

from gatewayz.assemble import assembled
from gatewayz.cli.asking import question
from gatewayz.cli.serving import run_loop
from gatewayz.core.faults import Fault
from gatewayz.core.keys import RANDOM_BYTES, key_from
from gatewayz.core.money import usd_text
from gatewayz.settings import Loaded, Settings, loaded
from gatewayz.simulator.server import Simulator
from gatewayz.store.sql.database import MEMORY
from gatewayz.web.listening import bound

SHAKY, STEADY = "shaky", "steady"
PRICE = {"input": "1.00", "output": "2.00"}


def demo() -> int:
    """Exit status 0 when the failover was seen."""
    with tempfile.TemporaryDirectory() as data_dir:
        return run_loop(lambda: _demo(data_dir))


async def _demo(data_dir: str) -> int:
    console = Console(highlight=False)
    async with Simulator() as upstream:
        found = _settings(data_dir, upstream.url)
        async with assembled(found) as built:
            listening = bound("127.0.0.1", 0)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            serving = asyncio.get_running_loop().create_task(
                built.server.serve(sockets=[listening])
            )
            await built.server.listening.wait()
            console.print(
                f"A gateway serves {url}/v1 with two providers: '{SHAKY}' answers 503, '{STEADY}' answers."
            )
            asked = await question(
                url, found.settings.bootstrap_key, "demo/model", "Hello from the demo"
            )
            built.server.should_exit = True
            await serving
            outcome = built.last_outcome()
    for number, attempt in enumerate(outcome.attempts, 1):
        ended = f"failed: {attempt.fault}" if attempt.fault else "served"
        console.print(
            f"  attempt {number}: {attempt.provider:7} {ended:26} {attempt.ended_ms - attempt.started_ms} ms"
        )
    console.print(
        f"  answer: {asked.answer!r}  provider: {asked.provider}  cost: ${usd_text(outcome.cost)}"
    )
    seen = [bool(attempt.fault) for attempt in outcome.attempts] == [
        True,
        False,
    ] and asked.provider == STEADY
    console.print(
        "The client saw one answer and no error."
        if seen
        else "[bold red]The failover did not happen.[/bold red]"
    )
    return 0 if seen else 1


def _settings(data_dir: str, url: str) -> Loaded:
    offers = [
        {"provider": SHAKY, "upstream_id": "fault-503", "price": PRICE},
        {"provider": STEADY, "upstream_id": "echo", "price": PRICE},
    ]
    own = {
        "providers": {
            SHAKY: {"dialect": "openai_chat", "base_url": f"{url}/v1", "priority": 1},
            STEADY: {"dialect": "openai_chat", "base_url": f"{url}/v1", "priority": 2},
        },
        "models": [{"id": "demo/model", "offers": offers}],
        "data_dir": data_dir,
        "database": {"url": MEMORY},
        "observe": {"log": "off"},
        "bootstrap_key": key_from(secrets.token_bytes(RANDOM_BYTES)),
    }
    try:
        return loaded("", own)
    except Fault:
        # The demo shows the product, not this directory's configuration, which may be broken.
        import msgspec

        return Loaded(
            settings=msgspec.convert(own, Settings), environment=dict(os.environ), source="demo"
        )
