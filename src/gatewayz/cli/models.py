"""`gatewayz models`: what can be asked for, what it costs, what is not callable and why."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from gatewayz.catalog.merge import Listing, Overrides, merged
from gatewayz.catalog.naming import Shelf
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.report import (
    callable_models,
    report,
    shown_price,
    why_not_callable,
    why_not_sold,
)
from gatewayz.cli.serving import run_loop
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.providers.registry import providers_from, rows
from gatewayz.settings import Loaded, lists_from, loaded
from gatewayz.store.files.listings import FileListings
from gatewayz.store.sql.catalog import SqlCatalog
from gatewayz.store.sql.database import Database, Location, located

SHOWN_QUARANTINED = 50


def shelf_of(found: Loaded) -> Shelf:
    """The shelf that a gateway with these settings would start with."""
    providers = providers_from(rows(), found.environment, found.settings.providers)
    lists = lists_from(found.settings, listings_of(found))._replace(overrides=overrides_of(found))
    return Shelf(merged(lists, providers), providers, found.settings.routing.shut_out)


def overrides_of(found: Loaded) -> Overrides:
    """What is set in the store; nothing where there is none yet, or it cannot be read now."""
    settings = found.settings
    location = located(
        settings.database.url, settings.data_dir, pooler=settings.database.transaction_pooler
    )
    if location.kind == "memory" or (
        location.kind == "sqlite" and not Path(location.path).exists()
    ):
        return Overrides()
    return run_loop(lambda: _read(location))


async def _read(location: Location) -> Overrides:
    database = Database(location)
    try:
        return await SqlCatalog(database).read(SystemClock().wall_ms())
    except Fault:
        return Overrides()
    finally:
        await database.close()


def listings_of(found: Loaded) -> dict[str, Listing]:
    """The providers' own listings as they were last read."""
    return FileListings(Path(found.settings.data_dir)).load()


def show_models(found: Loaded, query: str, provider: str, *, every: bool, as_json: bool) -> None:
    """Lists models; with `every` also those that nobody who is on serves."""
    shelf = shelf_of(found)
    models = list(shelf.models.values()) if every or provider else callable_models(shelf)
    chosen = [model for model in models if query.lower() in model.id.lower()]
    if provider:
        chosen = [
            model for model in chosen if any(offer.provider == provider for offer in model.offers)
        ]
    if as_json:
        print(json.dumps([_row(model, shelf) for model in chosen], indent=2))
        return
    table = Table(
        "model", "provider", "its id there", "USD per million in / out", "not callable, not sold"
    )
    for model in chosen:
        for offer in model.offers:
            if not provider or offer.provider == provider:
                table.add_row(
                    model.id,
                    offer.provider,
                    offer.upstream_id,
                    shown_price(offer.price),
                    _why(offer, shelf),
                )
    Console().print(table)
    if not every:
        hidden = len(shelf.models) - len(callable_models(shelf))
        print(
            f"{hidden} more are known and not callable now: --all lists them, `models report` counts why."
        )
    print(
        "Any model of a provider that is on can also be asked for as provider/its-own-id, e.g. simulator/echo."
    )


def _why(offer: Offer, shelf: Shelf) -> str:
    return why_not_callable(offer, shelf) or why_not_sold(offer)


def _row(model: Model, shelf: Shelf) -> dict[str, Any]:
    return {
        "id": model.id,
        "name": model.name or model.id,
        "aliases": list(model.aliases),
        "providers": [offer.provider for offer in model.offers],
        "offers": [
            {
                "provider": offer.provider,
                "upstream_id": offer.upstream_id,
                "price": shown_price(offer.price),
                "source": offer.price.source if offer.price is not None else "",
                "context": offer.context,
                "why_not": _why(offer, shelf),
            }
            for offer in model.offers
        ],
    }


def sync_models(config: str, flags: Mapping[str, Any], names: tuple[str, ...]) -> int:
    """Reads the providers' own listings now; 1 when one of them could not be read."""
    from gatewayz.cli.syncing import synced

    found = loaded(config, flags)
    facts = run_loop(lambda: synced(found, names))
    console = Console(highlight=False, soft_wrap=True)
    for fact in facts:
        told = f"{fact.models} models, {fact.prices} prices, {fact.quarantined} quarantined"
        note = f": {fact.doubted}" if fact.doubted else ""
        console.print(f"{fact.provider}: {fact.message or told + note}", markup=False)
    if not facts:
        console.print(
            "No provider that is on has a list; `gatewayz providers` says why they are off."
        )
    return 1 if any(fact.fault for fact in facts) else 0


def show_report(found: Loaded, *, as_json: bool) -> None:
    """Counts models, offers and reasons."""
    counted = report(shelf_of(found))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(counted), indent=2).decode())
        return
    print(f"{counted.models} models, {counted.offers} offers of them")
    print(f"  priced                              {counted.priced_models}")
    print(f"  priced at two providers or more     {counted.failover_models}")
    print(f"  callable now                        {counted.callable_models}")
    print(f"  callable now at two or more         {counted.callable_failover_models}")
    print("not callable, or not sold (offers):")
    for why, count in counted.reasons.items():
        print(f"  {count:6}  {why}")
    print(f"quarantined prices: {len(counted.quarantined)}")
    for offer in counted.quarantined[:SHOWN_QUARANTINED]:
        print(f"  {offer.provider}/{offer.upstream_id}: {offer.held}")
    held = [(name, one) for name, listing in listings_of(found).items() for one in listing.held]
    print(f"listed prices that are not believed: {len(held)}")
    for name, one in held[:SHOWN_QUARANTINED]:
        print(f"  {name}/{one.upstream_id}: {one.why}")
