"""`gatewayz doctor`: what is wrong with this installation, and what to do about it."""

import errno
import os
import resource
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import structs
from rich.console import Console
from rich.markup import escape

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import merge_catalog
from gatewayz.cli.catalog import load_overrides, load_providers
from gatewayz.cli.doctor.account_checks import account_findings
from gatewayz.cli.doctor.catalog_checks import catalog_findings
from gatewayz.cli.doctor.findings import Finding
from gatewayz.cli.doctor.network_checks import (
    connection_finding,
    listener_findings,
    network_findings,
)
from gatewayz.cli.doctor.provider_facts import fact_findings
from gatewayz.cli.doctor.provider_overrides import provider_override_findings
from gatewayz.cli.doctor.store_checks import store_findings
from gatewayz.cli.output import print_table
from gatewayz.core.faults import Fault
from gatewayz.providers.spec import Provider
from gatewayz.settings import LoadedSettings, catalog_sources_from_settings, load_settings
from gatewayz.store.secret import FILE as SECRET_FILE
from gatewayz.web.listener import listening_advice

MIN_DESCRIPTORS = 4_096
YEAR_2026_S = 1_767_225_600
MIN_FREE_BYTES = 256 * 2**20
"""Free on the disk of the data directory: room for the log of writes and the journal."""
MARKS = {
    "ok": "[green]ok[/green]  ",
    "note": "[yellow]note[/yellow]",
    "bad": "[bold red]bad[/bold red] ",
}


def doctor(config: str, flags: Mapping[str, Any], *, as_json: bool = False) -> int:
    """Prints findings; exit status 1 when one is bad."""
    findings = list(diagnose(config, flags))
    if as_json:
        print_table([structs.asdict(finding) for finding in findings], as_json=True)
    else:
        console = Console(highlight=False, soft_wrap=True)
        for finding in findings:
            text = escape(f"{finding.subject}: {finding.message}")
            console.print(f"{MARKS[finding.level]} {text}")
    return 1 if any(finding.level == "bad" for finding in findings) else 0


def diagnose(config: str, flags: Mapping[str, Any]) -> Iterator[Finding]:
    """Every finding, the settings first: without them nothing else can be judged."""
    try:
        loaded = load_settings(config, flags)
        providers = load_providers(loaded, load_overrides(loaded))
        sources = catalog_sources_from_settings(loaded.settings)
        Catalog(merge_catalog(sources, providers), providers)
    except Fault as fault:
        yield Finding("bad", "settings", fault.message)
        return
    yield Finding("ok", "settings", f"read from {loaded.source}")
    for warning in loaded.warnings:
        yield Finding("note", "settings", warning)
    for check in CHECKS:
        yield from check(loaded, providers)


def _data_dir_findings(loaded: LoadedSettings, providers: dict[str, Provider]) -> Iterator[Finding]:
    path = Path(loaded.settings.data_dir)
    parent = next((folder for folder in (path, *path.absolute().parents) if folder.exists()), path)
    if not os.access(parent, os.W_OK):
        yield Finding(
            "bad", "data directory", f"{path} cannot be written; set data_dir to a place that can"
        )
        return
    free = shutil.disk_usage(parent).free
    if free < MIN_FREE_BYTES:
        yield Finding(
            "bad",
            "data directory",
            f"{free // 2**20} MiB are free on the disk of {path.absolute()}; below a few MiB nothing "
            "can be booked, and paid calls are refused: free some space",
        )
    else:
        yield Finding("ok", "data directory", f"{path} can be written")
    file = path / SECRET_FILE
    if file.exists() and file.stat().st_mode & 0o077:
        yield Finding("bad", file.name, f"others can read {file}; run: chmod 600 {file}")


def _port_findings(loaded: LoadedSettings, providers: dict[str, Provider]) -> Iterator[Finding]:
    web = loaded.settings.web
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((web.host, web.port))
        except OSError as error:
            yield _port_finding(f"{web.host}:{web.port}", error)
            return
    yield Finding("ok", "port", f"{web.host}:{web.port} is free")


def _port_finding(address: str, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        hint = "a running gateway, or choose another with --port"
        return Finding("note", "port", f"{address} is taken ({error.strerror}); {hint}")
    message = f"{address} cannot be listened on ({error.strerror}); {listening_advice(error)}"
    return Finding("bad", "port", message)


def _worker_findings(loaded: LoadedSettings, providers: dict[str, Provider]) -> Iterator[Finding]:
    workers = loaded.settings.web.workers
    if workers > 1:
        yield Finding(
            "note",
            "workers",
            f"{workers} processes, each with its share of every limit: "
            "a key with few connections is refused early",
        )


def _machine_findings(loaded: LoadedSettings, providers: dict[str, Provider]) -> Iterator[Finding]:
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


def _provider_findings(loaded: LoadedSettings, providers: dict[str, Provider]) -> Iterator[Finding]:
    on = [provider for provider in providers.values() if not provider.off and not provider.built_in]
    none = "none but the simulator; set a key such as OPENAI_API_KEY"
    if on:
        yield Finding("ok", "providers on", ", ".join(provider.id for provider in on))
    else:
        yield Finding("note", "providers on", f"{none} (`gatewayz providers` lists all)")
    for provider in on:
        if not provider.verified:
            yield Finding(
                "note",
                provider.id,
                "its facts are unverified; try `gatewayz providers test` before you rely on it",
            )
        yield from fact_findings(provider, datetime.now(UTC).date())
        if provider.local or provider.own:
            yield connection_finding(loaded, provider)
    for provider in providers.values():
        if provider.unsendable:
            yield Finding("bad", provider.id, provider.unsendable)
    for name, settings in loaded.settings.providers.items():
        if providers[name].off and settings.enabled and not providers[name].unsendable:
            yield Finding("note", name, f"configured, but off: {providers[name].off}")


Check = Callable[[LoadedSettings, dict[str, Provider]], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    _data_dir_findings,
    store_findings,
    _port_findings,
    _worker_findings,
    _machine_findings,
    network_findings,
    listener_findings,
    _provider_findings,
    provider_override_findings,
    account_findings,
    catalog_findings,
)
