"""What `gatewayz doctor` looks for in the catalogue: models without a price, lists that are old or not believed."""

import time
from collections.abc import Iterator

from gatewayz.catalog.report import callable_offers, report, why_not_sold
from gatewayz.cli.findings import Finding
from gatewayz.cli.models import listings_of, shelf_of
from gatewayz.providers.spec import Provider
from gatewayz.settings import Loaded

OLD_TIMES = 4
"""A list that is this many times older than it should be read is worth a word."""


def catalog_findings(found: Loaded, providers: dict[str, Provider]) -> Iterator[Finding]:
    """What can be called and sold, and how the lists of the providers that are on stand."""
    shelf = shelf_of(found)
    counted = report(shelf)
    offers = [offer for model in shelf.models.values() for offer in callable_offers(model, shelf)]
    unsold = sum(1 for offer in offers if why_not_sold(offer))
    twice = f"{counted.callable_failover_models} of them at two providers or more"
    yield Finding("ok", "models", f"{counted.callable_models} can be called, {twice}")
    if unsold:
        why = f"without a price, and so served to the house only: {unsold} of the offers that can be called"
        yield Finding("note", "prices", f"{why}; `gatewayz models report` says which and why")
    yield from _listings(found, providers)


def _listings(found: Loaded, providers: dict[str, Provider]) -> Iterator[Finding]:
    every_s, now_s = found.settings.catalog.sync_every_s, time.time()
    for name, listing in listings_of(found).items():
        if name not in providers or providers[name].off:
            continue
        if listing.doubted:
            yield Finding("note", f"list of {name}", f"{listing.doubted}; its prices are not used")
        days = (now_s - listing.read_s) / 86_400
        if every_s and days * 86_400 > every_s * OLD_TIMES:
            again = f"`gatewayz models sync {name}` says why"
            yield Finding("note", f"list of {name}", f"was last read {days:.1f} days ago; {again}")
