"""The catalogue that a gateway with these settings would start with."""

from pathlib import Path

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.sources import Listing, Overrides
from gatewayz.cli.location import database_location
from gatewayz.cli.loop import run_loop
from gatewayz.control.overrides import SqlCatalogOverrides
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.settings import LoadedSettings, catalog_sources_from_settings
from gatewayz.store.files.listings import FileListings
from gatewayz.store.sql.database import Database, Location


def load_catalog(loaded: LoadedSettings) -> Catalog:
    """Seed, listings, what is set in the store, the file. Faults: `bad_request`."""
    providers = providers_from(provider_rows(), loaded.environment, loaded.settings.providers)
    sources = catalog_sources_from_settings(loaded.settings, load_listings(loaded))
    sources = sources._replace(overrides=load_overrides(loaded))
    models = merge_catalog(sources, providers, SystemClock().wall_ms())
    rules = loaded.settings.routing
    return Catalog(models, providers, rules.lockout_reason, rules.rank)


def load_listings(loaded: LoadedSettings) -> dict[str, Listing]:
    """The providers' own listings as they were last read."""
    return FileListings(Path(loaded.settings.data_dir)).load()


def load_overrides(loaded: LoadedSettings) -> Overrides:
    """What is set in the store; nothing where there is none yet, or it cannot be read now."""
    location = database_location(loaded)
    if location.kind == "memory":
        return Overrides()
    if location.kind == "sqlite" and not Path(location.path).exists():
        # A command that only shows something makes no database.
        return Overrides()
    return run_loop(lambda: _read_overrides(location))


async def _read_overrides(location: Location) -> Overrides:
    database = Database(location)
    try:
        return await SqlCatalogOverrides(database).read(SystemClock().wall_ms())
    except Fault:
        return Overrides()
    finally:
        await database.close()
