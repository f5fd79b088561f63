"""The catalogue that a gateway with these settings would start with."""

from pathlib import Path

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.sources import Listing, Overrides
from gatewayz.cli.location import database_location
from gatewayz.cli.loop import run_loop
from gatewayz.control.overrides import SqlCatalogOverrides
from gatewayz.control.provider_keys import changes_from_overrides
from gatewayz.core.clock import SystemClock
from gatewayz.core.faults import Fault
from gatewayz.providers.registry import provider_rows, providers_from
from gatewayz.providers.spec import Provider
from gatewayz.settings import LoadedSettings, catalog_sources_from_settings
from gatewayz.store.files.listings import FileListings
from gatewayz.store.secret import has_secret, load_peppers
from gatewayz.store.sql.database import Database, Location
from gatewayz.store.sql.migrate import REVISION, current_revision


def load_catalog(loaded: LoadedSettings) -> Catalog:
    """Seed, listings, what is set in the store, the file. Faults: `bad_request`."""
    overrides = load_overrides(loaded)
    providers = load_providers(loaded, overrides)
    sources = catalog_sources_from_settings(loaded.settings, load_listings(loaded))
    sources = sources._replace(overrides=overrides)
    models = merge_catalog(sources, providers, SystemClock().wall_ms())
    rules = loaded.settings.routing
    return Catalog(models, providers, rules.lockout_reason, rules.rank)


def load_providers(loaded: LoadedSettings, overrides: Overrides) -> dict[str, Provider]:
    """The providers with the keys and switches of the store. Faults: `bad_request`."""
    settings = loaded.settings
    changes = {}
    data_dir = Path(settings.data_dir)
    if overrides.providers and has_secret(data_dir, loaded.secret_key):
        peppers = load_peppers(data_dir, loaded.secret_key, loaded.old_secret_keys)
        changes = changes_from_overrides(overrides, peppers)
    return providers_from(provider_rows(), loaded.environment, settings.providers, changes)


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
        if await current_revision(database) != REVISION:
            # The next start brings it up to date; until then nothing can be said of it.
            return Overrides()
        return await SqlCatalogOverrides(database).read(SystemClock().wall_ms())
    except Fault:
        return Overrides()
    finally:
        await database.close()
