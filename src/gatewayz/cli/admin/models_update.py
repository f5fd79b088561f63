"""`gatewayz models update`: prices of newer versions of the public lists, shown and taken over."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import typer
from rich.console import Console

from gatewayz.catalog.listing_prices import ListingBaseline, baseline_from_models
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.price_lists import LIST_FILES, rows_from_list
from gatewayz.catalog.report import format_price
from gatewayz.catalog.seed_update import (
    PriceChange,
    ReadList,
    newer_than_package,
    price_changes,
    seed_update,
)
from gatewayz.catalog.sources import CatalogSources, SeedUpdate
from gatewayz.cli.catalog import load_overrides
from gatewayz.cli.loop import run_loop
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.core.money import Price
from gatewayz.core.usage import BUCKETS, MILLION_BUCKETS
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.settings import LoadedSettings, catalog_sources_from_settings, load_settings
from gatewayz.store.files.listings import FileSeedUpdate
from gatewayz.upstream.http1 import HttpTransport
from gatewayz.upstream.package_index import (
    MAX_WHEEL_BYTES,
    fetch_wheel,
    file_of_wheel,
    index_url,
    newest_wheel,
    version_of_wheel,
)

MAX_SHOWN = 200
"""Lines of one kind that are printed; `--json` has all."""


class UpdateOptions(NamedTuple):
    """What the command was told. `wheels` are files that are read instead of asking an index."""

    index_url: str
    wheels: tuple[Path, ...]
    yes: bool
    as_json: bool


def update_models(config: str, flags: Mapping[str, Any], options: UpdateOptions) -> int:
    """Reads the lists, shows what they change, and keeps it when that is wanted; exit status 1 when
    a list could not be read.
    """
    loaded = load_settings(config, flags)
    if not loaded.settings.catalog.seed:
        raise Fault("bad_request", "With catalog.seed: false there are no prices to be updated.")
    today = datetime.now(UTC).date()
    lists, failures = _read_lists(loaded, options, today)
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    for failure in failures:
        console.print(failure)
    if not lists:
        console.print("Nothing was read, and nothing is changed: the prices that were known hold.")
        return 1

    sources = catalog_sources_from_settings(loaded.settings)._replace(update=None)
    baseline = _baseline(loaded, sources)
    now_s = SystemClock().wall_ms() // 1000
    update = newer_than_package(seed_update(sources.seed, lists, baseline, now_s), sources.seed)
    changes = list(price_changes(update, baseline.offers))
    _print_changes(update, changes, as_json=options.as_json)
    if changes and not (options.yes or _is_wanted()):
        console.print("Nothing is changed. With --yes nobody is asked.")
        return 1 if failures else 0

    FileSeedUpdate(Path(loaded.settings.data_dir)).save(update)
    console.print("Kept. Running gateways on this data directory know within two seconds.")
    return 1 if failures else 0


def _is_wanted() -> bool:
    return sys.stdin.isatty() and typer.confirm("Take these prices over?")


def _read_lists(
    loaded: LoadedSettings, options: UpdateOptions, today: date
) -> tuple[list[ReadList], list[str]]:
    """The lists that could be read, and for the others a sentence each."""
    if options.wheels:
        return [_list_from_file(path, today) for path in options.wheels], []
    index = index_url(options.index_url or loaded.settings.catalog.index_url, os.environ)
    return run_loop(lambda: _lists_from_index(loaded, index, today))


def _list_from_file(path: Path, today: date) -> ReadList:
    """Faults: `bad_request` for a file that is not there, too large, or no list's wheel."""
    name = path.name.partition("-")[0].replace("_", "-")
    version = version_of_wheel(path)
    try:
        if path.stat().st_size > MAX_WHEEL_BYTES:
            raise Fault("bad_request", f"{path} has more than {MAX_WHEEL_BYTES} bytes.")
        content = path.read_bytes()
    except OSError as error:
        raise Fault("bad_request", f"{path} could not be read: {error.strerror}.") from None
    if name not in LIST_FILES:
        raise Fault("bad_request", f"{path.name} is none of {', '.join(LIST_FILES)}.")
    return ReadList(
        name, version, rows_from_list(name, file_of_wheel(content, LIST_FILES[name]), today)
    )


async def _lists_from_index(
    loaded: LoadedSettings, index: str, today: date
) -> tuple[list[ReadList], list[str]]:
    transport = HttpTransport(loaded.settings.routing.deadlines, loaded.open_network())
    lists: list[ReadList] = []
    failures: list[str] = []
    try:
        for name, file in LIST_FILES.items():
            try:
                wheel = await newest_wheel(transport, index, name)
                content = await fetch_wheel(transport, wheel)
                text = await asyncio.to_thread(file_of_wheel, content, file)
                rows = await asyncio.to_thread(rows_from_list, name, text, today)
            except Fault as fault:
                failures.append(f"{name} was not read: {fault.message}")
            else:
                lists.append(ReadList(name, wheel.version, rows))
    finally:
        await transport.close()
    return lists, failures


def _baseline(loaded: LoadedSettings, sources: CatalogSources) -> ListingBaseline:
    """What the package says, and the operators: what an update is checked against."""
    providers = providers_from(provider_rows(), loaded.environment, loaded.settings.providers)
    package = sources._replace(operator_models=(), listings={}, markup_bp=0)
    models = merge_catalog(package, providers, SystemClock().wall_ms())
    by_id = {model.id: model for model in models}
    return baseline_from_models(by_id, by_id, load_overrides(loaded).prices)


def _print_changes(update: SeedUpdate, changes: Sequence[PriceChange], *, as_json: bool) -> None:
    lists = ", ".join(f"{name} {version}" for name, version in update.sources.items())
    quarantined = [
        (listing.provider, price)
        for listing in update.listings.values()
        for price in listing.quarantined
    ]
    if as_json:
        Console().print_json(
            data={
                "lists": update.sources,
                "changes": [_change_row(change) for change in changes],
                "not_believed": [
                    {"offer": f"{name}/{price.upstream_id}", "why": price.reason}
                    for name, price in quarantined
                ],
            }
        )
        return

    new = sum(1 for change in changes if change.before is None)
    print(f"{lists}: {len(changes) - new} prices differ, {new} offers are new")
    for change in changes[:MAX_SHOWN]:
        print(f"  {'/'.join(change.key)}: {difference_text(change.before, change.after)}")
    if len(changes) > MAX_SHOWN:
        print(f"  and {len(changes) - MAX_SHOWN} more (--json shows all)")
    print(f"not believed: {len(quarantined)}")
    for name, price in quarantined[:MAX_SHOWN]:
        print(f"  {name}/{price.upstream_id}: {price.reason}")


def _change_row(change: PriceChange) -> dict[str, Any]:
    return {
        "offer": "/".join(change.key),
        "model": change.model,
        "before": format_price(change.before) if change.before is not None else None,
        "after": format_price(change.after),
        "differs": difference_text(change.before, change.after),
    }


def difference_text(before: Price | None, after: Price) -> str:
    """What differs, bucket by bucket, in US dollars as people write a price.

    Example: `input 2.5 → 3, output 10 → 12`, and for an offer that is new `new: 2.5 / 10`
    """
    if before is None:
        return f"new: {format_price(after)}"
    parts = []
    for bucket in BUCKETS:
        old, new = getattr(before, bucket), getattr(after, bucket)
        if old != new:
            scale = 1e6 if bucket in MILLION_BUCKETS else 1e12
            parts.append(f"{bucket} {old / scale:g} → {new / scale:g}")
    return ", ".join(parts) or "its tiers"
