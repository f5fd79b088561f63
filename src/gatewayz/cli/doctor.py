"""`gatewayz doctor`: what is wrong with this installation, and what to do about it."""

import os
import resource
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from gatewayz.catalog.merge import merged
from gatewayz.catalog.naming import Shelf
from gatewayz.cli.accountchecks import account_findings
from gatewayz.cli.catalogchecks import catalog_findings
from gatewayz.cli.findings import Finding
from gatewayz.cli.storechecks import store_findings
from gatewayz.core.faults import Fault
from gatewayz.providers.registry import providers_from, rows
from gatewayz.providers.spec import Provider
from gatewayz.settings import Loaded, lists_from, loaded
from gatewayz.store.secret import FILE as SECRET_FILE

MIN_DESCRIPTORS = 4_096
YEAR_2026_S = 1_767_225_600
REACH_S = 2.0
MARKS = {
    "ok": "[green]ok[/green]  ",
    "note": "[yellow]note[/yellow]",
    "bad": "[bold red]bad[/bold red] ",
}


def doctor(config: str, flags: Mapping[str, Any]) -> int:
    """Prints findings; exit status 1 when one is bad."""
    findings = list(diagnosed(config, flags))
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        console.print(f"{MARKS[finding.level]} {finding.subject}: {finding.says}")
    return 1 if any(finding.level == "bad" for finding in findings) else 0


def diagnosed(config: str, flags: Mapping[str, Any]) -> Iterator[Finding]:
    """Every finding, the settings first: without them nothing else can be judged."""
    try:
        found = loaded(config, flags)
        providers = providers_from(rows(), found.environment, found.settings.providers)
        Shelf(merged(lists_from(found.settings), providers), providers)
    except Fault as fault:
        yield Finding("bad", "settings", fault.message)
        return
    yield Finding("ok", "settings", f"read from {found.source}")
    for check in CHECKS:
        yield from check(found, providers)


def _data_dir(found: Loaded, providers: dict[str, Provider]) -> Iterator[Finding]:
    path = Path(found.settings.data_dir)
    parent = next((place for place in (path, *path.absolute().parents) if place.exists()), path)
    if not os.access(parent, os.W_OK):
        yield Finding(
            "bad", "data directory", f"{path} cannot be written; set data_dir to a place that can"
        )
        return
    yield Finding("ok", "data directory", f"{path} can be written")
    file = path / SECRET_FILE
    if file.exists() and file.stat().st_mode & 0o077:
        yield Finding("bad", file.name, f"others can read {file}; run: chmod 600 {file}")


def _port(found: Loaded, providers: dict[str, Provider]) -> Iterator[Finding]:
    web = found.settings.web
    with socket.socket(
        socket.AF_INET6 if ":" in web.host else socket.AF_INET, socket.SOCK_STREAM
    ) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((web.host, web.port))
        except OSError as error:
            says = f"{web.host}:{web.port} is taken ({error.strerror}); a running gateway, or choose another with --port"
            yield Finding("note", "port", says)
            return
    yield Finding("ok", "port", f"{web.host}:{web.port} is free")


def _workers(found: Loaded, providers: dict[str, Provider]) -> Iterator[Finding]:
    workers = found.settings.web.workers
    if workers > 1:
        says = f"{workers} processes, each with its share of every limit: a key with few connections is refused early"
        yield Finding("note", "workers", says)


def _machine(found: Loaded, providers: dict[str, Provider]) -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < MIN_DESCRIPTORS:
        yield Finding(
            "note",
            "open files",
            f"the limit is {soft}; for many streams raise it: ulimit -n {MIN_DESCRIPTORS}",
        )
    if time.time() < YEAR_2026_S:
        yield Finding(
            "bad", "clock", "this machine's date is in the past; TLS to providers will fail"
        )
    if not ssl.create_default_context().cert_store_stats()["x509_ca"] and not os.environ.get(
        "SSL_CERT_DIR"
    ):
        yield Finding(
            "note", "TLS", "no certificate authorities were found; install ca-certificates"
        )


def _provider_findings(found: Loaded, providers: dict[str, Provider]) -> Iterator[Finding]:
    on = [provider for provider in providers.values() if not provider.off and not provider.built_in]
    names = ", ".join(provider.id for provider in on)
    says = (
        names
        or "none but the simulator; set a key such as OPENAI_API_KEY (`gatewayz providers` lists all)"
    )
    yield Finding("ok" if on else "note", "providers on", says)
    for provider in on:
        if not provider.verified:
            yield Finding(
                "note",
                provider.id,
                "its facts are unverified; try `gatewayz providers test` before you rely on it",
            )
        if provider.local or provider.own:
            yield _reached(provider)
    for name in found.settings.providers:
        if providers[name].off and found.settings.providers[name].enabled:
            yield Finding("note", name, f"configured, but off: {providers[name].off}")


def _reached(provider: Provider) -> Finding:
    parts = urlsplit(provider.base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), REACH_S).close()
    except OSError as error:
        return Finding(
            "bad",
            provider.id,
            f"nothing answers at {parts.hostname}:{port} ({error}); start it, or fix base_url",
        )
    return Finding("ok", provider.id, f"something listens at {parts.hostname}:{port}")


CHECKS: tuple[Callable[[Loaded, dict[str, Provider]], Iterator[Finding]], ...] = (
    _data_dir,
    store_findings,
    _port,
    _workers,
    _machine,
    _provider_findings,
    account_findings,
    catalog_findings,
)
