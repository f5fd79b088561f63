"""`gatewayz models sync`: the providers' own listings, read now and saved."""

from pathlib import Path

from gatewayz.catalog.catalog import Catalog
from gatewayz.catalog.merge import merge_catalog
from gatewayz.catalog.sources import Overrides
from gatewayz.cli.catalog import load_providers
from gatewayz.core.facts import ListingRead
from gatewayz.core.faults import Fault
from gatewayz.observe.bus import FactBus
from gatewayz.settings import LoadedSettings, catalog_sources_from_settings
from gatewayz.store.files.listings import FileListings
from gatewayz.upstream.http1 import HttpTransport
from gatewayz.workers.catalog_sync import CatalogSync, create_catalog_sync


async def sync_listings(
    loaded: LoadedSettings, names: tuple[str, ...], overrides: Overrides
) -> list[ListingRead]:
    """Reads the listings of `names`, or of all providers that have one.

    What operators set as it is listed is believed.

    Faults: `bad_request` for a provider whose listing cannot be read now.
    """
    settings = loaded.settings
    providers = load_providers(loaded, overrides)
    saved = FileListings(Path(settings.data_dir)).load()
    sources = catalog_sources_from_settings(settings, saved)._replace(overrides=overrides)
    catalog = Catalog(merge_catalog(sources, providers), providers)
    transport = HttpTransport(settings.routing.deadlines, loaded.open_network())
    try:
        sync = create_catalog_sync(settings.data_dir, transport, sources, catalog, FactBus([]))
        return await sync.read_listings(_names_to_sync(sync, names))
    finally:
        await transport.close()


def _names_to_sync(sync: CatalogSync, names: tuple[str, ...]) -> list[str]:
    readable = sync.readable_providers()
    for name in names:
        if name not in readable:
            raise Fault(
                "bad_request",
                f"{name} has no list, or is off; readable now: {', '.join(readable) or 'none'}.",
            )
    return list(names) or readable
