"""What a starting gateway says to people, on standard error: standard output is the log alone."""

import socket

from rich.console import Console

from gatewayz.assemble import Assembly
from gatewayz.cli.serve.smoke_test import run_smoke_test
from gatewayz.core.faults import Fault
from gatewayz.providers.spec import Provider
from gatewayz.settings import LoadedSettings
from gatewayz.simulator.builtin import SIMULATOR

MAX_OFF_SHOWN = 6
QUESTION = "Is the gateway up?"


async def print_banner(loaded: LoadedSettings, listener: socket.socket, assembly: Assembly) -> None:
    """Prints where it serves, which providers are on, a new key, and one question's answer."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    url = _local_url(listener, tls=bool(loaded.settings.web.tls.cert_file))
    console.print(f"\n[bold]gatewayz[/bold] serves [bold]{url}/v1[/bold]")
    _print_providers(console, assembly)
    _print_key(console, url, assembly.first_key)

    workers = loaded.settings.web.workers
    if workers > 1:
        console.print(
            f"  {workers} workers; limits are divided among them: each lets through its share"
        )
    await _print_smoke_test(console, url, loaded, assembly)


def _local_url(listener: socket.socket, *, tls: bool) -> str:
    host, port = listener.getsockname()[:2]
    anywhere = host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    return f"{'https' if tls else 'http'}://{'127.0.0.1' if anywhere else host}:{port}"


def _print_providers(console: Console, assembly: Assembly) -> None:
    providers = assembly.catalog.providers.values()
    on = [provider for provider in providers if not provider.off]
    off = [provider for provider in providers if provider.off]
    console.print(f"  on:  {', '.join(_provider_label(provider) for provider in on)}")

    reasons = "; ".join(f"{provider.id}: {provider.off}" for provider in off[:MAX_OFF_SHOWN])
    more = len(off) - MAX_OFF_SHOWN
    rest = f"; and {more} more (`gatewayz providers` lists all with the reason)" if more > 0 else ""
    if off:
        console.print(f"  off: {reasons}{rest}")


def _provider_label(provider: Provider) -> str:
    return provider.id if provider.verified else f"{provider.id} (unverified)"


def _print_key(console: Console, url: str, key: str) -> None:
    if not key:
        console.print("  key: made before; `gatewayz keys create` makes another")
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


async def _print_smoke_test(
    console: Console, url: str, loaded: LoadedSettings, assembly: Assembly
) -> None:
    """Asks the simulator through the whole path, with the key of the first start or the setting."""
    key = assembly.first_key or loaded.settings.bootstrap_key
    if not key or assembly.catalog.providers[SIMULATOR].off:
        return
    try:
        result = await run_smoke_test(url, key, f"{SIMULATOR}/echo", QUESTION)
    except Fault as fault:
        console.print(f"  [bold red]the first question failed:[/bold red] {fault.message}")
        return
    console.print(
        f"  asked: {result.question!r}  answer: {result.answer!r}  "
        f"({result.provider}, {result.took_ms:.0f} ms, ${result.cost_usd})\n"
    )
