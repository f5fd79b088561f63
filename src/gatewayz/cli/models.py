"""`gatewayz models`: what can be asked for, what it costs, what is not callable and why."""

import json
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from gatewayz.catalog.merge import merged
from gatewayz.catalog.naming import Shelf
from gatewayz.catalog.offers import Model, Offer
from gatewayz.catalog.report import report, shown_price, why_not_callable, why_not_sold
from gatewayz.providers.registry import providers_from, rows
from gatewayz.settings import Loaded, lists_from, loaded

SHOWN_QUARANTINED = 50


def shelf_of(found: Loaded) -> Shelf:
    """The shelf that a gateway with these settings would start with."""
    providers = providers_from(rows(), found.environment, found.settings.providers)
    return Shelf(merged(lists_from(found.settings), providers), providers)


def show_models(config: str, query: str, provider: str, *, every: bool, as_json: bool) -> None:
    """Lists models; with `every` also those that nobody who is on serves."""
    shelf = shelf_of(loaded(config))
    models = shelf.models.values() if every or provider else shelf.listing()
    chosen = [model for model in models if query.lower() in model.id.lower()]
    if provider:
        chosen = [model for model in chosen if any(offer.provider == provider for offer in model.offers)]
    if as_json:
        print(json.dumps([_row(model, shelf) for model in chosen], indent=2))
        return
    table = Table("model", "provider", "its id there", "USD per million in / out", "not callable, not sold")
    for model in chosen:
        for offer in model.offers:
            if not provider or offer.provider == provider:
                table.add_row(model.id, offer.provider, offer.upstream_id, shown_price(offer.price), _why(offer, shelf))
    Console().print(table)
    if not every:
        hidden = len(shelf.models) - len(shelf.listing())
        print(f"{hidden} models more are known whose providers are off: --all lists them, `models report` counts why.")
    print("Any model of a provider that is on can also be asked for as provider/its-own-id, e.g. simulator/echo.")


def _why(offer: Offer, shelf: Shelf) -> str:
    return why_not_callable(offer, shelf.providers[offer.provider]) or why_not_sold(offer)


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


def show_report(config: str, *, as_json: bool) -> None:
    """Counts models, offers and reasons."""
    found = report(shelf_of(loaded(config)))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
        return
    print(f"{found.models} models, {found.offers} offers of them")
    print(f"  priced                              {found.priced_models}")
    print(f"  priced at two providers or more     {found.failover_models}")
    print(f"  callable now                        {found.callable_models}")
    print(f"  callable now at two or more         {found.callable_failover_models}")
    print("not callable, or not sold (offers):")
    for why, count in found.reasons.items():
        print(f"  {count:6}  {why}")
    print(f"quarantined prices: {len(found.quarantined)}")
    for offer in found.quarantined[:SHOWN_QUARANTINED]:
        print(f"  {offer.provider}/{offer.upstream_id}: {offer.held}")
