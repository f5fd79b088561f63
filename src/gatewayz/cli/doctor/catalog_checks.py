"""What the doctor looks for in the catalogue: unpriced models, old lists, doubted lists."""

import time
from collections.abc import Iterator

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.report import build_report, callable_offers, why_not_sold
from gatewayz.catalog.seed import seed_files
from gatewayz.catalog.seed_update import seed_read_s
from gatewayz.cli.catalog import load_catalog, load_listings
from gatewayz.cli.doctor.findings import Finding
from gatewayz.providers.spec import Provider
from gatewayz.settings import (
    LoadedSettings,
    catalog_sources_from_settings,
    load_seed_update,
)

STALE_FACTOR = 4
"""A list that is this many times older than it should be read is worth a word."""
DAY_S = 86_400
MAX_SEED_AGE_DAYS = 45
"""Prices of the package that are older are worth a word: a few change every week."""


def catalog_findings(loaded: LoadedSettings, providers: dict[str, Provider]) -> Iterator[Finding]:
    """What can be called and sold, and the state of the lists of the providers that are on."""
    catalog = load_catalog(loaded)
    report = build_report(catalog)
    offers = [
        offer for model in catalog.models.values() for offer in callable_offers(model, catalog)
    ]
    unsold = sum(1 for offer in offers if why_not_sold(offer))

    failover = f"{report.callable_failover_models} of them at two providers or more"
    counts = f"{report.callable_models} can be called, {failover}"
    if not report.callable_models:
        counts = "none of a provider's yet; the simulator's can be tried, such as simulator/echo"
    yield Finding("ok", "models", counts)
    if unsold:
        yield Finding(
            "note",
            "prices",
            "without a price, and so served to the house only: "
            f"{unsold} of the offers that can be called; "
            "`gatewayz models report` says which and why",
        )
    for message in settings_without_effect(loaded, catalog):
        yield Finding("note", "settings of models", message)
    yield from _seed_findings(loaded)
    yield from _listing_findings(loaded, providers)


def settings_without_effect(loaded: LoadedSettings, catalog: Catalog) -> Iterator[str]:
    """What the file says of models and offers that nobody knows. Lists may bring them yet, so that no
    start fails because of it.
    """
    sources = catalog_sources_from_settings(loaded.settings, load_listings(loaded))
    known = merge_catalog(sources._replace(operator_models=()), catalog.providers)
    ids = {model.id for model in known}
    keys = {
        (offer.provider, offer.upstream_id)
        for model in known
        for offer in (*model.offers, *model.pinned_only_offers)
    }
    for model in loaded.settings.models:
        if model.id not in ids and not model.offers:
            yield f"models.{model.id}: nobody offers it and it names no offer, so it has no effect"
        for offer in model.offers:
            if offer.price_id and (offer.provider, offer.price_id) not in keys:
                yield (
                    f"models.{model.id}.offers.{offer.provider}.price_id: no price of"
                    f" {offer.price_id!r} is known there, so it has no effect"
                )
    for surface, named in loaded.settings.routing.default_models.items():
        for name in (named,) if isinstance(named, str) else named:
            if catalog.find(name) is None:
                near = catalog.suggestion(name)
                yield f"routing.default_models.{surface}: there is no model {name!r}{near}"


def _seed_findings(loaded: LoadedSettings) -> Iterator[Finding]:
    """How old the prices are that are known before a provider is asked."""
    if not loaded.settings.catalog.seed:
        return
    seed = seed_files()
    age_days = (time.time() - seed_read_s(seed, load_seed_update(loaded.settings, seed))) / DAY_S
    age = f"prices of the package were read {max(age_days, 0):.0f} days ago"
    if age_days > MAX_SEED_AGE_DAYS:
        hint = "`gatewayz models update` reads newer ones, and so does a newer version"
        yield Finding("note", "age of prices", f"{age}; {hint}")
    else:
        yield Finding("ok", "age of prices", age)


def _listing_findings(loaded: LoadedSettings, providers: dict[str, Provider]) -> Iterator[Finding]:
    every_s, now_s = loaded.settings.catalog.sync_every_s, time.time()
    for name, listing in load_listings(loaded).items():
        if name not in providers or providers[name].off:
            continue
        subject = f"list of {name}"
        if listing.doubt_reason:
            yield Finding("note", subject, f"{listing.doubt_reason}; its prices are not used")
        age_s = now_s - listing.read_s
        if every_s and age_s > every_s * STALE_FACTOR:
            hint = f"`gatewayz models sync {name}` says why"
            yield Finding("note", subject, f"was last read {age_s / DAY_S:.1f} days ago; {hint}")
