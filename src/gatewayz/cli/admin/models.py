"""`gatewayz models`: what can be asked for, what it costs, what is not callable and why."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from rich.console import Console

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.report import (
    build_report,
    callable_models,
    format_price,
    why_not_callable,
    why_not_sold,
)
from gatewayz.cli.catalog import load_catalog, load_listings, load_overrides
from gatewayz.cli.loop import run_loop
from gatewayz.cli.output import print_table
from gatewayz.settings import LoadedSettings, load_settings

MAX_QUARANTINED_SHOWN = 50


def show_models(
    loaded: LoadedSettings, query: str, provider: str, *, every: bool, as_json: bool
) -> None:
    """Lists models; with `every` also those that no provider serves that is on."""
    catalog = load_catalog(loaded)
    known = list(catalog.models.values()) if every or provider else callable_models(catalog)
    models = [
        model
        for model in known
        if query.lower() in model.id.lower()
        and (not provider or any(offer.provider == provider for offer in model.offers))
    ]
    if as_json:
        print(json.dumps([_model_row(model, catalog) for model in models], indent=2))
        return

    print_table(_offer_rows(models, provider, catalog), as_json=False)
    if not every:
        hidden = len(catalog.models) - len(callable_models(catalog))
        print(
            f"{hidden} more are known and not callable now: "
            "--all lists them, `models report` counts why."
        )
    print(
        "Any model of a provider that is on can also be asked for as provider/its-own-id, "
        "e.g. simulator/echo."
    )


def _offer_rows(models: list[Model], provider: str, catalog: Catalog) -> list[dict[str, str]]:
    return [
        {
            "model": model.id,
            "provider": offer.provider,
            "its id there": offer.upstream_id,
            "USD per million in / out": format_price(offer.price),
            "not callable, not sold": _why_not(offer, catalog),
        }
        for model in models
        for offer in model.offers
        if not provider or offer.provider == provider
    ]


def _why_not(offer: Offer, catalog: Catalog) -> str:
    return why_not_callable(offer, catalog) or why_not_sold(offer)


def _model_row(model: Model, catalog: Catalog) -> dict[str, Any]:
    return {
        "id": model.id,
        "name": model.name or model.id,
        "aliases": list(model.aliases),
        "providers": [offer.provider for offer in model.offers],
        "offers": [
            {
                "provider": offer.provider,
                "upstream_id": offer.upstream_id,
                "price": format_price(offer.price),
                "source": offer.price.source if offer.price is not None else "",
                "context": offer.context,
                "why_not": _why_not(offer, catalog),
            }
            for offer in model.offers
        ],
    }


def sync_models(config: str, flags: Mapping[str, Any], names: tuple[str, ...]) -> int:
    """Reads the providers' own listings now; exit status 1 when one could not be read."""
    from gatewayz.cli.admin.models_sync import sync_listings

    loaded = load_settings(config, flags)
    overrides = load_overrides(loaded)
    facts = run_loop(lambda: sync_listings(loaded, names, overrides))
    console = Console(highlight=False, soft_wrap=True)
    for fact in facts:
        counts = f"{fact.models} models, {fact.prices} prices, {fact.quarantined} quarantined"
        doubt = f": {fact.doubted}" if fact.doubted else ""
        unread = f"; unread in its prices: {', '.join(fact.unread)}" if fact.unread else ""
        console.print(f"{fact.provider}: {fact.message or counts + doubt + unread}", markup=False)
    if not facts:
        console.print(
            "No provider that is on has a list; `gatewayz providers` says why they are off."
        )
    return 1 if any(fact.fault for fact in facts) else 0


def show_report(loaded: LoadedSettings, *, as_json: bool) -> None:
    """Counts models, offers and reasons."""
    report = build_report(load_catalog(loaded))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
        return

    print(f"{report.models} models, {report.offers} offers of them")
    print(f"  priced                              {report.priced_models}")
    print(f"  priced at two providers or more     {report.failover_models}")
    print(f"  callable now                        {report.callable_models}")
    print(f"  callable now at two or more         {report.callable_failover_models}")
    print("not callable, or not sold (offers):")
    for why, count in report.reasons.items():
        print(f"  {count:6}  {why}")

    print(f"quarantined prices: {len(report.quarantined)}")
    for offer in report.quarantined[:MAX_QUARANTINED_SHOWN]:
        print(f"  {offer.provider}/{offer.upstream_id}: {offer.quarantine_reason}")
    listed = [
        (name, price)
        for name, listing in load_listings(loaded).items()
        for price in listing.quarantined
    ]
    print(f"listed prices that are not believed: {len(listed)}")
    for name, price in listed[:MAX_QUARANTINED_SHOWN]:
        print(f"  {name}/{price.upstream_id}: {price.reason}")
    ignored: Counter[str] = Counter()
    for listing in load_listings(loaded).values():
        ignored.update(listing.ignored_facts)
    if ignored:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(ignored.items()))
        print(f"listed facts that are not believed: {counts}")
